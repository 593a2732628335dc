"""The network: a fully connected autoencoder 784-512-256-z-256-512-784, its file and its errors."""

import json
import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the name that PyTorch's own documentation gives it
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from autoencoder.errors import UserError
from autoencoder.files import replacing

PIXELS = 784
HIDDEN = (512, 256)
ACTIVATIONS: Mapping[str, type[nn.Module]] = {
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
}

# The one key of the file's metadata: safetensors writes several keys in an order that changes.
_METADATA = "autoencoder"

# Images scored at a time: bounds the memory that the activations take.
_ROWS = 1000


class CentredLinear(nn.Linear):
    """A linear layer fed by sigmoids: ``y = W (x - 1/2) + b``.

    It computes what a linear layer computes, with another bias. Sigmoids are positive, 1/2 on
    average, which ties each weight's gradient to that of the bias; centred, the weights learn on
    their own (LeCun et al., "Efficient BackProp", 1998, section 4.3).
    """

    def forward(self, x: Tensor) -> Tensor:
        """Float tensor (n, inputs) in 0..1 to float tensor (n, outputs)."""
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
        Of the hidden layers, one of `ACTIVATIONS`.
    """

    def __init__(self, z_size: int, activation: str) -> None:
        super().__init__()
        self.z_size = z_size
        self.activation = activation
        self.encoder = _half([PIXELS, *HIDDEN, z_size], activation, fed_by="pixels")
        self.decoder = _half([z_size, *reversed(HIDDEN), PIXELS], activation, fed_by="sigmoid")

    def encode(self, x: Tensor) -> Tensor:
        """Images, float (n, 784) in 0..1, to latent codes, float (n, z_size) in 0..1."""
        return torch.sigmoid(self.encoder(x))

    def decode(self, z: Tensor) -> Tensor:
        """Latent codes, float (n, z_size) in 0..1, to reconstructions, float (n, 784) in 0..1."""
        return torch.sigmoid(self.decoder(z))

    def forward(self, x: Tensor) -> Tensor:
        """Images, float (n, 784) in 0..1, to the logits of their reconstructions, (n, 784)."""
        logits: Tensor = self.decoder(self.encode(x))
        return logits

    @torch.no_grad()
    def initialise(self, mean: Tensor, generator: torch.Generator) -> None:
        """Draw initial weights that let gradients of one size reach every layer.

        Weights are Xavier's (Glorot and Bengio, 2010), times 4 on either side of a sigmoid, whose
        slope is 1/4, and times the square root of 2 elsewhere (He et al., 2015). Biases make the
        first layer's outputs 0 for the mean image, and the mean image the first reconstruction.

        Parameters
        ----------
        mean : float tensor of shape (784,)
            The mean training image, 0..1.
        generator : Generator
            Source of the random numbers, on the CPU.
        """
        layers = [layer for layer in self.modules() if isinstance(layer, nn.Linear)]
        for layer in layers:
            beside_sigmoid = (
                self.activation == "sigmoid"
                or isinstance(layer, CentredLinear)
                or layer is self.encoder[-1]
            )
            gain = 4.0 if beside_sigmoid else math.sqrt(2)
            nn.init.xavier_uniform_(layer.weight, gain, generator)
            nn.init.zeros_(layer.bias)
        first, *_, last = layers
        first.bias.copy_(-first.weight @ mean)
        # Not torch.logit: its first call in a process, after a matrix product, now and then rounds
        # otherwise in the second thread (2 % of processes, PyTorch 2.15.0 with MKL).
        p = np.clip(mean.numpy(), 1e-3, 1 - 1e-3)
        last.bias.copy_(torch.from_numpy(np.log(p / (1 - p))))

    def save(self, path: Path, lineage: Mapping[str, Any]) -> None:
        """Write the weights, the architecture and what they came from.

        Parameters
        ----------
        path : Path
            The safetensors file to make or replace.
        lineage : mapping
            What JSON can hold. The same weights and lineage give the same bytes.
        """
        architecture = {"z_size": self.z_size, "activation": self.activation}
        metadata = json.dumps({"architecture": architecture, "lineage": lineage})
        with replacing(path) as partial:
            partial.write_bytes(save(self.state_dict(), {_METADATA: metadata}))

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what `save` wrote.

        Raises
        ------
        UserError
            If the file is not safetensors (nothing else is ever opened, pickles least of all), was
            not written by `save`, or its tensors are not those of its architecture, all finite.
        OSError
            If the file cannot be read.
        """
        with Path(path).open("rb"):
            pass  # what safe_open says of a folder, say, does not name it
        try:
            with safe_open(path, "pt") as file:
                metadata = (file.metadata() or {})[_METADATA]
                weights = {
                    name: file.get_tensor(name).to(torch.float32, copy=True)
                    for name in file.keys()  # noqa: SIM118
                }
            with torch.device("meta"):  # takes no memory, whatever z_size the file states
                model = cls(**json.loads(metadata)["architecture"])
            # Not to_empty, whose first call imports SymPy, which takes half a second.
            model.load_state_dict(weights, assign=True)
        except (SafetensorError, ValueError, LookupError, TypeError, RuntimeError) as error:
            reason = " ".join(str(error).split())
            raise UserError(
                f"{path}: not a model of this project ({reason}); delete it and run `dvc repro`"
            ) from error
        for name, tensor in weights.items():
            if not tensor.isfinite().all():
                raise UserError(f"{path}: {name} is not finite, expected numbers; train it again")
        return model.eval()


def lineage(path: str | Path) -> dict[str, Any]:
    """Read what a model was made from and with, out of the file that `Autoencoder.save` wrote."""
    with safe_open(path, "pt") as file:
        facts: dict[str, Any] = json.loads(file.metadata()[_METADATA])["lineage"]
    return facts


def _half(sizes: Sequence[int], activation: str, *, fed_by: str) -> nn.Sequential:
    """Linear layers with activations between them; `fed_by` says what the first one's input is."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        kind = CentredLinear if fed_by == "sigmoid" else nn.Linear
        layers += [kind(inputs, outputs), ACTIVATIONS[activation]()]
        fed_by = activation
    return nn.Sequential(*layers[:-1])


def unit(images: Tensor) -> Tensor:
    """Grey values, uint8 0..255, to float32 0..1 of the same shape."""
    return images.float() / 255


def noisy(x: Tensor, noise: float, generator: torch.Generator, out: Tensor | None = None) -> Tensor:
    """Add uniform noise to images: ``clamp(x + noise * u, 0, 1)``, u in 0..1, drawn for each pixel.

    Parameters
    ----------
    x : float32 tensor of shape (n, 784)
        Grey values, 0..1.
    noise : float
        The most that is added to a pixel, 0..1.
    generator : Generator
        Source of the random numbers, on the device of `x`.
    out : float32 tensor of shape (n, 784), optional
        Where to put the result, other memory than that of `x`.

    Returns
    -------
    float32 tensor of shape (n, 784)
    """
    u = torch.rand(x.shape, generator=generator, device=x.device, out=out)
    return u.mul_(noise).add_(x).clamp_(0, 1)


@torch.no_grad()
def errors(model: Autoencoder, images: Tensor) -> tuple[Tensor, Tensor]:
    """How far each image's reconstruction is off.

    Parameters
    ----------
    model : Autoencoder
    images : uint8 tensor of shape (n, 784)
        Grey values, 0 black to 255 white, on the model's device.

    Returns
    -------
    bce : float64 tensor of shape (n,), on the CPU
        Binary cross-entropy between grey values and reconstruction, natural logarithm, mean over
        pixels.
    mse : float64 tensor of shape (n,), on the CPU
        Squared difference of grey values and reconstruction, both in 0..1, mean over pixels.
    """
    # Made once: small tensors kept from each part would lie between the large ones that come and
    # go, and the memory of those would not be used again (GBs, for all of EMNIST).
    bce, mse = torch.empty(2, len(images), dtype=torch.float64)
    parts = (tensor.split(_ROWS) for tensor in (images, bce, mse))
    for part, bce_of_part, mse_of_part in zip(*parts, strict=True):
        x = unit(part)
        logits = model(x)
        cross_entropy = F.binary_cross_entropy_with_logits(logits, x, reduction="none")
        bce_of_part.copy_(cross_entropy.mean(1))
        mse_of_part.copy_((torch.sigmoid(logits) - x).square().mean(1))
    return bce, mse
