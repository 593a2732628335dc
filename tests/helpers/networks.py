"""Networks with initial weights, and parameters to train them on a few images."""

from typing import Any

from torch import Tensor

from autoencoder.base.params import Activation, Params
from autoencoder.network.trainer import build_network
from autoencoder.network.training_network import TrainingNetwork


def network(
    images: Tensor, z_size: int = 32, activation: Activation = "sigmoid", **values: Any
) -> TrainingNetwork:
    """A network with initial weights for the images."""
    return build_network(images, parameters(z_size=z_size, activation=activation, **values))


def parameters(**values: Any) -> Params:
    """Parameters for a `Trainer` on a few images."""
    usual: dict[str, Any] = {
        "hidden_sizes": (64, 32),
        "z_size": 8,
        "activation": "sigmoid",
        "seed": 0,
        "epochs": 3,
        "batch_size": 20,
        "patience": 0,
        "learning_rate": 5e-3,
        "weight_decay": 0.01,
        "noise": 0.0,
    }
    return Params.model_construct(**(usual | values))
