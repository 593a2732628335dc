"""A user's own images: a table, or a directory of pictures."""

import filecmp
import logging
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from autoencoder.data import pictures, table
from autoencoder.data.raw_directory import RawDirectory
from autoencoder.errors import UserError
from autoencoder.files import atomic_write

log = logging.getLogger(__name__)

# Seed of the split into training and test images. Not the parameter `seed`, so that runs with
# different weights are scored on the same test images.
SPLIT_SEED = 0
_ROWS = 4096  # per chunk


def copy_user_data(source: Path, raw: RawDirectory) -> None:
    """Make `raw` contain a copy of a user's file or directory, and nothing else.

    Hidden files are skipped.

    Parameters
    ----------
    source : Path
    raw : RawDirectory
        The copy keeps the source's name.

    Raises
    ------
    UserError
        If `source` is missing or empty, or contains a link to a directory, or if `raw` contains
        other files.
    OSError
        If a file cannot be read or `raw` cannot be written to.
    """
    found = [
        path
        for path in [source, *sorted(source.rglob("*"))]
        if not any(part.startswith(".") for part in path.relative_to(source.parent).parts)
    ]
    for path in found[1:]:
        if path.is_symlink() and path.is_dir():
            raise UserError(f"{path}: a link to a directory, expected the directory itself")
    files = [path for path in found if not path.is_dir()]
    if not files or not source.exists():
        raise UserError(
            f"{source}: nothing there; put the table or the directory of pictures that `dataset:` "
            "in params.yaml names there, or `dvc pull` it"
        )
    copies = {raw.path / path.relative_to(source.parent): path for path in files}
    changed = [
        copy
        for copy, path in copies.items()
        if not (copy.is_file() and filecmp.cmp(path, copy, shallow=False))
    ]
    raw.prepare(copies, changed)
    for copy in tqdm(changed, unit="file", disable=not sys.stderr.isatty()):
        with atomic_write(copy) as partial:
            shutil.copyfile(copies[copy], partial)
    raw.finish(copies)
    log.info("%s: %d files from %s", raw.path, len(copies), source)


def iter_images(path: Path) -> Iterator[table.Chunk]:
    """Read images from a table or from pictures, in chunks and bounded memory.

    Parameters
    ----------
    path : Path
        What `pictures.iter_chunks` takes if it is a directory or has a picture's suffix; otherwise
        a table, with any header or none.

    Raises
    ------
    UserError, OSError
        As `pictures.iter_chunks` and `table.iter_chunks` do.
    """
    if path.is_dir() or path.suffix.lower() in pictures.FORMATS:
        return pictures.iter_chunks(path)
    return table.iter_chunks(path, any_header=True)


def read_user_data(
    path: Path, test_fraction: float
) -> tuple[Iterator[table.Chunk], Iterator[table.Chunk]]:
    """Read a user's table or directory of pictures, split into training and test images.

    Parameters
    ----------
    path : Path
        A table, with any header or none; a directory with a directory of pictures for each class;
        or a directory with two of these, ``train`` and ``test``.
    test_fraction : float
        Share of the images to test on, unless `path` is split already.

    Returns
    -------
    train, test : iterators of (labels, images)
        str arrays of shape (n,), uint8 arrays of shape (n, 28, 28) or (n, 784).
    """
    if path.is_dir() and {"train", "test"} == {child.name for child in path.iterdir()}:
        return pictures.iter_classes(path / "train"), pictures.iter_classes(path / "test")
    if path.is_dir():
        chunks = list(pictures.iter_classes(path))
        labels = np.concatenate([chunk for chunk, _ in chunks])
        images = np.concatenate([chunk for _, chunk in chunks])
    else:
        labels, images = table.read(path, any_header=True)
    train, test = (
        ((labels[chunk], images[chunk]) for chunk in np.split(rows, range(_ROWS, len(rows), _ROWS)))
        for rows in split_by_class(labels, test_fraction)
    )
    return train, test


def split_by_class(
    labels: NDArray[np.str_], test_fraction: float
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Draw test rows, stratified by class: each class gets its share to within one row.

    Parameters
    ----------
    labels : str array of shape (n,)
    test_fraction : float
        Share of the rows to test on, between 0 and 1.

    Returns
    -------
    train, test : int arrays
        Row numbers in ascending order; together all n.

    Raises
    ------
    UserError
        If there are too few rows for at least one in each.
    """
    order = np.random.default_rng(SPLIT_SEED).permutation(len(labels))
    by_class = order[np.argsort(labels[order], kind="stable")]
    # With the rows sorted by class, those at which the cumulative share passes an integer.
    in_test = np.diff(np.floor(test_fraction * np.arange(len(labels) + 1))) > 0
    if in_test.all() or not in_test.any():
        raise UserError(
            f"params.yaml: test_fraction is {test_fraction:g}, which leaves {in_test.sum()} of "
            f"{len(labels)} images to test on, expected at least one, and one to train on"
        )
    return np.sort(by_class[~in_test]), np.sort(by_class[in_test])
