"""The form in which the network is trained: its initial weights, and centred inputs of layers."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from autoencoder.base.params import Activation
from autoencoder.network.model import Autoencoder


class CentredLinear(nn.Linear):
    """A linear layer whose inputs are sigmoids: ``y = W (x - 1/2) + b``.

    Sigmoids are positive, 1/2 on average, which couples the gradient of each weight with that of
    the bias; centring the inputs removes this coupling (LeCun et al., "Efficient BackProp", 1998,
    section 4.3).
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map float (n, in_features) in 0..1 to float (n, out_features)."""
        return super().forward(x - 0.5)


class TrainingNetwork(Autoencoder):
    """An autoencoder in which each layer that is fed by sigmoids is a `CentredLinear`."""

    def __init__(self, hidden_sizes: Sequence[int], z_size: int, activation: Activation) -> None:
        super().__init__(hidden_sizes, z_size, activation)
        for layers, source in ((self.encoder, nn.Identity()), (self.decoder, nn.Sigmoid())):
            for position, (previous, layer) in enumerate(pairwise([source, *layers])):
                if isinstance(layer, nn.Linear) and isinstance(previous, nn.Sigmoid):
                    layers[position] = CentredLinear(layer.in_features, layer.out_features)

    @torch.no_grad()
    def initialise(self, mean: Tensor, generator: torch.Generator) -> None:
        """Draw initial weights for which gradients of similar size reach every layer.

        Weights are Xavier-uniform (Glorot and Bengio, 2010), times 4 on either side of a sigmoid
        layer, whose slope is 1/4, and times the square root of 2 elsewhere (He et al., 2015). The
        biases make the first layer's outputs 0 for the mean training image, (784,) in 0..1, and
        that image the first reconstruction. The generator is on the CPU.
        """
        layers = [layer for layer in self.modules() if isinstance(layer, nn.Linear)]
        for layer in layers:
            next_to_sigmoid = (
                self.activation == "sigmoid"
                or isinstance(layer, CentredLinear)
                or layer is self.encoder[-1]
            )
            gain = 4.0 if next_to_sigmoid else math.sqrt(2)
            nn.init.xavier_uniform_(layer.weight, gain, generator)
            nn.init.zeros_(layer.bias)
        first, *_, last = layers
        first.bias.copy_(-first.weight @ mean)
        # Not torch.logit: in 2 % of processes its first call after a matrix product rounds
        # differently in the second thread (PyTorch 2.15.0 with MKL).
        p = np.clip(mean.numpy(), 1e-3, 1 - 1e-3)
        last.bias.copy_(torch.from_numpy(np.log(p / (1 - p))))

    def plain(self) -> Autoencoder:
        """Return the same function as an ordinary network, on the CPU.

        The centring moves into the biases: ``W (x - 1/2) + b = W x + (b - W 1/2)``.
        """
        weights = {name: tensor.cpu() for name, tensor in self.state_dict().items()}
        for name, layer in self.named_modules():
            if isinstance(layer, CentredLinear):
                weight, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
                weights[f"{name}.bias"] = bias.double() - weight.double().sum(1) / 2
        model = Autoencoder(self.hidden_sizes, self.z_size, self.activation)
        model.load_state_dict(weights)
        return model.eval()

    def save(self, path: Path, lineage: Mapping[str, Any]) -> None:
        """Write the plain network."""
        self.plain().save(path, lineage)
