"""The IDX file format, in which MNIST and its successors are published."""

import math
from collections.abc import Iterator
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from autoencoder.base.errors import UserError

# Third byte of the magic number: the element type.
_TYPE_CODES = {np.dtype(np.uint8): 8, np.dtype(">i4"): 12}

_CHUNK_BYTES = 1 << 22

_HINT = "delete it and run `dvc repro` again"


def iter_chunks(
    file: IO[bytes],
    name: str,
    item: tuple[int, ...],
    dtype: Any = np.uint8,
) -> Iterator[NDArray[Any]]:
    """Read an uncompressed IDX file in chunks of shape (n, *item) and bounded memory.

    The format (LeCun, Cortes and Burges, "The MNIST database"): two zero bytes, a byte for the
    element type, here uint8 or int32, a byte for the number of dimensions, each dimension's size as
    a big-endian 32-bit integer, then the elements in row-major order.

    `item` is the shape of one item: (28, 28) for an image, () for a label. Messages begin with
    `name`. Raises UserError if the magic number or the header does not match `item` and `dtype`,
    there is no element, or the file ends before or after the last one.
    """
    dtype = np.dtype(dtype)
    magic = file.read(4)
    expected = bytes([0, 0, _TYPE_CODES[dtype], 1 + len(item)])
    if magic != expected:
        raise UserError(
            f"{name}: starts with {magic.hex(' ') or 'nothing'}, expected {expected.hex(' ')}: not "
            f"an IDX file of such items; {_HINT}"
        )
    header = file.read(4 * (1 + len(item)))
    count, *sizes = (int(size) for size in np.frombuffer(header.ljust(16, b"\0"), ">u4"))
    shape = (count, *sizes[: len(item)])
    if shape[1:] != item or 0 in shape:
        expected_shape = str(("n", *item)).replace("'", "")
        raise UserError(
            f"{name}: shape {shape}, expected {expected_shape} with at least one element; {_HINT}"
        )
    item_bytes = dtype.itemsize * math.prod(item)
    read_items = 0
    while read_items < count:
        items = min(count - read_items, max(1, _CHUNK_BYTES // item_bytes))
        block = file.read(items * item_bytes)
        if len(block) < items * item_bytes:
            raise UserError(
                f"{name}: ends after {read_items + len(block) // item_bytes} items, expected "
                f"{count} as in its header; {_HINT}"
            )
        yield np.frombuffer(block, dtype).reshape(items, *item)
        read_items += items
    if file.read(1):
        raise UserError(f"{name}: trailing data after {count} items; {_HINT}")


def read(
    file: IO[bytes],
    name: str,
    item: tuple[int, ...],
    dtype: Any = np.uint8,
) -> NDArray[Any]:
    """Read an IDX file as `iter_chunks` does, into one array of shape (n, *item)."""
    return np.concatenate(list(iter_chunks(file, name, item, dtype)))


def encode(array: NDArray[Any]) -> bytes:
    """Encode a uint8 or big-endian int32 array as the bytes of an IDX file."""
    header = bytes([0, 0, _TYPE_CODES[array.dtype], array.ndim])
    return header + np.array(array.shape, ">u4").tobytes() + array.tobytes()
