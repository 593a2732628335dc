"""Networks with initial weights, and parameters to train them on a few images."""

from typing import Any

import torch
from torch import Tensor

from autoencoder.base.params import Params
from autoencoder.network.model import Autoencoder, to_unit_range


def network(images: Tensor, z_size: int = 32, activation: str = "sigmoid") -> Autoencoder:
    """A network with initial weights for the images."""
    model = Autoencoder(z_size, activation)
    model.initialise(to_unit_range(images).mean(0), torch.Generator().manual_seed(0))
    return model


def parameters(**values: Any) -> Params:
    """Parameters for a `Trainer` on a few images."""
    usual: dict[str, Any] = {
        **{"seed": 0, "epochs": 3, "batch_size": 20, "patience": 0},
        **{"learning_rate": 5e-3, "weight_decay": 0.01, "noise": 0.0},
    }
    return Params.model_construct(**(usual | values))
