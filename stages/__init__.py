"""The stages that dvc.yaml runs, one module each."""

import autoencoder.base.startup  # noqa: F401
