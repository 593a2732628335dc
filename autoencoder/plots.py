"""Figures of reconstructions and losses, and PNG files with reproducible bytes."""

import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import matplotlib.style
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F  # noqa: N812 - the name used in PyTorch's documentation
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from torch import Tensor

from autoencoder.base.files import atomic_write
from autoencoder.data import table
from autoencoder.data.table import SIDE
from autoencoder.network.model import Autoencoder, add_noise, to_unit_range

log = logging.getLogger(__name__)

CODE_COLOURS, DIFFERENCE_COLOURS = "viridis", "RdBu_r"
WORST_ACROSS = 8  # images next to each other in the picture of the worst

# In inches: room left and right of the rows, between two rows, and for a line of text. A tile is 1
# wide, with the space around it.
LEFT, RIGHT, GAP, LINE = 1.3, 0.75, 0.08, 0.2


@contextmanager
def default_style() -> Iterator[None]:
    """Draw with matplotlib's defaults, whatever the user's matplotlibrc says, and text as it is."""
    with mpl.style.context(["default", {"text.parse_math": False}]):
        yield


def evenly_spaced(rows: NDArray[np.intp], most: int) -> NDArray[np.intp]:
    """Keep at most `most` of the rows, evenly spaced from the first to the last."""
    return rows[np.linspace(0, len(rows) - 1, min(len(rows), most)).round().astype(np.intp)]


def median_row_per_label(labels: NDArray[np.str_], bce: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return the row of each label's typical image, the one of median BCE: (labels,), in order.

    Of an even number of images, the better one of the two in the middle.
    """
    by_bce = np.argsort(bce, kind="stable")
    rows = pd.Series(by_bce).groupby(labels[by_bce])
    middle = rows.agg(lambda ranked: ranked.iloc[(len(ranked) - 1) // 2])
    return middle.reindex(table.in_order(middle.index)).to_numpy()


def code_grid(z_size: int) -> NDArray[np.intp]:
    """Arrange the numbers of a latent code as a small image, row by row.

    The image is the rectangle that is closest to a square. If that is more than three times as wide
    as high, as for a prime number, it is about a square, and the last row is shorter and centred.
    Returns which number each cell shows, or -1, (h, 2 w): a centred row may be shifted by half a
    number.
    """
    rows = max(n for n in range(1, math.isqrt(z_size) + 1) if z_size % n == 0)
    columns = z_size // rows
    if columns > 3 * rows:
        columns = math.ceil(math.sqrt(z_size))
        rows = math.ceil(z_size / columns)
    grid = np.full((rows, 2 * columns), -1)
    grid.ravel()[: 2 * z_size] = np.arange(z_size).repeat(2)
    grid[-1] = np.roll(grid[-1], rows * columns - z_size)
    return grid


@dataclass(frozen=True)
class Row:
    """A row of a figure: tiles next to each other, float arrays of shape (n, h, w).

    `limits` are the values of the first and the last colour, `height` a tile's height ÷ width.
    """

    name: str
    tiles: NDArray[np.float32]
    colours: str = "gray"
    limits: tuple[float, float] = (0, 1)
    height: float = 1


def draw_reconstructions(
    model: Autoencoder, labels: NDArray[np.str_], images: NDArray[np.uint8], noise: float = 0
) -> Figure:
    """Draw images, uint8 (n, 784), their codes, reconstructions and differences in four rows.

    With noise, drawn with a fixed seed, codes and reconstructions are those of noisy images, which
    are drawn in another row; differences and BCE are those from the clean images. The model is on
    the CPU.
    """
    x = to_unit_range(torch.from_numpy(images))
    inputs = add_noise(x, noise, torch.Generator().manual_seed(0)) if noise else x
    codes, (original, *compared), bce = _reconstruct(model, inputs, x)
    grid = code_grid(model.z_size)
    code = Row(
        f"latent code\n{model.z_size} {'number' if model.z_size == 1 else 'numbers'}",
        np.where(grid < 0, np.nan, codes[:, grid]),
        CODE_COLOURS,
        height=2 * grid.shape[0] / grid.shape[1],
    )
    noisy = [Row("noisy", _squares(inputs))] if noise else []
    titles = [_shorten(label) for label in labels.tolist()]
    return _draw_bands([original, *noisy, code, *compared], "class", titles, bce, len(images))


def draw_worst(
    model: Autoencoder,
    labels: NDArray[np.str_],
    images: NDArray[np.uint8],
    numbers: NDArray[np.intp],
) -> Figure:
    """Draw images, uint8 (n, 784), reconstructions and differences, `WORST_ACROSS` in a row.

    The model is on the CPU; `numbers` has the place of each image in its table, 1 for the first.
    """
    x = to_unit_range(torch.from_numpy(images))
    _, rows, bce = _reconstruct(model, x, x)
    titles = [
        f"{number}\n{_shorten(label)}"
        for number, label in zip(numbers.tolist(), labels.tolist(), strict=True)
    ]
    return _draw_bands(rows, "image\nclass", titles, bce, min(len(images), WORST_ACROSS))


def _reconstruct(
    model: Autoencoder, inputs: Tensor, x: Tensor
) -> tuple[NDArray[np.float32], list[Row], list[float]]:
    """Reconstruct images `x` from inputs; return codes, three rows and the BCE of each image."""
    with torch.no_grad():
        codes = model.encode(inputs)
        logits = model.decoder(codes)
        bce = F.binary_cross_entropy_with_logits(logits, x, reduction="none").mean(1)
        reconstructions = torch.sigmoid(logits)
    difference = Row(
        "difference\nred: too bright\nblue: too dark",
        _squares(reconstructions - x),
        DIFFERENCE_COLOURS,
        (-0.5, 0.5),
    )
    rows = [Row("test image", _squares(x)), Row("reconstruction", _squares(reconstructions))]
    return codes.numpy(), [*rows, difference], bce.tolist()


def _squares(pixels: Tensor) -> NDArray[np.float32]:
    """Turn pixels, float (n, 784), into images, (n, 28, 28)."""
    return pixels.numpy().reshape(-1, SIDE, SIDE)


def _shorten(label: str) -> str:
    """Shorten a label to the width of an image."""
    return label if len(label) <= 10 else f"{label[:9]}…"


@default_style()
def _draw_bands(
    rows: Sequence[Row], heading: str, titles: Sequence[str], bce: Sequence[float], columns: int
) -> Figure:
    """Draw rows below each other, `columns` tiles wide, and what does not fit in further bands.

    Each tile's title is above the first row, its BCE below the last; `heading` says, line by line,
    what the titles are.
    """
    starts = range(0, len(titles), columns)
    heights = [row.height for row in rows]
    above, below = LINE * (len(heading.splitlines()) + 0.75), LINE * 1.75
    width = LEFT + columns + RIGHT
    height = above + sum(heights) + GAP * (len(rows) - 1) + below
    grid = {
        "left": LEFT / width,
        "right": 1 - RIGHT / width,
        "top": 1 - above / height,
        "bottom": below / height,
        "height_ratios": heights,
        "hspace": GAP * len(rows) / sum(heights),
    }
    left = {"xycoords": "axes fraction", "textcoords": "offset points", "ha": "right"}
    figure = Figure(figsize=(width, height * len(starts)))
    bands = figure.subfigures(len(starts), squeeze=False)[:, 0]
    for band, start in zip(bands, starts, strict=True):
        shown = slice(start, start + columns)
        axes = band.subplots(len(rows), gridspec_kw=grid)
        for axis, row in zip(axes, rows, strict=True):
            _draw_row(axis, row, row.tiles[shown], columns)
        centres = np.arange(len(titles[shown])) + 0.5
        top, *_, bottom = axes
        top.set_xticks(centres, titles[shown])
        top.xaxis.tick_top()
        bottom.set_xticks(centres, [f"{loss:.3f}" for loss in bce[shown]])
        top.annotate(heading, (0, 1), (-8, 3.5), va="bottom", **left)
        bottom.annotate("BCE", (0, 0), (-8, -3.5), va="top", **left)
    return figure


def _draw_row(axis: Axes, row: Row, tiles: NDArray[np.float32], columns: int) -> None:
    """Draw some tiles of a row, on one axis: one for each would take three times as long."""
    low, high = row.limits
    for column, tile in enumerate(tiles):
        place = (column + 0.04, column + 0.96, 0.04, 0.96)
        axis.imshow(tile, cmap=row.colours, vmin=low, vmax=high, extent=place, aspect="auto")
    axis.set(xlim=(0, columns), ylim=(0, 1), xticks=[], yticks=[])
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    axis.set_ylabel(row.name, rotation=0, ha="right", va="center", labelpad=8)
    if row.colours != "gray":
        bar = axis.inset_axes((1 + 0.12 / columns, 0, 0.12 / columns, 1))
        axis.figure.colorbar(axis.images[-1], cax=bar, ticks=row.limits)


def frame_losses(axis: Axes, runs: Sequence[pd.DataFrame]) -> None:
    """Scale the axes of loss curves so that the epochs after the first can be told apart.

    The first epoch's losses, which are often far above all others, may be cut off. The last epoch
    gets a tick. What is on the axis already stays in view below the curves.
    """
    last = max(int(run["epoch"].iloc[-1]) for run in runs)
    step = int(MaxNLocator(8, steps=[1, 2, 5, 10], integer=True).tick_values(0, last)[1])
    axis.set_xticks(sorted({1, *range(step, last - step // 2, step), last}))
    later = [run if len(run) == 1 else run.iloc[1:] for run in runs]
    top = max(run[["train", "validation"]].to_numpy().max() for run in later)
    bottom = min(axis.dataLim.y0, top)
    margin = 0.06 * (top - bottom) or 0.1 * top
    axis.set_ylim(bottom - margin, top + margin)
    axis.set(xlabel="epoch", ylabel="BCE, mean over pixels")


@default_style()
def draw_losses(losses: pd.DataFrame, floor: float) -> Figure:
    """Draw the losses of `read_losses`, and below them `floor`, the entropy of the test pixels."""
    figure = Figure(figsize=(7.2, 4.2), layout="constrained")
    axis = figure.subplots()
    axis.plot(losses["epoch"], losses["train"], label="training, during the epoch")
    axis.plot(losses["epoch"], losses["validation"], label="validation, after the epoch")
    best = losses.iloc[losses["validation"].argmin()]
    label = f"best: {best['validation']:.4f}, epoch {best['epoch']:.0f}"
    axis.plot(best["epoch"], best["validation"], "o", color="C1", label=label)
    label = f"floor, the entropy of the test pixels: {floor:.4f}"
    axis.axhline(floor, color="gray", linestyle="--", label=label)
    frame_losses(axis, [losses])
    first = losses.iloc[0]
    axis.set_title(
        f"Loss of each epoch; epoch 1: training {first['train']:.4f}, "
        f"validation {first['validation']:.4f}",
        fontsize="medium",
    )
    axis.grid(alpha=0.3)
    axis.legend()
    return figure


@default_style()
def save(figure: Figure, path: Path) -> None:
    """Write a PNG without matplotlib's version in its metadata."""
    with atomic_write(path) as partial:
        figure.savefig(partial, format="png", dpi=120, metadata={"Software": None})
    log.info("%s", path)
