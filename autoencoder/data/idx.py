"""The IDX file format, in which MNIST and its successors are published."""

import math
from collections.abc import Iterator
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

# Third byte of the magic number: the element type.
_TYPES: dict[int, Any] = {8: np.dtype(np.uint8), 12: np.dtype(">i4")}

_CHUNK_BYTES = 1 << 22


def iter_chunks(file: IO[bytes]) -> Iterator[NDArray[Any]]:
    """Read an uncompressed, undamaged IDX file in chunks of shape (n, ...) and bounded memory.

    The format (LeCun, Cortes and Burges, "The MNIST database"): two zero bytes, a byte for the
    element type, here uint8 or int32, a byte for the number of dimensions, each dimension's size as
    a big-endian 32-bit integer, then the elements in row-major order.
    """
    _, _, code, dimensions = file.read(4)
    _, *item = np.frombuffer(file.read(4 * dimensions), ">u4").tolist()
    item_bytes = _TYPES[code].itemsize * math.prod(item)
    while block := file.read(_CHUNK_BYTES // item_bytes * item_bytes):
        yield np.frombuffer(block, _TYPES[code]).reshape(-1, *item)


def encode(array: NDArray[Any]) -> bytes:
    """Encode a uint8 or big-endian int32 array as the bytes of an IDX file."""
    (code,) = (code for code, dtype in _TYPES.items() if dtype == array.dtype)
    header = bytes([0, 0, code, array.ndim])
    return header + np.array(array.shape, ">u4").tobytes() + array.tobytes()
