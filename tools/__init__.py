"""What people run by hand."""

import autoencoder.base.startup  # noqa: F401
