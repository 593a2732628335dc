"""The published data sets: files, digests, class names, and how to read them."""

import string
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import fsspec
import numpy as np

from autoencoder.base.errors import UserError, listed
from autoencoder.base.files import file_digest
from autoencoder.data import idx, table


class Files(NamedTuple):
    """The files of a split: names in `Dataset.digests`, followed by that of a member of an archive.

    For example, ``gzip.zip/gzip/emnist-digits-test-labels-idx1-ubyte.gz``.
    """

    images: str
    labels: str


@dataclass(frozen=True)
class Dataset:
    """A published data set, in torchvision's layout ``<root>/<folder>/raw/<file>``.

    `digests` has the published digest of each file, in hexadecimal: the SHA-256 of an uncompressed
    file, or the MD5 that torchvision checks of a compressed one, which is stored compressed.
    `classes` has the name of each numeric label. `transposed` images are stored transposed.
    """

    folder: str
    digests: dict[str, str]
    train: Files
    test: Files
    classes: tuple[str, ...]
    transposed: bool = False

    def path(self, root: Path, name: str) -> Path:
        """Return the path of a file below `root`."""
        return root / self.folder / "raw" / name

    def faulty_files(self, root: Path) -> list[Path]:
        """Return the paths of the files that are missing below `root`, or not as published."""
        paths = [self.path(root, name) for name in self.digests]
        return [path for path in paths if not has_digest(path, self.digests[path.name])]

    def open(self, root: Path, name: str) -> fsspec.core.OpenFile:
        """Open a file that `Files` names for reading, uncompressed."""
        file, _, member = name.partition("/")
        path = self.path(root, file)
        return fsspec.open(f"zip://{member}::{path}" if member else path, compression="infer")


_DIGITS = tuple(string.digits)


def _files(prefix: str, suffix: str = "") -> Files:
    """Name the files of a split as MNIST's are named."""
    return Files(f"{prefix}-images-idx3-ubyte{suffix}", f"{prefix}-labels-idx1-ubyte{suffix}")


def _like_mnist(
    folder: str, digests: tuple[str, str, str, str], classes: tuple[str, ...], suffix: str = ""
) -> Dataset:
    """Make a data set whose four files have the same names as MNIST's."""
    train, test = _files("train", suffix), _files("t10k", suffix)
    digest_of = dict(zip((*train, *test), digests, strict=True))
    return Dataset(folder, digest_of, train, test, classes)


def _emnist(split: str, classes: tuple[str, ...]) -> Dataset:
    """Make a split of EMNIST; one archive contains all splits."""
    prefix = f"gzip.zip/gzip/emnist-{split}"
    train, test = _files(f"{prefix}-train", ".gz"), _files(f"{prefix}-test", ".gz")
    digests = {"gzip.zip": "58c8d27c78d21e728a6bc7b3cc06412e"}
    return Dataset("EMNIST", digests, train, test, classes, transposed=True)


# Lower-case letters that EMNIST merges with upper case (Cohen et al., "EMNIST: an extension of
# MNIST to handwritten letters", 2017, section II).
_MERGED = "cijklmopsuvwxyz"
_BY_CLASS = (*_DIGITS, *string.ascii_uppercase, *string.ascii_lowercase)
_BY_MERGE = tuple(name for name in _BY_CLASS if name not in _MERGED)

DATASETS = {
    "mnist": _like_mnist(
        "MNIST",
        (
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
        _DIGITS,
    ),
    "fashion-mnist": _like_mnist(
        "FashionMNIST",
        (
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        ),
        (
            "T-shirt/top",
            "Trouser",
            "Pullover",
            "Dress",
            "Coat",
            "Sandal",
            "Shirt",
            "Sneaker",
            "Bag",
            "Ankle boot",
        ),
    ),
    "kmnist": _like_mnist(
        "KMNIST",
        (
            "bdb82020997e1d708af4cf47b453dcf7",
            "e144d726b3acfaa3e44228e80efcd344",
            "5c965bf0a639b31b8f53240b1b52f4d7",
            "7320c461ea6c1c855c0b718fb2a4b134",
        ),
        ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
        suffix=".gz",
    ),
    "qmnist": Dataset(
        "QMNIST",
        {
            "qmnist-train-images-idx3-ubyte.gz": "ed72d4157d28c017586c42bc6afe6370",
            "qmnist-train-labels-idx2-int.gz": "0058f8dd561b90ffdd0f734c6a30e5e4",
            "qmnist-test-images-idx3-ubyte.gz": "1394631089c404de565df7b7aeaf9412",
            "qmnist-test-labels-idx2-int.gz": "5b5b05890a5e13444e108efe57b788aa",
        },
        Files("qmnist-train-images-idx3-ubyte.gz", "qmnist-train-labels-idx2-int.gz"),
        Files("qmnist-test-images-idx3-ubyte.gz", "qmnist-test-labels-idx2-int.gz"),
        _DIGITS,
    ),
    "emnist-balanced": _emnist("balanced", _BY_MERGE),
    "emnist-byclass": _emnist("byclass", _BY_CLASS),
    "emnist-bymerge": _emnist("bymerge", _BY_MERGE),
    "emnist-digits": _emnist("digits", _DIGITS),
    "emnist-letters": _emnist("letters", ("N/A", *string.ascii_lowercase)),  # labels from 1
    "emnist-mnist": _emnist("mnist", _DIGITS),
}


def is_published(path: Path) -> bool:
    """Tell whether a file is one of a published data set, by its name and digest."""
    name = path.name
    known = {data.digests[name] for data in DATASETS.values() if name in data.digests}
    return any(has_digest(path, digest) for digest in known)


def has_digest(path: Path, expected: str) -> bool:
    """Tell whether there is a file with a digest, an MD5 or SHA-256 in hexadecimal."""
    algorithm = {32: "md5", 64: "sha256"}[len(expected)]
    return path.is_file() and file_digest(path, algorithm) == expected


def read_published(
    dataset: Dataset, root: Path
) -> tuple[Iterator[table.Chunk], Iterator[table.Chunk]]:
    """Read the training and the test split of a data set, in chunks and bounded memory.

    Yields class names and upright images, (n, 28, 28), in the order of the files. Raises UserError
    if a file is missing, or not as published.
    """
    if faulty := dataset.faulty_files(root):
        raise UserError(
            f"{listed(faulty)}: missing or damaged, expected the published digest; let `dvc repro` "
            "download it again"
        )
    return _read_split(dataset, root, dataset.train), _read_split(dataset, root, dataset.test)


def _read_split(dataset: Dataset, root: Path, files: Files) -> Iterator[table.Chunk]:
    """Read the training or the test split."""
    with dataset.open(root, files.labels) as file:
        numbers = np.concatenate(list(idx.iter_chunks(file)))
    # QMNIST's are eight per image: the label, and where the image is from.
    labels = np.array(dataset.classes)[numbers.reshape(len(numbers), -1)[:, 0]]
    start = 0
    with dataset.open(root, files.images) as file:
        for images in idx.iter_chunks(file):
            upright = images.transpose(0, 2, 1) if dataset.transposed else images
            yield table.Chunk(labels[start : start + len(images)], upright)
            start += len(images)
