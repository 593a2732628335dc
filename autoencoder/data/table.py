"""The table format: CSV with 785 columns, a label and 28x28 grey values of an image per row."""

import csv
import io
import logging
import math
import re
from codecs import BOM_UTF8
from collections import Counter
from collections.abc import Iterable
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from autoencoder.base.errors import UserError, listed
from autoencoder.base.files import atomic_write, named_errors

log = logging.getLogger(__name__)

SIDE = 28
PIXELS = SIDE * SIDE
COLUMNS = ["label", *(f"{row + 1}x{column + 1}" for row in range(SIDE) for column in range(SIDE))]

_ROWS = 512  # to write at a time
# Bytes to read at a time. pandas takes about 20 ms for each block on top of the time for its rows.
_BLOCK = 1 << 24
_MIN_ROW = 2 * len(COLUMNS)  # bytes: a character and a separator per cell
_MAX_LINE = 1 << 22  # bytes
_MAX_CLASSES = 100  # to list in the log

_JOINERS = "\u200c\u200d"  # invisible, but they change words of Persian and Hindi

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)

_PIXEL = re.compile(rb"0*(?:[0-9]{1,2}|1[0-9]{2}|2[0-4][0-9]|25[0-5])")
_CSV_FORMAT: dict[str, Any] = {
    "header": None,
    "names": COLUMNS,
    "dtype": dict.fromkeys(COLUMNS[1:], np.uint8) | {"label": str},
    "na_filter": False,
    "quoting": csv.QUOTE_NONE,
    "skip_blank_lines": False,
    "lineterminator": "\n",
    "encoding": "utf-8-sig",
    "encoding_errors": "replace",
}


class Chunk(NamedTuple):
    """Some rows of a table.

    `labels` is a str array (n,), `images` uint8, (n, 784) or (n, 28, 28), grey values 0 black to
    255 white.
    """

    labels: NDArray[np.str_]
    images: NDArray[np.uint8]


def write(path: Path, chunks: Iterable[tuple[NDArray[np.str_], NDArray[np.uint8]]]) -> Counter[str]:
    """Write labels and images as a table; return the number of images of each label.

    Raises UserError if a label cannot be written as it is, for instance because it contains a
    comma.
    """
    # Looking up the text of a value is ten times as fast as formatting it. The texts are padded
    # with NUL to one width so that they can be an array; the padding is dropped at the end.
    text = np.array([f",{value}" for value in range(256)], dtype="S4")
    classes: Counter[str] = Counter()
    with atomic_write(path) as partial, partial.open("wb") as file:
        file.write(",".join(COLUMNS).encode() + b"\n")
        for labels, images in chunks:
            counts = Counter(labels.tolist())
            for name in counts:
                if fault := label_fault(name):
                    raise UserError(f"{path}: label {name!r:.80}: {fault}")
            classes.update(counts)
            for start in range(0, len(labels), _ROWS):
                rows = slice(start, start + _ROWS)
                pixels = text[images[rows].reshape(-1, PIXELS)].view(np.uint8)
                first = np.char.encode(labels[rows], "utf-8")
                last = np.full((len(first), 1), ord("\n"), np.uint8)
                cells = np.hstack([first.view(np.uint8).reshape(len(first), -1), pixels, last])
                file.write(cells[cells != 0].tobytes())
    log.info("%s: %d images", path, classes.total())
    return classes


def describe_classes(classes: Counter[str]) -> str:
    """List classes with their numbers of images."""
    counts = [f"{name}: {classes[name]}" for name in in_order(classes)]
    return f"{len(counts)} classes: {listed(counts, _MAX_CLASSES)}"


def read(path: Path) -> Chunk:
    """Read a table, checking every cell; its images have the shape (n, 784).

    A byte-order mark and Windows line ends are accepted. Raises UserError with the line and column
    if the header differs, a line does not have 785 cells, a label has a `label_fault`, a pixel is
    not an integer 0..255, the file is truncated or has no row, and OSError if the file cannot be
    read.
    """
    # Allocated once, for the shortest possible rows: pandas' frame of a whole table takes several
    # times its memory, and the system provides memory only when it is filled.
    images = np.empty((path.stat().st_size // _MIN_ROW, PIXELS), np.uint8)
    labels, count = [], 0
    with path.open("rb") as file, named_errors(path):
        _check_header(path, file.readline(2 * len(",".join(COLUMNS))))
        while block := file.read(_BLOCK):
            if not block.endswith(b"\n"):
                block += file.readline(_MAX_LINE)
            try:
                chunk = _parse(block)
            except (ValueError, OverflowError):
                chunk = _parse_strictly(path, block, count + 2)
            labels.append(chunk.labels)
            images[count : count + len(chunk.labels)] = chunk.images
            count += len(chunk.labels)
    if not labels:
        raise _fault(f"{path}: no row below the header, expected at least one image")
    return Chunk(np.concatenate(labels), images[:count])


def in_order(labels: Iterable[str]) -> list[str]:
    """Sort labels: those of digits by their values, then the others as text."""

    def key(label: str) -> tuple[float, str]:
        is_number = label.isascii() and label.isdecimal()
        return (float(label) if is_number else math.inf), label

    return sorted(labels, key=key)


def mean_border(images: NDArray[np.uint8]) -> float:
    """Return the mean grey value, 0..255, of the border pixels of images (n, 784)."""
    square = images.reshape(-1, SIDE, SIDE)
    inner = square[:, 1:-1, 1:-1]
    total = int(square.sum(dtype=np.int64)) - int(inner.sum(dtype=np.int64))
    return total / (square.size - inner.size)


def is_number(text: str) -> bool:
    """Tell whether a text is a decimal number."""
    return _NUMBER.fullmatch(text) is not None


def label_fault(text: str) -> str | None:
    """Say why a text cannot be a label, in a phrase; None if it can."""
    if not text.strip():
        return "a blank label"
    if text != text.strip():
        return "spaces around the label"
    for character in text:
        is_text = character.isprintable() or character in _JOINERS
        if character in ',"' or not is_text:
            return f"the character {character!r} cannot be in a label"
        if character == "\N{REPLACEMENT CHARACTER}":
            return "bytes that are not UTF-8"
    looks_like_formula = text[0] in "=+-@" and len(text) > 1
    if looks_like_formula and not is_number(text):
        return f"a spreadsheet would execute it, because it starts with {text[0]}"
    return None


def _fault(message: str) -> UserError:
    """Make the error of a table that cannot be read."""
    return UserError(f"{message}; correct it, or let `dvc repro` write it again")


def _check_header(path: Path, line: bytes) -> None:
    """Raise UserError if the first line, or the beginning of a long one, is not the header."""
    cells = line.removeprefix(BOM_UTF8).rstrip(b"\r\n").decode("latin-1").split(",")
    for number, (name, expected) in enumerate(zip_longest(cells, COLUMNS, fillvalue=""), start=1):
        if name != expected:
            raise _fault(
                f"{path}: line 1, column {number} is {name[:40]!r}, expected {expected!r}: the "
                f"header must be the {len(COLUMNS)} columns label,1x1,1x2,…,28x28"
            )


def _parse(block: bytes) -> Chunk:
    """Let pandas parse whole lines; raise ValueError if they are not as `write` writes them."""
    # pandas would make cells for the missing ones of short lines, gigabytes for a file of newlines.
    if block.count(b"\n") * _MIN_ROW > len(block):
        raise ValueError("a row has fewer cells than expected")
    # Much faster than pandas' own chunks.
    frame = pd.read_csv(io.BytesIO(block), **_CSV_FORMAT)
    labels = frame.pop("label").to_numpy(str)
    images = np.ascontiguousarray(frame.to_numpy())
    counts = Counter(labels.tolist())
    if any(map(label_fault, counts)):
        raise ValueError("a label is not valid")
    label_bytes = sum(len(name.encode()) * count for name, count in counts.items())
    digits = images.size + np.count_nonzero(images > 9) + np.count_nonzero(images > 99)
    separators = len(COLUMNS) * len(images)
    # pandas also accepts 1.0, further cells, a missing last line end and others.
    if label_bytes + digits + separators != len(block):
        raise ValueError("a cell or line end is not in the usual form")
    return Chunk(labels, images)


def _parse_strictly(path: Path, block: bytes, first_line: int) -> Chunk:
    """Parse whole lines cell by cell, which is slow; raise UserError at the first fault."""
    labels, images = [], bytearray()
    for number, line in enumerate(io.BytesIO(block), start=first_line):
        place = f"{path}: line {number}"
        if len(line) >= _MAX_LINE:
            raise _fault(f"{place} has over {_MAX_LINE} bytes, expected 785 cells")
        if not line.endswith(b"\n"):
            raise _fault(f"{place}: file is truncated (no final newline)")
        label, *pixels = line.removesuffix(b"\n").removesuffix(b"\r").split(b",")
        if 1 + len(pixels) != len(COLUMNS):
            raise _fault(f"{place} has {1 + len(pixels)} cells, expected {len(COLUMNS)}")
        for column, cell in zip(COLUMNS[1:], pixels, strict=True):
            if not _PIXEL.fullmatch(cell):
                raise _fault(
                    f"{place}, column {column}: {cell.decode('latin-1')[:40]!r}, "
                    "expected an integer 0..255"
                )
        name = label.decode(errors="replace")
        if fault := label_fault(name):
            raise _fault(f"{place}, column label: {name[:80]!r}: {fault}")
        labels.append(name)
        images += bytes(map(int, pixels))
    return Chunk(np.array(labels), np.frombuffer(images, np.uint8).reshape(-1, PIXELS))
