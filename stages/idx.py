"""MNIST as published: the IDX file format, and the canonical files with their digests."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stages import InputError

# Third byte of the magic number: the element type. MNIST uses unsigned bytes alone.
_UNSIGNED_BYTE = 8

_DIMENSIONS = range(1, 4)  # fourth byte: 1 for labels, 3 for images


@dataclass(frozen=True)
class Source:
    """A data set in torchvision's layout, ``<root>/<folder>/raw/<file>``.

    Attributes
    ----------
    folder : str
        The name that torchvision gives the data set's folder (that of its class).
    sha256 : dict of str to str
        File name to the SHA-256 of the uncompressed file.
    classes : int
        The labels are 0..classes - 1.
    """

    folder: str
    sha256: dict[str, str]
    classes: int

    def path(self, root: Path, name: str) -> Path:
        """Where `name` lies under `root`."""
        return root / self.folder / "raw" / name


SOURCES = {
    "mnist": Source(
        folder="MNIST",
        sha256={
            "train-images-idx3-ubyte": (
                "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"
            ),
            "train-labels-idx1-ubyte": (
                "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"
            ),
            "t10k-images-idx3-ubyte": (
                "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"
            ),
            "t10k-labels-idx1-ubyte": (
                "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"
            ),
        },
        classes=10,
    )
}


def read(path: Path) -> NDArray[np.uint8]:
    """Read an IDX file of unsigned bytes.

    The format (LeCun, Cortes and Burges, "The MNIST database"): two zero bytes, a byte for the
    element type, a byte for the number of dimensions, each dimension's size as a big-endian 32-bit
    integer, then the elements in row-major order.

    Parameters
    ----------
    path : Path
        An uncompressed IDX file.

    Returns
    -------
    uint8 array
        In the shape that the header states: (n, 28, 28) for MNIST's images, (n,) for its labels.

    Raises
    ------
    InputError
        If the magic number is not that of unsigned bytes in one to three dimensions, the length is
        not what the header states, or there is no element.
    OSError
        If the file cannot be read.
    """
    with path.open("rb") as file:
        magic = file.read(4)
        if magic[:3] != bytes([0, 0, _UNSIGNED_BYTE]) or magic[-1] not in _DIMENSIONS:
            raise InputError(
                f"{path}: starts with {magic.hex(' ') or 'nothing'}, expected 00 00 08 and 01 to "
                "03: not an IDX file of bytes; delete it and run `dvc repro` again"
            )
        sizes = file.read(4 * magic[-1])
        shape = tuple(int(size) for size in np.frombuffer(sizes.ljust(4 * magic[-1], b"\0"), ">u4"))
        length, expected = path.stat().st_size, 4 + 4 * magic[-1] + math.prod(shape)
        if length != expected:
            raise InputError(
                f"{path}: {length} bytes, expected {expected} from its header {shape}: delete it "
                "and run `dvc repro` again"
            )
        if 0 in shape:
            raise InputError(
                f"{path}: shape {shape}, expected at least one element: delete it and run "
                "`dvc repro` again"
            )
        return np.fromfile(file, np.uint8).reshape(shape)


def encode(array: NDArray[np.uint8]) -> bytes:
    """Return the bytes of the IDX file that holds `array` (see `read` for the format)."""
    header = bytes([0, 0, _UNSIGNED_BYTE, array.ndim])
    return header + np.array(array.shape, ">u4").tobytes() + array.tobytes()
