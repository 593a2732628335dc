"""Draw what a person judges a run by: a reconstruction of each digit, and each epoch's loss."""

import logging
import math
import re
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F  # noqa: N812 - the name that PyTorch's own documentation gives it
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from autoencoder.errors import UserError
from autoencoder.data import table
from autoencoder.network.model import Autoencoder, lineage, noisy, unit
from autoencoder.cli import parse, run
from autoencoder.files import replacing

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
    UserError
        If a line is not of this form, the last line is cut off or there is no row.
    OSError
        If the file cannot be read.
    """
    *lines, rest = path.read_text(encoding="utf-8", errors="replace").split("\n")
    for number, line in enumerate(lines, start=1):
        if not (LOSSES.fullmatch(line) if number > 1 else line == "epoch,train,validation"):
            expected = "three numbers" if number > 1 else "epoch,train,validation"
            raise UserError(f"{path}: line {number} is {line!r:.60}, expected {expected}")
    if rest or len(lines) < 2:
        raise UserError(
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
    model: Autoencoder, labels: NDArray[np.str_], images: NDArray[np.uint8], noise: float
) -> Figure:
    """Draw images, their latent codes and their reconstructions below one another.

    With noise, a row of noisy images comes second, and codes and reconstructions are theirs; the
    BCE is that of the reconstructions and the clean images.

    Parameters
    ----------
    model : Autoencoder
        On the CPU.
    labels : str array of shape (n,)
        What to write above each image.
    images : uint8 array of shape (n, 784)
    noise : float
        Most that is added to a pixel, 0..1; always the same is drawn.
    """
    x = unit(torch.from_numpy(images))
    seen = noisy(x, noise, torch.Generator().manual_seed(0)) if noise else x
    with torch.no_grad():
        codes = model.encode(seen)
        logits = model.decoder(codes)
        bce = F.binary_cross_entropy_with_logits(logits, x, reduction="none").mean(1)
    shown = {"test image": x, "noisy": seen} if noise else {"test image": x}

    figure = Figure(figsize=(len(images) + 1.6, 1.2 * len(shown) + 2.8), layout="constrained")
    axes = figure.subplots(len(shown) + 2, len(images), squeeze=False)
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
    grey = {"cmap": "gray", "vmin": 0, "vmax": 1}
    *above, middle, bottom = axes
    pictures = [*shown.values(), torch.sigmoid(logits)]
    for row, pixels in zip([*above, bottom], pictures, strict=True):
        for axis, image in zip(row, pixels.numpy(), strict=True):
            axis.imshow(image.reshape(table.SIDE, table.SIDE), **grey)
    for axis, code in zip(middle, codes.numpy(), strict=True):
        code_shown = axis.imshow(code_image(code), cmap="viridis", vmin=0, vmax=1)
    for label, top, last, loss in zip(labels, axes[0], bottom, bce, strict=True):
        top.set_title(str(label))
        last.set_xlabel(f"{loss:.3f}")
    for axis, text in zip(
        axes[:, 0],
        (*shown, f"latent code\n{model.z_size} numbers", "reconstruction\nand its BCE"),
        strict=True,
    ):
        axis.set_ylabel(text, rotation=0, ha="right", va="center", labelpad=8)
    figure.colorbar(code_shown, ax=middle, ticks=[0, 1], pad=0.01)
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
    # A model from before there was noise does not name it.
    noise = lineage(paths.model).get("parameters", {}).get("noise", 0)
    save(draw_reconstructions(model, labels[shown], images[shown], noise), paths.reconstructions)
    save(draw_losses(losses), paths.curve)


if __name__ == "__main__":
    run(main)
