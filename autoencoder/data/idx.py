"""The IDX file format, in which MNIST and its successors are published."""

import math
from collections.abc import Iterator
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from autoencoder.errors import UserError

# Third byte of the magic number: the type of the elements.
_CODES = {np.dtype(np.uint8): 8, np.dtype(">i4"): 12}

_BYTES = 1 << 22  # read at a time

_REDOWNLOAD_HINT = "delete it and run `dvc repro` again"


def iter_chunks(
    file: IO[bytes], name: str, item: tuple[int, ...], dtype: Any = np.uint8
) -> Iterator[NDArray[Any]]:
    """Read an IDX file, a few MB at a time.

    The format (LeCun, Cortes and Burges, "The MNIST database"): two zero bytes, a byte for the
    element type, a byte for the number of dimensions, each dimension's size as a big-endian 32-bit
    integer, then the elements in row-major order.

    Parameters
    ----------
    file : binary file
        Uncompressed, at its start.
    name : str
        What to call the file in messages.
    item : tuple of int
        Shape of one item: (28, 28) for an image, () for a label.
    dtype : uint8 or big-endian int32

    Yields
    ------
    array of `dtype`, of shape (n, *item)

    Raises
    ------
    UserError
        If the magic number or the header is that of other items, there is no item, or the file
        ends before or after the last one.
    """
    dtype = np.dtype(dtype)
    magic = file.read(4)
    expected = bytes([0, 0, _CODES[dtype], 1 + len(item)])
    if magic != expected:
        raise UserError(
            f"{name}: starts with {magic.hex(' ') or 'nothing'}, expected {expected.hex(' ')}: not "
            f"an IDX file of these; {_REDOWNLOAD_HINT}"
        )
    header = file.read(4 * (1 + len(item)))
    count, *sizes = (int(size) for size in np.frombuffer(header.ljust(16, b"\0"), ">u4"))
    if tuple(sizes[: len(item)]) != item or count == 0:
        shape = (count, *sizes[: len(item)])
        raise UserError(
            f"{name}: shape {shape}, expected {('n', *item)} with n > 0".replace("'", "")
            + f"; {_REDOWNLOAD_HINT}"
        )
    bytes_each = dtype.itemsize * math.prod(item)
    done = 0
    while done < count:
        some = min(count - done, _BYTES // bytes_each)
        block = file.read(some * bytes_each)
        if len(block) < some * bytes_each:
            raise UserError(
                f"{name}: ends after {done + len(block) // bytes_each} items, expected the {count} "
                f"of its header; {_REDOWNLOAD_HINT}"
            )
        yield np.frombuffer(block, dtype).reshape(some, *item)
        done += some
    if file.read(1):
        raise UserError(f"{name}: trailing data after {count} items; {_REDOWNLOAD_HINT}")


def read(file: IO[bytes], name: str, item: tuple[int, ...], dtype: Any = np.uint8) -> NDArray[Any]:
    """Read what `iter_chunks` reads, as one array of shape (n, *item)."""
    return np.concatenate(list(iter_chunks(file, name, item, dtype)))


def encode(array: NDArray[Any]) -> bytes:
    """Return the bytes of the IDX file that holds a uint8 or big-endian int32 array."""
    header = bytes([0, 0, _CODES[array.dtype], array.ndim])
    return header + np.array(array.shape, ">u4").tobytes() + array.tobytes()
