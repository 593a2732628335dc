"""The stages that dvc.yaml runs, one module each."""

import autoencoder.startup  # noqa: F401
