"""Reconstruct images, and score each by how far off its reconstruction is: an anomaly score.

Images are a table (any header or none), a picture, or a folder of pictures. An image unlike those
that the network has learned is reconstructed badly: its BCE is high.
"""

import logging
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TextIO

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from PIL import Image

from autoencoder.cli import parse_paths, run
from autoencoder.data import table
from autoencoder.data.user_data import iter_images
from autoencoder.errors import UserError
from autoencoder.files import atomic_write
from autoencoder.network.metrics import per_image_losses
from autoencoder.network.model import Autoencoder, to_unit_range

log = logging.getLogger(__name__)

Images = NDArray[np.uint8]

# Images that a picture shows at most, its enlargement and the grey between them.
SHOWN = 400
SCALE = 2
BETWEEN = 96


def reconstruct(model: Autoencoder, images: Images) -> tuple[Images, NDArray[np.float64]]:
    """Reconstruct and score images.

    Parameters
    ----------
    model : Autoencoder
        On the CPU.
    images : uint8 array of shape (n, 784)
        Grey values, 0 black to 255 white.

    Returns
    -------
    reconstructions : uint8 array of shape (n, 784)
        Rounded grey values.
    bce : float64 array of shape (n,)
        Binary cross-entropy of each image and its reconstruction before rounding, natural
        logarithm, mean over pixels.
    """
    pixels = torch.from_numpy(images)
    with torch.no_grad():
        reconstructions = model.decode(model.encode(to_unit_range(pixels)))
    bce, _ = per_image_losses(model, pixels)
    return (255 * reconstructions).round().to(torch.uint8).numpy(), bce.numpy()


def scored(
    model: Autoencoder, pieces: Iterable[table.Chunk], scores: TextIO
) -> Iterator[tuple[NDArray[np.str_], Images, Images]]:
    """Reconstruct images, a piece at a time, and write their scores as they come.

    Parameters
    ----------
    model : Autoencoder
    pieces : iterable of (str array of shape (n,), uint8 array of shape (n, 784))
        Labels and images.
    scores : text file
        CSV: label, bce.

    Yields
    ------
    labels, images, reconstructions
    """
    scores.write("label,bce\n")
    for labels, images in pieces:
        reconstructions, bce = reconstruct(model, images)
        # Nine digits tell any two float32 apart, which these were computed as.
        pd.Series(bce, labels).to_csv(scores, header=False, float_format="%.9g")
        yield labels, images, reconstructions


def sheet(images: Images, reconstructions: Images) -> Images:
    """Lay pairs of an image and its reconstruction, beside one another, out in rows.

    Parameters
    ----------
    images, reconstructions : uint8 arrays of shape (n, 784)

    Returns
    -------
    uint8 array of shape (h, w)
        A picture, about square.
    """
    left, right = (part.reshape(-1, table.SIDE, table.SIDE) for part in (images, reconstructions))
    line = np.full((len(images), table.SIDE, 1), BETWEEN, np.uint8)
    columns = math.ceil(math.sqrt(len(images) / 2))
    rows = math.ceil(len(images) / columns)
    cells = np.pad(
        np.concatenate([left, line, right], axis=2),
        ((0, rows * columns - len(images)), (2, 2), (2, 2)),
        constant_values=BETWEEN,
    )
    _, height, width = cells.shape
    whole = cells.reshape(rows, columns, height, width).transpose(0, 2, 1, 3)
    return whole.reshape(rows * height, columns * width).repeat(SCALE, 0).repeat(SCALE, 1)


def draw(path: Path, pairs: Iterable[tuple[Images, Images]]) -> None:
    """Write a PNG of images beside their reconstructions.

    Raises
    ------
    UserError
        If there are more than `SHOWN`.
    """
    some: list[tuple[Images, Images]] = []
    for pair in pairs:
        some.append(pair)
        if sum(len(images) for images, _ in some) > SHOWN:
            raise UserError(
                f"{path}: over {SHOWN} images, more than a picture shows; give --reconstructions a "
                "name that ends in .csv"
            )
    images, reconstructions = (np.concatenate(part) for part in zip(*some, strict=True))
    with atomic_write(path) as partial:
        Image.fromarray(sheet(images, reconstructions)).save(partial, "PNG")


def main() -> None:
    """Read model and images, write reconstructions and scores."""
    paths = parse_paths(
        __doc__,
        reads={
            "model": "the trained network, safetensors",
            "images": "a table, CSV; a picture; or a folder of pictures, by class or not",
        },
        writes={
            "reconstructions": f"a table, NAME.csv; or each of up to {SHOWN} images beside its "
            "reconstruction, NAME.png",
            "scores": "BCE of each image, CSV: label, bce",
        },
    )
    suffix = paths.reconstructions.suffix.lower()
    if suffix not in (".csv", ".png"):
        raise UserError(f"{paths.reconstructions}: expected a name that ends in .csv or .png")
    if paths.scores == paths.reconstructions:
        raise UserError(f"{paths.scores}: named for reconstructions and scores; name two files")
    model = Autoencoder.load(paths.model)
    with atomic_write(paths.scores) as partial, partial.open("w", encoding="utf-8") as file:
        parts = scored(model, iter_images(paths.images), file)
        if suffix == ".csv":
            table.write(paths.reconstructions, ((labels, made) for labels, _, made in parts))
        else:
            draw(paths.reconstructions, ((images, made) for _, images, made in parts))
    log.info("%s, %s", paths.reconstructions, paths.scores)


if __name__ == "__main__":
    run(main)
