"""What people run by hand."""

import autoencoder.startup  # noqa: F401
