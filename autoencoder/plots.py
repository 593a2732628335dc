"""Figures of reconstructions and losses, and PNG files with reproducible bytes."""

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import matplotlib as mpl
import matplotlib.style
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F  # noqa: N812 - the name used in PyTorch's documentation
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from autoencoder.data.table import SIDE
from autoencoder.files import atomic_write
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
    image_rows = {"test image": x, "noisy": inputs} if noise else {"test image": x}

    figure = Figure(figsize=(len(images) + 1.6, 1.2 * len(image_rows) + 2.8), layout="constrained")
    axes = figure.subplots(len(image_rows) + 2, len(images), squeeze=False)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
    grey = {"cmap": "gray", "vmin": 0, "vmax": 1}
    *top_axes, code_axes, bottom_axes = axes
    for row, pixels in zip(
        [*top_axes, bottom_axes], [*image_rows.values(), torch.sigmoid(logits)], strict=True
    ):
        for axis, image in zip(row, pixels.numpy(), strict=True):
            axis.imshow(image.reshape(SIDE, SIDE), **grey)
    for axis, code in zip(code_axes, codes.numpy(), strict=True):
        drawn_code = axis.imshow(code_image(code), cmap="viridis", vmin=0, vmax=1)
    for label, top, bottom, loss in zip(labels, axes[0], bottom_axes, bce, strict=True):
        top.set_title(str(label))
        bottom.set_xlabel(f"{loss:.3f}")
    for axis, text in zip(
        axes[:, 0],
        (*image_rows, f"latent code\n{model.z_size} numbers", "reconstruction\nand its BCE"),
        strict=True,
    ):
        axis.set_ylabel(text, rotation=0, ha="right", va="center", labelpad=8)
    figure.colorbar(drawn_code, ax=code_axes, ticks=[0, 1], pad=0.01)
    return figure


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
    """Write a PNG whose bytes depend on the figure alone, not on matplotlib's version."""
    with atomic_write(path) as partial:
        figure.savefig(partial, format="png", dpi=120, metadata={"Software": None})
    log.info("%s", path)
