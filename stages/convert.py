"""Turn MNIST's raw files into tables that a person can open, in the order of the raw files."""

import logging
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stages import InputError, idx, table
from stages.command import parse, run

log = logging.getLogger(__name__)


def read_pair(
    images: Path, labels: Path, number_of_classes: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Read a file of images and the file of their labels.

    Parameters
    ----------
    images, labels : Path
        IDX files of shape (n, 28, 28) and (n,).
    number_of_classes : int
        The labels are below it.

    Returns
    -------
    labels : uint8 array of shape (n,)
    images : uint8 array of shape (n, 28, 28)
        Grey values, 0 black to 255 white.

    Raises
    ------
    InputError
        If a file is damaged, has another shape, the two differ in length, or a label is none of the
        classes.
    """
    pixels, classes = idx.read(images), idx.read(labels)
    if pixels.shape[1:] != (table.SIDE, table.SIDE):
        raise InputError(f"{images}: shape {pixels.shape}, expected images of 28x28: (n, 28, 28)")
    if classes.shape != pixels.shape[:1]:
        raise InputError(
            f"{labels}: shape {classes.shape}, expected a label for each image of {images}: "
            f"{pixels.shape[:1]}"
        )
    if (strange := classes >= number_of_classes).any():
        row = int(strange.argmax())
        raise InputError(
            f"{labels}: label {row + 1} is {classes[row]}, expected 0..{number_of_classes - 1}"
        )
    return classes, pixels


def main() -> None:
    """Read the raw files, write the tables."""
    paths, params = parse(
        __doc__,
        reads={"raw": "folder of the raw files, in torchvision's layout"},
        writes={"train": "training table, CSV", "test": "test table, CSV"},
        uses=["dataset"],
    )
    source = idx.SOURCES[params.dataset]
    pairs = [
        read_pair(
            source.path(paths.raw, f"{prefix}-images-idx3-ubyte"),
            source.path(paths.raw, f"{prefix}-labels-idx1-ubyte"),
            source.classes,
        )
        for prefix in ("train", "t10k")
    ]
    for out, (labels, images) in zip((paths.train, paths.test), pairs, strict=True):
        table.write(out, [(labels.astype(str), images)])
        log.info("%s: %d images", out, len(images))


if __name__ == "__main__":
    run(main)
