"""The table format: CSV with 785 columns, the label and the 28x28 grey values of an image a row."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stages import InputError
from stages.files import replacing

SIDE = 28
PIXELS = SIDE * SIDE
COLUMNS = ["label", *(f"{row + 1}x{column + 1}" for row in range(SIDE) for column in range(SIDE))]

# What is handled at a time bounds the memory that writing and reading take beyond the arrays.
_ROWS = 4096
_BYTES = 1 << 22

_COMMA, _NEWLINE, _ZERO = b",\n0"


def write(path: Path, labels: NDArray[np.uint8], images: NDArray[np.uint8]) -> None:
    """Write labels and images as a table, in the order given.

    Parameters
    ----------
    path : Path
        The CSV file to make or replace.
    labels : uint8 array of shape (n,)
    images : uint8 array of shape (n, 28, 28) or (n, 784)
        Grey values, 0 black to 255 white.
    """
    # Looking a value's text up is ten times as fast as formatting it. The texts are padded with NUL
    # to one width so that they can be looked up as an array; the padding is left out at the end.
    text = np.array([f"{value}," for value in range(256)], dtype="S4")
    with replacing(path) as partial, partial.open("wb") as file:
        file.write(",".join(COLUMNS).encode() + b"\n")
        for start in range(0, len(labels), _ROWS):
            part = slice(start, start + _ROWS)
            rows = np.column_stack([labels[part], images[part].reshape(-1, PIXELS)])
            cells = text[rows].view(np.uint8).reshape(*rows.shape, -1)
            last = cells[:, -1]
            last[last == _COMMA] = _NEWLINE
            file.write(cells[cells != 0].tobytes())


def read(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Read a table, checking every cell.

    Parameters
    ----------
    path : Path
        A CSV file with the header `COLUMNS` and integers 0..255. A byte-order mark and Windows line
        ends are accepted.

    Returns
    -------
    labels : uint8 array of shape (n,)
    images : uint8 array of shape (n, 784)
        Grey values, 0 black to 255 white, in the row order of the file.

    Raises
    ------
    InputError
        If the header is another one, a line has not 785 cells, a cell is not an integer 0..255, the
        last line is cut off or there is no row. The message names the file, and for a bad cell its
        line, its column and what it holds.
    OSError
        If the file cannot be read.
    """
    pieces = []
    line = 2
    for block in _blocks(path):
        pieces.append(_parse(path, block, line))
        line += len(pieces[-1])
    if not pieces:
        raise InputError(f"{path}: no row below the header, expected at least one image")
    rows = np.concatenate(pieces)
    return rows[:, 0], rows[:, 1:]


def _blocks(path: Path) -> Iterator[bytes]:
    """Check the header; yield what follows it in blocks of whole lines."""
    expected = ",".join(COLUMNS)
    with path.open("rb") as file:
        header = file.readline(2 * len(expected)).removeprefix(b"\xef\xbb\xbf").rstrip(b"\r\n")
        if header != expected.encode():
            raise InputError(f"{path}: {_header_difference(header.decode('latin-1').split(','))}")
        rest = b""
        while block := file.read(_BYTES):
            lines, newline, rest = (rest + block).rpartition(b"\n")
            if newline:
                yield (lines + newline).replace(b"\r\n", b"\n")
            elif len(rest) > _BYTES:
                raise InputError(f"{path}: a line of over {_BYTES} bytes, expected 785 cells")
    if rest:
        raise InputError(f"{path}: the last line has no line end: the file is cut off")


def _header_difference(found: list[str]) -> str:
    """Say where a header first differs from `COLUMNS`."""
    for number, (name, expected) in enumerate(zip(found, COLUMNS, strict=False), start=1):
        if name != expected:
            return (
                f"line 1, column {number} is {name[:40]!r}, expected {expected!r}: "
                "the header must be label,1x1,1x2,…,28x28"
            )
    more = "over " * (len(found) > len(COLUMNS))  # of which only some were read
    count = min(len(found), len(COLUMNS))
    return f"line 1 has {more}{count} columns, expected {len(COLUMNS)}: label,1x1,1x2,…,28x28"


def _parse(path: Path, block: bytes, first_line: int) -> NDArray[np.uint8]:
    """Turn whole lines into a uint8 array of shape (lines, 785)."""
    characters = np.frombuffer(block, np.uint8)
    separator = (characters == _COMMA) | (characters == _NEWLINE)
    ends = np.flatnonzero(separator)

    line_ends = np.flatnonzero(characters[ends] == _NEWLINE)
    widths = np.diff(line_ends, prepend=-1)
    if (widths != len(COLUMNS)).any():
        line = int(np.argmax(widths != len(COLUMNS)))
        raise InputError(
            f"{path}: line {first_line + line} has {widths[line]} cells, expected {len(COLUMNS)}"
        )

    digit = characters - np.uint8(_ZERO)  # a character below "0" wraps around to above 9
    lengths = np.diff(ends, prepend=-1) - 1
    values = digit[ends - 1].astype(np.uint16)
    # A cell at the block's start reads its tens and hundreds from the block's end: times 0.
    values += (lengths > 1) * np.uint16(10) * digit[ends - 2]
    values += (lengths > 2) * np.uint16(100) * digit[ends - 3]
    bad = (lengths < 1) | (lengths > 3) | (values > 255)
    strange = np.flatnonzero(~separator & (digit > 9))
    bad[np.searchsorted(ends, strange)] = True
    if bad.any():
        cell = int(np.argmax(bad))
        line, column = divmod(cell, len(COLUMNS))
        found = block[ends[cell] - lengths[cell] : ends[cell]].decode("latin-1")
        raise InputError(
            f"{path}: line {first_line + line}, column {COLUMNS[column]}: {found[:40]!r}, "
            "expected an integer 0..255"
        )
    return values.astype(np.uint8).reshape(-1, len(COLUMNS))
