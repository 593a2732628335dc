"""Speed, scaling and ablations."""

import autoencoder.base.startup  # noqa: F401
