"""Draw what a person judges a run by: a reconstruction of each digit, and each epoch's loss."""

import logging
import math
import re
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from stages import InputError, table
from stages.autoencoder import Autoencoder, errors, unit
from stages.command import parse, run
from stages.files import replacing

log = logging.getLogger(__name__)

_COLUMNS = 16  # of images beside one another
LOSSES = re.compile(r"[0-9]+(,[0-9]+\.[0-9]+){2}")  # a line of the file


def read_losses(path: Path) -> pd.DataFrame:
    """Read the loss of each epoch, checking every cell.

    Parameters
    ----------
    path : Path
        A CSV file with the header epoch,train,validation and numbers.

    Raises
    ------
    InputError
        If a line is not of this form, the last line is cut off or there is no row.
    OSError
        If the file cannot be read.
    """
    *lines, rest = path.read_text(encoding="utf-8", errors="replace").split("\n")
    for number, line in enumerate(lines, start=1):
        if not (LOSSES.fullmatch(line) if number > 1 else line == "epoch,train,validation"):
            expected = "three numbers" if number > 1 else "epoch,train,validation"
            raise InputError(f"{path}: line {number} is {line!r:.60}, expected {expected}")
    if rest or len(lines) < 2:
        raise InputError(
            f"{path}: cut off after {len(lines)} lines, expected a line for each epoch"
        )
    return pd.read_csv(path)


def spread(rows: NDArray[np.intp]) -> NDArray[np.intp]:
    """Keep `_COLUMNS` rows at most, in even steps from the first to the last."""
    if len(rows) <= _COLUMNS:
        return rows
    return rows[np.linspace(0, len(rows) - 1, _COLUMNS).round().astype(np.intp)]


def code_image(z: NDArray[np.float32]) -> NDArray[np.float32]:
    """Lay a latent code out as a small square image, row by row.

    Parameters
    ----------
    z : float32 array of shape (z_size,)

    Returns
    -------
    float32 array of shape (h, w)
        w is the square root of z_size, rounded up; cells beyond the code are NaN.
    """
    width = math.ceil(math.sqrt(len(z)))
    height = math.ceil(len(z) / width)
    return np.pad(z, (0, height * width - len(z)), constant_values=np.nan).reshape(height, width)


def draw_reconstructions(
    model: Autoencoder, labels: NDArray[np.str_], images: NDArray[np.uint8]
) -> Figure:
    """Draw images, their latent codes and their reconstructions below one another.

    Parameters
    ----------
    model : Autoencoder
        On the CPU.
    labels : str array of shape (n,)
        What to write above each image.
    images : uint8 array of shape (n, 784)
    """
    pixels = torch.from_numpy(images)
    with torch.no_grad():
        codes = model.encode(unit(pixels))
        reconstructions = model.decode(codes)
    bce, _ = errors(model, pixels)

    figure = Figure(figsize=(1.0 * len(images) + 1.6, 4.0), layout="constrained")
    axes = figure.subplots(3, len(images), squeeze=False)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
    grey = {"cmap": "gray", "vmin": 0, "vmax": 1}
    for column, (original, code, reconstruction) in enumerate(
        zip(images / 255, codes.numpy(), reconstructions.numpy(), strict=True)
    ):
        top, middle, bottom = axes[:, column]
        top.imshow(original.reshape(table.SIDE, table.SIDE), **grey)
        top.set_title(str(labels[column]))
        code_shown = middle.imshow(code_image(code), cmap="viridis", vmin=0, vmax=1)
        bottom.imshow(reconstruction.reshape(table.SIDE, table.SIDE), **grey)
        bottom.set_xlabel(f"{bce[column]:.3f}")
    for axis, text in zip(
        axes[:, 0],
        ("test image", f"latent code\n{model.z_size} numbers", "reconstruction\nand its BCE"),
        strict=True,
    ):
        axis.set_ylabel(text, rotation=0, ha="right", va="center", labelpad=8)
    figure.colorbar(code_shown, ax=axes[1, :], ticks=[0, 1], pad=0.01)
    return figure


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


def save(figure: Figure, path: Path) -> None:
    """Write a PNG whose bytes depend on the figure alone, not on matplotlib's version."""
    with replacing(path) as partial:
        figure.savefig(partial, format="png", dpi=120, metadata={"Software": None})
    log.info("%s", path)


def main() -> None:
    """Read model, test table and losses; draw the first image of each label, and the losses."""
    paths, _ = parse(
        __doc__,
        reads={
            "model": "the trained network, safetensors",
            "test": "test table, CSV",
            "losses": "BCE of each epoch, CSV",
        },
        writes={
            "reconstructions": "images, latent codes and reconstructions, PNG",
            "curve": "the loss of each epoch, PNG",
        },
    )
    model = Autoencoder.load(paths.model)
    labels, images = table.read(paths.test)
    losses = read_losses(paths.losses)
    shown = spread(table.first_of_each(labels))
    save(draw_reconstructions(model, labels[shown], images[shown]), paths.reconstructions)
    save(draw_losses(losses), paths.curve)


if __name__ == "__main__":
    run(main)
