"""The table format: CSV with 785 columns, the label and the 28x28 grey values of an image a row."""

import logging
from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from autoencoder.errors import UserError
from autoencoder.files import atomic_write

log = logging.getLogger(__name__)

SIDE = 28
PIXELS = SIDE * SIDE
COLUMNS = ["label", *(f"{row + 1}x{column + 1}" for row in range(SIDE) for column in range(SIDE))]

# Labels, a text each, of shape (n,); and their images, uint8 of shape (n, 784) or (n, 28, 28).
Chunk = tuple[NDArray[np.str_], NDArray[np.uint8]]

# What is handled at a time bounds the memory that writing and reading take beyond the arrays.
_ROWS = 4096
_BYTES = 1 << 22

_COMMA, _NEWLINE, _ZERO = b",\n0"
_LABEL_BYTES = 64
LABEL_RULE = f"1 to {_LABEL_BYTES} bytes of text without comma, quotation mark or spaces around it"


def write(path: Path, chunks: Iterable[Chunk]) -> None:
    """Write labels and images as a table, in the order given.

    Parameters
    ----------
    path : Path
        The CSV file to make or replace.
    pieces : iterable of (str array of shape (n,), uint8 array of shape (n, 28, 28) or (n, 784))
        Labels, and grey values from 0 black to 255 white.

    Raises
    ------
    UserError
        If a label cannot stand in a cell as it is: one with a comma, for instance.
    """
    # Looking a value's text up is ten times as fast as formatting it. The texts are padded with NUL
    # to one width so that they can be looked up as an array; the padding is left out at the end.
    text = np.array([f",{value}" for value in range(256)], dtype="S4")
    count = 0
    with atomic_write(path) as partial, partial.open("wb") as file:
        file.write(",".join(COLUMNS).encode() + b"\n")
        for labels, images in chunks:
            if bad := [str(label) for label in np.unique(labels) if not is_valid_label(str(label))]:
                raise UserError(f"{path}: the label {bad[0]!r:.80}, expected {LABEL_RULE}")
            for start in range(0, len(labels), _ROWS):
                part = slice(start, start + _ROWS)
                pixels = text[images[part].reshape(-1, PIXELS)].view(np.uint8)
                first = np.char.encode(labels[part], "utf-8")
                last = np.full((len(first), 1), _NEWLINE, np.uint8)
                cells = np.hstack([first.view(np.uint8).reshape(len(first), -1), pixels, last])
                file.write(cells[cells != 0].tobytes())
            count += len(labels)
    log.info("%s: %d images", path, count)


def read(path: Path, *, any_header: bool = False) -> Chunk:
    """Read a table, checking every cell.

    Parameters
    ----------
    path : Path
        A CSV file with the header `COLUMNS`, a label and integers 0..255 in each row. A byte-order
        mark and Windows line ends are accepted.
    any_header : bool
        Accept other names of columns, and none: a first line that has a number beyond its first
        cell is not a header, but a row.

    Returns
    -------
    labels : str array of shape (n,)
    images : uint8 array of shape (n, 784)
        Grey values, 0 black to 255 white, in the row order of the file.

    Raises
    ------
    UserError
        If the header is another one, a line has not 785 cells, a label is empty or has other than
        printable characters, a pixel is not an integer 0..255, the last line is cut off or there is
        no row. The message names the file, and for a bad cell its line, its column and what it
        holds.
    OSError
        If the file cannot be read.
    """
    # Counting first, for one array: joining pieces would take the memory of all images twice.
    with path.open("rb") as file:
        lines = sum(block.count(b"\n") for block in iter(lambda: file.read(_BYTES), b""))
    labels, images = [], np.empty((lines, PIXELS), np.uint8)
    row = 0
    for some, their_images in iter_chunks(path, any_header=any_header):
        labels.append(some)
        images[row : row + len(some)] = their_images
        row += len(some)
    return np.concatenate(labels), images[:row]


def iter_chunks(path: Path, *, any_header: bool = False) -> Iterator[Chunk]:
    """Read a table as `read` does, a few MB at a time, in bounded memory."""
    line = 0
    for line, block in _blocks(path, any_header):
        yield _parse(path, block, line)
    if not line:
        raise UserError(f"{path}: no row below the header, expected at least one image")


def first_row_per_label(labels: NDArray[np.str_]) -> NDArray[np.intp]:
    """Rows in which each label stands first, by label: as numbers if all are, else as texts."""
    names, first = np.unique(labels, return_index=True)
    if all(name.isascii() and name.isdecimal() for name in names):
        return first[np.argsort(names.astype(np.float64), kind="stable")]
    return first


def is_valid_label(text: str) -> bool:
    """Whether a text is what the label's column may hold, which `LABEL` says in words."""
    return (
        0 < len(text.encode(errors="replace")) <= _LABEL_BYTES
        and text.isprintable()
        and "\N{REPLACEMENT CHARACTER}" not in text  # bytes that are not UTF-8
        and text == text.strip()
        and not set(text) & set(',"')
    )


def _blocks(path: Path, any_header: bool) -> Iterator[tuple[int, bytes]]:
    """Check the header; yield what follows it in blocks of whole lines, with their line numbers."""
    with path.open("rb") as file:
        header = file.readline(_BYTES if any_header else 2 * len(",".join(COLUMNS)))
        cells = header.removeprefix(BOM_UTF8).rstrip(b"\r\n").decode("latin-1").split(",")
        number, first = 2, b""
        if any_header and any(cell.isascii() and cell.isdecimal() for cell in cells[1:]):
            number, first = 1, header.removeprefix(BOM_UTF8)
        elif any_header and len(cells) != len(COLUMNS):
            raise UserError(f"{path}: line 1 has {len(cells)} cells, expected {len(COLUMNS)}")
        elif not any_header and cells != COLUMNS:
            raise UserError(f"{path}: {_header_difference(cells)}")
        rest = b""
        for block in chain([first], iter(lambda: file.read(_BYTES), b"")):
            whole, newline, rest = (rest + block).rpartition(b"\n")
            if newline:
                lines = (whole + newline).replace(b"\r\n", b"\n")
                yield number, lines
                number += lines.count(b"\n")
            elif len(rest) > _BYTES:
                raise UserError(f"{path}: a line of over {_BYTES} bytes, expected 785 cells")
    if rest:
        raise UserError(f"{path}: the last line has no line end: the file is cut off")


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


def _parse(path: Path, block: bytes, first_line: int) -> Chunk:
    """Turn whole lines into labels and images."""
    characters = np.frombuffer(block, np.uint8)
    separator = (characters == _COMMA) | (characters == _NEWLINE)
    ends = np.flatnonzero(separator)

    line_ends = np.flatnonzero(characters[ends] == _NEWLINE)
    widths = np.diff(line_ends, prepend=-1)
    if (widths != len(COLUMNS)).any():
        line = int(np.argmax(widths != len(COLUMNS)))
        raise UserError(
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

    bad[:: len(COLUMNS)] = False  # labels, which are read below
    if bad.any():
        cell = int(np.argmax(bad))
        line, column = divmod(cell, len(COLUMNS))
        found = block[ends[cell] - lengths[cell] : ends[cell]].decode("latin-1")
        raise UserError(
            f"{path}: line {first_line + line}, column {COLUMNS[column]}: {found[:40]!r}, "
            "expected an integer 0..255"
        )
    # Texts, not an array of them: that would drop NUL from their ends.
    cells = range(0, len(ends), len(COLUMNS))
    texts = [block[ends[cell] - lengths[cell] : ends[cell]] for cell in cells]
    names = {text: text.decode(errors="replace") for text in set(texts)}
    for text, name in names.items():
        if not is_valid_label(name):
            line = first_line + texts.index(text)
            raise UserError(
                f"{path}: line {line}, column label: {name[:80]!r}, expected {LABEL_RULE}"
            )
    labels = np.array([names[text] for text in texts])
    return labels, values.reshape(-1, len(COLUMNS))[:, 1:].astype(np.uint8)
