"""Speed, scaling and ablations."""

import autoencoder.startup  # noqa: F401
