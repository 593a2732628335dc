"""Reconstruct images, and score each by its reconstruction error: an anomaly score.

Images are a table, an array, a picture, or a directory of them, as for `dataset:`. An image unlike
the training images is reconstructed badly: its BCE is high. Grey images have a high BCE whatever
the reconstruction; bce_excess is the BCE minus the entropy of the image's own pixels.
"""

import logging
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TextIO

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from PIL import Image

from autoencoder.base.cli import Reads, Writes, run_stage
from autoencoder.base.errors import UserError
from autoencoder.base.files import atomic_write
from autoencoder.base.inputs import Inputs
from autoencoder.data import table
from autoencoder.data.user.images import iter_images
from autoencoder.network.metrics import per_image_entropies, per_image_losses
from autoencoder.network.model import Autoencoder, to_unit_range
from tools.images import ModelAndImages

log = logging.getLogger(__name__)

# Grey values, 0 black to 255 white; shape (n, 784).
Images = NDArray[np.uint8]

MAX_IMAGES = 400  # in a picture
SCALE = 2  # pixels of the picture per pixel of an image
GRID_GREY = 96  # between the images


def score(model: Autoencoder, images: Images) -> pd.DataFrame:
    """Compute bce, natural logarithm, mean over pixels, and bce_excess of each image."""
    bce = per_image_losses(model, torch.from_numpy(images))[0].numpy()
    return pd.DataFrame({"bce": bce, "bce_excess": bce - per_image_entropies(images)})


@torch.no_grad()
def iter_reconstructions(
    model: Autoencoder,
    chunks: Iterable[table.Chunk],
    scores: TextIO,
    reference: NDArray[np.float64] | None = None,
) -> Iterator[tuple[NDArray[np.str_], Images, Images]]:
    """Yield labels, images and reconstructions chunk by chunk, and write the scores.

    These are CSV: label, bce, bce_excess and, given a reference, the percentile of each image: the
    share of a reference, the bce_excess of other images in ascending order, that is lower, 0..100.
    """
    for labels, images in chunks:
        rows = score(model, images).set_axis(pd.Index(labels, name="label"))
        if reference is not None:
            below = np.searchsorted(reference, rows["bce_excess"])
            rows["percentile"] = 100 * below / len(reference)
        # Computed in float32; nine digits distinguish any two of these values.
        rows.to_csv(scores, header=scores.tell() == 0, float_format="%.9g")
        reconstructions = model.decode(model.encode(to_unit_range(torch.from_numpy(images))))
        yield labels, images, (255 * reconstructions).round().to(torch.uint8).numpy()


def image_grid(images: Images, reconstructions: Images) -> NDArray[np.uint8]:
    """Arrange pairs of an image and its reconstruction in rows: a roughly square picture."""
    count = len(images)
    columns = math.ceil(math.sqrt(count / 2))
    rows = math.ceil(count / columns)
    height, width = table.SIDE + 4, 2 * table.SIDE + 5  # with the grey around and between them
    cells = np.full((rows * columns, height, width), GRID_GREY, np.uint8)
    for x, part in ((2, images), (table.SIDE + 3, reconstructions)):
        squares = part.reshape(-1, table.SIDE, table.SIDE)
        cells[:count, 2 : 2 + table.SIDE, x : x + table.SIDE] = squares
    grid = cells.reshape(rows, columns, height, width).swapaxes(1, 2)
    return grid.reshape(rows * height, columns * width).repeat(SCALE, 0).repeat(SCALE, 1)


def draw(path: Path, pairs: Iterable[tuple[Images, Images]]) -> None:
    """Write a PNG of images next to their reconstructions, of at most `MAX_IMAGES`."""
    shown: list[tuple[Images, Images]] = []
    for pair in pairs:
        shown.append(pair)
        if sum(len(images) for images, _ in shown) > MAX_IMAGES:
            raise UserError(
                f"{path}: over {MAX_IMAGES} images, too many for a picture; give "
                "--reconstructions a name that ends in .csv"
            )
    images, reconstructions = (np.concatenate(part) for part in zip(*shown, strict=True))
    with atomic_write(path) as partial:
        Image.fromarray(image_grid(images, reconstructions)).save(partial, "PNG")


@dataclass(frozen=True)
class Paths(ModelAndImages):
    """The files and options of the tool."""

    reconstructions: Annotated[
        Path,
        Writes(
            f"a table, NAME.csv; or up to {MAX_IMAGES} images next to their reconstructions, "
            "NAME.png"
        ),
    ]
    scores: Annotated[
        Path, Writes("scores of each image, CSV: label, bce, bce_excess and, if asked, percentile")
    ]
    reference: Annotated[
        Path | None,
        Reads("images to compare the scores with, such as data/test.csv: adds the percentile"),
    ]


def main(paths: Paths, _: Inputs) -> None:
    """Read model and images; write reconstructions and scores."""
    suffix = paths.reconstructions.suffix.lower()
    if suffix not in (".csv", ".png"):
        raise UserError(f"{paths.reconstructions}: expected a name that ends in .csv or .png")
    model, images = paths.load()
    reference = None
    if paths.reference is not None:
        excesses = [score(model, some)["bce_excess"] for _, some in iter_images(paths.reference)]
        reference = np.sort(np.concatenate(excesses))
    with atomic_write(paths.scores) as partial, partial.open("w", encoding="utf-8") as file:
        results = iter_reconstructions(model, images, file, reference)
        if suffix == ".csv":
            table.write(paths.reconstructions, ((labels, made) for labels, _, made in results))
        else:
            draw(paths.reconstructions, ((images, made) for _, images, made in results))
    log.info("%s, %s", paths.reconstructions, paths.scores)


if __name__ == "__main__":
    run_stage(main, Paths, __doc__)
