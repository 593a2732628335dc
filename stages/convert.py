"""Turn the raw files into tables that a person can open: one to train on, one to test on."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from autoencoder.errors import UserError
from autoencoder.data import idx, pictures, table
from autoencoder.cli import parse, run
from autoencoder.data.datasets import DATASETS, Dataset, Files

SPLIT_SEED = 0  # not that of training: other weights must be scored on the same test rows
_ROWS = 4096  # handled at a time


def published(dataset: Dataset, root: Path, files: Files) -> Iterator[table.Piece]:
    """Read a split of a published data set, in bounded memory.

    Parameters
    ----------
    dataset : Dataset
    root : Path
        Root of torchvision's layout.
    files : Files
        Of the data set: those of its training or its test split.

    Yields
    ------
    labels : str array of shape (n,)
        Names of classes.
    images : uint8 array of shape (n, 28, 28)
        Upright, grey values from 0 black to 255 white, in the order of the files.

    Raises
    ------
    UserError
        If a file is damaged, the two differ in length, or a label is none of the classes.
    """
    numbers = _labels(dataset, root, files.labels)
    path = dataset.path(root, files.images)
    done = 0
    with dataset.open(root, files.images) as file:
        for images in idx.pieces(file, str(path), (table.SIDE, table.SIDE)):
            labels = numbers[done : done + len(images)]
            done += len(images)
            if len(labels) == len(images):
                upright = images.transpose(0, 2, 1) if dataset.transposed else images
                yield np.array(dataset.classes)[labels], upright
    if done != len(numbers):
        raise UserError(
            f"{dataset.path(root, files.labels)}: {len(numbers)} labels, expected one for each of "
            f"the {done} images of {path}; delete both and run `dvc repro` again"
        )


def _labels(dataset: Dataset, root: Path, name: str) -> NDArray[np.int64]:
    """Read the labels of a split, as numbers."""
    path = dataset.path(root, name)
    with dataset.open(root, name) as file:
        if dataset.wide_labels:
            numbers = idx.read(file, str(path), (8,), ">i4")[:, 0].astype(np.int64)
        else:
            numbers = idx.read(file, str(path), ()).astype(np.int64)
    if (strange := (numbers < 0) | (numbers >= len(dataset.classes))).any():
        row = int(strange.argmax())
        raise UserError(
            f"{path}: label {row + 1} is {numbers[row]}, expected 0..{len(dataset.classes) - 1}"
        )
    return numbers


def split(labels: NDArray[np.str_], fraction: float) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Draw the test rows, of each class its share to within a row.

    Parameters
    ----------
    labels : str array of shape (n,)
    fraction : float
        Share of the rows to test on, between 0 and 1.

    Returns
    -------
    train, test : int arrays
        Rows, ascending: together all n.

    Raises
    ------
    UserError
        If there are too few rows for one of either.
    """
    order = np.random.default_rng(SPLIT_SEED).permutation(len(labels))
    by_class = order[np.argsort(labels[order], kind="stable")]
    # Going through the classes, the rows at which the share passes a whole number.
    in_test = np.diff(np.floor(fraction * np.arange(len(labels) + 1))) > 0
    if in_test.all() or not in_test.any():
        raise UserError(
            f"params.yaml: test_fraction is {fraction:g}, which leaves {in_test.sum()} of "
            f"{len(labels)} images to test on, expected at least one, and one to train on"
        )
    return np.sort(by_class[~in_test]), np.sort(by_class[in_test])


def own(path: Path, fraction: float) -> tuple[Iterator[table.Piece], Iterator[table.Piece]]:
    """Read a user's own table or folder of pictures.

    Parameters
    ----------
    path : Path
        A table, with any header or none; a folder with a folder of pictures for each class; or one
        with ``train`` and ``test``, which are such folders.
    fraction : float
        Share of the images to test on, where `path` does not tell.

    Returns
    -------
    train, test : iterators of (labels, images)
        str arrays of shape (n,), uint8 arrays of shape (n, 28, 28) or (n, 784).
    """
    if path.is_dir() and {"train", "test"} == {child.name for child in path.iterdir()}:
        return pictures.classes(path / "train"), pictures.classes(path / "test")
    if path.is_dir():
        read = list(pictures.classes(path))
        labels = np.concatenate([some for some, _ in read])
        images = np.concatenate([some for _, some in read])
    else:
        labels, images = table.read(path, any_header=True)
    train, test = (
        ((labels[some], images[some]) for some in np.split(rows, range(_ROWS, len(rows), _ROWS)))
        for rows in split(labels, fraction)
    )
    return train, test


def main() -> None:
    """Read the raw files, write the tables."""
    paths, params = parse(
        __doc__,
        reads={"raw": "folder of the raw files"},
        writes={"train": "training table, CSV", "test": "test table, CSV"},
        uses=["dataset", "test_fraction"],
    )
    if dataset := DATASETS.get(params.dataset):
        train, test = (
            published(dataset, paths.raw, files) for files in (dataset.train, dataset.test)
        )
    else:
        train, test = own(paths.raw / Path(params.dataset).name, params.test_fraction)
    table.write(paths.train, train)
    table.write(paths.test, test)


if __name__ == "__main__":
    run(main)
