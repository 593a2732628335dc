"""Figures of reconstructions and losses, and PNG files with reproducible bytes."""

import logging
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import matplotlib as mpl
import matplotlib.style
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F  # noqa: N812 - the name used in PyTorch's documentation
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from autoencoder.base.files import atomic_write
from autoencoder.data.table import SIDE
from autoencoder.network.model import Autoencoder, add_noise, to_unit_range

log = logging.getLogger(__name__)


@contextmanager
def default_style() -> Iterator[None]:
    """Draw with matplotlib's defaults, whatever the user's matplotlibrc says, and text as it is."""
    with mpl.style.context(["default", {"text.parse_math": False}]):
        yield


def evenly_spaced(rows: NDArray[np.intp], most: int) -> NDArray[np.intp]:
    """Keep at most `most` of the rows, evenly spaced from the first to the last."""
    if len(rows) <= most:
        return rows
    return rows[np.linspace(0, len(rows) - 1, most).round().astype(np.intp)]


def code_image(z: NDArray[np.float32]) -> NDArray[np.float32]:
    """Arrange a latent code as a small square image, row by row.

    Parameters
    ----------
    z : float32 array of shape (z_size,)

    Returns
    -------
    float32 array of shape (h, w)
        w is the square root of z_size, rounded up; cells after the end of the code are NaN.
    """
    width = math.ceil(math.sqrt(len(z)))
    height = math.ceil(len(z) / width)
    return np.pad(z, (0, height * width - len(z)), constant_values=np.nan).reshape(height, width)


@default_style()
def draw_reconstructions(
    model: Autoencoder, labels: NDArray[np.str_], images: NDArray[np.uint8], noise: float = 0
) -> Figure:
    """Draw images, their latent codes and their reconstructions in three rows.

    With noise, a row of noisy images follows the images, and codes and reconstructions are those of
    the noisy images; the BCE compares the reconstructions with the clean images.

    Parameters
    ----------
    model : Autoencoder
        On the CPU.
    labels : str array of shape (n,)
        Titles of the images.
    images : uint8 array of shape (n, 784)
    noise : float
        Maximum noise per pixel, 0..1, drawn with a fixed seed.
    """
    x = to_unit_range(torch.from_numpy(images))
    inputs = add_noise(x, noise, torch.Generator().manual_seed(0)) if noise else x
    with torch.no_grad():
        codes = model.encode(inputs)
        logits = model.decoder(codes)
        bce = F.binary_cross_entropy_with_logits(logits, x, reduction="none").mean(1)
    images_of = {"test image": x, "noisy": inputs} if noise else {"test image": x}
    names = [*images_of, f"latent code\n{model.z_size} numbers", "reconstruction\nand its BCE"]

    # In inches: each row is 1 high and as wide as it has images, 0.15 below the one above.
    width, height = len(images) + 2.0, 1.15 * len(names) + 0.55
    figure = Figure(figsize=(width, height))
    inside = {"left": 1.3 / width, "right": 1 - 0.7 / width, "hspace": 0.15}
    inside |= {"bottom": 0.35 / height, "top": 1 - 0.35 / height}
    axes = figure.subplots(len(names), gridspec_kw=inside)
    *top_axes, code_axis, bottom_axis = axes
    for axis, pixels in zip(
        [*top_axes, bottom_axis], [*images_of.values(), torch.sigmoid(logits)], strict=True
    ):
        _draw_row(axis, pixels.numpy().reshape(-1, SIDE, SIDE), "gray")
    scale = _draw_row(code_axis, [code_image(code) for code in codes.numpy()], "viridis")
    for axis, name in zip(axes, names, strict=True):
        axis.set_ylabel(name, rotation=0, ha="right", va="center", labelpad=8)
    centres = np.arange(len(images)) + 0.5
    axes[0].set_xticks(centres, [_shorten(label) for label in labels.tolist()])
    axes[0].xaxis.tick_top()
    bottom_axis.set_xticks(centres, [f"{loss:.3f}" for loss in bce])
    column = 0.12 / len(images)
    figure.colorbar(scale, cax=code_axis.inset_axes((1 + column, 0, column, 1)), ticks=[0, 1])
    return figure


def _shorten(label: str) -> str:
    """Shorten a label to the width of an image."""
    return label if len(label) <= 10 else f"{label[:9]}…"


def _draw_row(axis: Axes, tiles: Iterable[NDArray[np.float32]], colours: str) -> AxesImage:
    """Draw square images, values 0..1, next to each other; return the last, for the colour bar.

    On one axis, because one for each image would take three times as long.
    """
    for column, tile in enumerate(tiles):
        height = 0.92 * tile.shape[0] / tile.shape[1]
        place = (column + 0.04, column + 0.96, 0.96 - height, 0.96)
        image = axis.imshow(tile, cmap=colours, vmin=0, vmax=1, extent=place)
    axis.set(xlim=(0, column + 1), ylim=(0, 1), xticks=[], yticks=[])
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    return image


@default_style()
def draw_losses(losses: pd.DataFrame) -> Figure:
    """Draw the loss of each epoch.

    Parameters
    ----------
    losses : DataFrame
        Columns epoch, train and validation.
    """
    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axis = figure.subplots()
    axis.plot(losses["epoch"], losses["train"], label="training, during the epoch")
    axis.plot(losses["epoch"], losses["validation"], label="validation, after the epoch")
    best = losses.iloc[losses["validation"].argmin()]
    axis.plot(
        *(best["epoch"], best["validation"]),
        *("o",),
        color="C1",
        label=f"best: {best['validation']:.4f}, epoch {best['epoch']:.0f}",
    )
    axis.set(xlabel="epoch", ylabel="BCE, mean over pixels", title="Loss of each epoch")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.grid(alpha=0.3)
    axis.legend()
    return figure


@default_style()
def save(figure: Figure, path: Path) -> None:
    """Write a PNG without matplotlib's version in its metadata."""
    with atomic_write(path) as partial:
        figure.savefig(partial, format="png", dpi=120, metadata={"Software": None})
    log.info("%s", path)
