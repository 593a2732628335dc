"""The network: a fully connected autoencoder 784-512-256-z-256-512-784, and its file."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, Self, get_args

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from autoencoder.base.errors import UserError
from autoencoder.base.files import atomic_write, named_errors
from autoencoder.base.params import Activation
from autoencoder.data.table import PIXELS

HIDDEN = (512, 256)

# The only key of the file's metadata: safetensors writes several keys in varying order.
_METADATA = "autoencoder"


class ActivationLayer(nn.Module):
    """An activation by its name, which is that of PyTorch's function.

    Parameters
    ----------
    name : str
        One of `autoencoder.base.params.Activation`.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        if name not in get_args(Activation):
            raise ValueError(f"{name!r} is not one of {', '.join(get_args(Activation))}")
        self.function = getattr(torch.ops.aten, name)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the activation to each element."""
        result: Tensor = self.function(x)
        return result


class CentredLinear(nn.Linear):
    """A linear layer whose inputs are sigmoids: ``y = W (x - 1/2) + b``.

    It computes the same functions as a linear layer, with a different bias. Sigmoids are positive,
    1/2 on average, which couples the gradient of each weight with that of the bias; centring the
    inputs removes this coupling (LeCun et al., "Efficient BackProp", 1998, section 4.3).
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map float (n, in_features) in 0..1 to float (n, out_features)."""
        return super().forward(x - 0.5)


class Autoencoder(nn.Module):
    """Encoder 784-512-256-z and decoder z-256-512-784; latent code and output pass a sigmoid.

    >>> model = Autoencoder.load("models/autoencoder.safetensors")
    >>> z = model.encode(images)
    >>> reconstructions = model.decode(z)

    Parameters
    ----------
    z_size : int
        Numbers in the latent code.
    activation : str
        Activation of the hidden layers, one of `autoencoder.base.params.Activation`.
    """

    def __init__(self, z_size: int, activation: str) -> None:
        super().__init__()
        self.z_size = z_size
        self.activation = activation
        self.encoder = _mlp([PIXELS, *HIDDEN, z_size], activation, input_kind="pixels")
        self.decoder = _mlp([z_size, *reversed(HIDDEN), PIXELS], activation, input_kind="sigmoid")

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

    @torch.no_grad()
    def initialise(self, mean: Tensor, generator: torch.Generator) -> None:
        """Draw initial weights for which gradients of similar size reach every layer.

        Weights are Xavier-uniform (Glorot and Bengio, 2010), times 4 on either side of a hidden
        sigmoid or that of the code, whose slope is 1/4, and times the square root of 2 elsewhere
        (He et al., 2015). The biases
        make the first layer's outputs 0 for the mean image and the mean image the first
        reconstruction.

        Parameters
        ----------
        mean : float tensor of shape (784,)
            The mean training image, 0..1.
        generator : Generator
            Source of the random numbers, on the CPU.
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

    def save(self, path: Path, lineage: Mapping[str, Any]) -> None:
        """Write weights, architecture and lineage.

        Parameters
        ----------
        path : Path
            The safetensors file to create or replace.
        lineage : mapping
            What the weights were made from, as JSON values. The same weights and lineage give the
            same bytes.
        """
        architecture = {"z_size": self.z_size, "activation": self.activation}
        metadata = json.dumps({"architecture": architecture, "lineage": lineage})
        with atomic_write(path) as partial:
            partial.write_bytes(save(self.state_dict(), {_METADATA: metadata}))

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a file that `save` wrote.

        Raises
        ------
        UserError
            If the file is not safetensors (no other format is ever opened, least of all pickles),
            was not written by `save`, or its tensors do not match its architecture or are not
            finite.
        OSError
            If the file cannot be read.
        """
        try:
            with _open(path) as (file, metadata):
                weights = {
                    name: file.get_tensor(name).to(torch.float32, copy=True)
                    for name in file.keys()  # noqa: SIM118
                }
            with torch.device("meta"):  # takes no memory, whatever z_size the file claims
                model = cls(**metadata["architecture"])
            # Not to_empty, whose first call imports SymPy, which takes half a second.
            model.load_state_dict(weights, assign=True)
        except (SafetensorError, ValueError, LookupError, TypeError, RuntimeError) as error:
            reason = " ".join(str(error).split())
            raise UserError(
                f"{path}: not a model of this project ({reason}); delete it and run `dvc repro`"
            ) from error
        for name, tensor in weights.items():
            if not tensor.isfinite().all():
                raise UserError(
                    f"{path}: {name} contains values that are not finite, expected numbers; "
                    "delete the file and run `dvc repro`"
                )
        return model.eval()


def lineage(path: str | Path) -> dict[str, Any]:
    """Read what a model was made from, out of a file that `Autoencoder.save` wrote.

    Raises
    ------
    UserError
        If the file has no lineage.
    OSError
        If the file cannot be read.
    """
    try:
        with _open(path) as (_, metadata):
            facts: dict[str, Any] = dict(metadata["lineage"])
    except (SafetensorError, ValueError, LookupError, TypeError) as error:
        raise UserError(
            f"{path}: does not say what it was made from; delete it and run `dvc repro`"
        ) from error
    return facts


@contextmanager
def _open(path: str | Path) -> Iterator[tuple[Any, Any]]:
    """Open a file that `Autoencoder.save` wrote; yield it and its metadata."""
    with Path(path).open("rb"):
        pass  # the errors of safe_open do not name the file, for a directory for instance
    with named_errors(Path(path)), safe_open(path, "pt") as file:
        yield file, json.loads((file.metadata() or {})[_METADATA])


def training_noise(path: str | Path) -> float:
    """Read how much noise a model was trained to remove; 0 if its lineage does not say.

    Raises
    ------
    UserError
        If the file has no lineage.
    """
    return float(lineage(path).get("parameters", {}).get("noise", 0))


def build_model(training: Tensor, z_size: int, activation: str, seed: int) -> Autoencoder:
    """Build a network with initial weights.

    Parameters
    ----------
    training : uint8 tensor of shape (n, 784), on the CPU
        The training images, of which the mean is used.
    z_size : int
        Numbers in the latent code.
    activation : str
        One of `autoencoder.base.params.Activation`.
    seed : int
        Seed of the weights.
    """
    model = Autoencoder(z_size, activation)
    # NumPy's sum: PyTorch's would copy all images to int64 first.
    total = torch.from_numpy(training.numpy().sum(0, dtype=np.int64))
    model.initialise(total / (255 * len(training)), torch.Generator().manual_seed(seed))
    return model


def to_unit_range(images: Tensor) -> Tensor:
    """Map grey values, uint8 0..255, to float32 0..1 of the same shape."""
    return images.float() / 255


def add_noise(
    x: Tensor, noise: float, generator: torch.Generator, out: Tensor | None = None
) -> Tensor:
    """Add uniform noise to images: ``clamp(x + noise * u, 0, 1)``, u in 0..1 drawn per pixel.

    Parameters
    ----------
    x : float32 tensor of shape (n, 784)
        Grey values, 0..1.
    noise : float
        Maximum added to a pixel, 0..1.
    generator : Generator
        Source of the random numbers, on the device of `x`.
    out : float32 tensor of shape (n, 784), optional
        Buffer for the result; must not share memory with `x`.

    Returns
    -------
    float32 tensor of shape (n, 784)
    """
    u = torch.rand(x.shape, generator=generator, device=x.device, out=out)
    return u.mul_(noise).add_(x).clamp_(0, 1)


def _mlp(sizes: Sequence[int], activation: str, *, input_kind: str) -> nn.Sequential:
    """Stack linear layers with activations in between.

    `input_kind` says what the first layer's inputs are: pixels, or the outputs of an activation.
    """
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        linear = CentredLinear if input_kind == "sigmoid" else nn.Linear
        layers += [linear(inputs, outputs), ActivationLayer(activation)]
        input_kind = activation
    return nn.Sequential(*layers[:-1])
