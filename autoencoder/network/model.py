"""The network, a fully connected autoencoder of 784-512-256-z-256-512-784, and its file."""

import json
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from autoencoder.base.errors import UserError, one_line
from autoencoder.base.files import atomic_write, named_errors
from autoencoder.base.params import Activation
from autoencoder.data.table import PIXELS

ACTIVATIONS: dict[Activation, type[nn.Module]] = {
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
}

# The only key of the file's metadata: safetensors writes several keys in varying order.
_METADATA = "autoencoder"


class Autoencoder(nn.Module):
    """Encoder 784-…-z and decoder z-…-784; latent code and output pass a sigmoid.

    `hidden_sizes` are the widths of the encoder's hidden layers; the decoder has them in reverse.

    >>> model = Autoencoder.load("models/autoencoder.safetensors")
    >>> z = model.encode(images)
    >>> reconstructions = model.decode(z)
    """

    def __init__(self, hidden_sizes: Sequence[int], z_size: int, activation: Activation) -> None:
        super().__init__()
        self.hidden_sizes = tuple(hidden_sizes)
        self.z_size = z_size
        self.activation = activation
        self.lineage: dict[str, Any] = {}  # what a loaded network was made from
        self.encoder = _mlp([PIXELS, *hidden_sizes, z_size], activation)
        self.decoder = _mlp([z_size, *reversed(hidden_sizes), PIXELS], activation)

    def encode(self, x: Tensor) -> Tensor:
        """Map images, float (n, 784) in 0..1, to latent codes, float (n, z_size) in 0..1."""
        return torch.sigmoid(self.encoder(x))

    def decode(self, z: Tensor) -> Tensor:
        """Map latent codes, float (n, z_size) in 0..1, to images, float (n, 784) in 0..1."""
        return torch.sigmoid(self.decoder(z))

    def forward(self, x: Tensor) -> Tensor:
        """Map images, float (n, 784) in 0..1, to the logits of their reconstructions, (n, 784)."""
        logits: Tensor = self.decoder(self.encode(x))
        return logits

    @property
    def training_noise(self) -> float:
        """How much noise a loaded network was trained to remove; 0 if its lineage does not say."""
        return float(self.lineage.get("parameters", {}).get("noise", 0))

    def save(self, path: Path, lineage: Mapping[str, Any]) -> None:
        """Write a safetensors file of the weights and what they were made from, as JSON values.

        The same weights and lineage give the same bytes.
        """
        architecture = {
            "hidden_sizes": self.hidden_sizes,
            "z_size": self.z_size,
            "activation": self.activation,
        }
        metadata = json.dumps({"architecture": architecture, "lineage": lineage})
        with atomic_write(path) as partial:
            partial.write_bytes(save(self.state_dict(), {_METADATA: metadata}))

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a file that `save` wrote.

        Raises UserError if the file is not safetensors (no other format is ever opened, least of
        all pickles), was not written by `save`, or its tensors do not match its architecture or are
        not finite, and OSError if it cannot be read.
        """
        with Path(path).open("rb"):
            pass  # safe_open would say that a directory is no device, a protected file is not there
        try:
            # NumPy reads, copies and checks: a parallel operation of PyTorch's would start threads,
            # for which a process forked later, a DataLoader's worker for instance, waits in vain.
            with named_errors(Path(path)), safe_open(path, "numpy") as file:
                metadata = json.loads((file.metadata() or {})[_METADATA])
                weights = {
                    name: torch.from_numpy(file.get_tensor(name).astype(np.float32))
                    for name in file.keys()  # noqa: SIM118
                }
            with torch.device("meta"):  # takes no memory, whatever sizes the file claims
                model = cls(**metadata["architecture"])
            # Not to_empty, whose first call imports SymPy, which takes half a second.
            model.load_state_dict(weights, assign=True)
            model.lineage = dict(metadata["lineage"])
        except (SafetensorError, ValueError, LookupError, TypeError, RuntimeError) as error:
            raise UserError(
                f"{path}: not a model of this project ({one_line(error)}); delete it and run "
                "`dvc repro`"
            ) from error
        for name, tensor in weights.items():
            if not np.isfinite(tensor.numpy()).all():
                raise UserError(
                    f"{path}: {name} contains values that are not finite, expected numbers; "
                    "delete the file and run `dvc repro`"
                )
        return model.eval()


def to_unit_range(images: Tensor) -> Tensor:
    """Map grey values, uint8 0..255, to float32 0..1 of the same shape."""
    return images.float() / 255


def add_noise(
    x: Tensor, noise: float, generator: torch.Generator, out: Tensor | None = None
) -> Tensor:
    """Add uniform noise to images: ``clamp(x + noise * u, 0, 1)``, u in 0..1 drawn per pixel.

    `x` is float32, (n, 784), 0..1, on the generator's device. `out` is a buffer for the result and
    must not share memory with it.
    """
    u = torch.rand(x.shape, generator=generator, device=x.device, out=out)
    return u.mul_(noise).add_(x).clamp_(0, 1)


def _mlp(sizes: Sequence[int], activation: Activation) -> nn.Sequential:
    """Stack linear layers with activations in between."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), ACTIVATIONS[activation]()]
    return nn.Sequential(*layers[:-1])
