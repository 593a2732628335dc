"""Tables of users: CSV of any dialect and compression, parsed by pandas."""

import bz2
import csv
import gzip
import io
import itertools
import logging
import lzma
import sys
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from autoencoder.base.errors import UserError
from autoencoder.base.files import named_errors
from autoencoder.data import table
from autoencoder.data.names import is_visible

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

log = logging.getLogger(__name__)

UNLABELLED = "unlabelled"
SUFFIXES = (".csv", ".tsv", ".txt")
COMPRESSIONS: dict[str, Callable[[IO[bytes]], Any]] = {
    ".gz": lambda file: gzip.GzipFile(fileobj=file),
    ".bz2": bz2.BZ2File,
    ".xz": lzma.LZMAFile,
    ".zst": zstd.ZstdFile,
}

_DAMAGES = (
    *(zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, lzma.LZMAError, zstd.ZstdError),
    EOFError,
)
_LABEL_NAMES = {"label", "class", "target", "digit", "y", "labels", "classes", "targets", "digits"}
_INDEX_NAMES = {"", "id", "index"}
_ROWS = 2048  # per chunk; pandas needs 8 bytes a pixel
_MAX_LINE = 1 << 20  # characters of the first line
_MAX_DISTINCT = 256  # values of a column to remember

Values = NDArray[Any]


@dataclass
class _Layout:
    """Which columns of a table are what; columns are numbered from 0."""

    names: list[str]
    delimiter: str
    encoding: str
    header_lines: int
    label: int | None
    index: list[int]
    is_guess: bool  # the label column is the first only because nothing tells otherwise
    pixels: list[int] = field(default_factory=list)


@contextmanager
def open_table(path: Path) -> Iterator[IO[bytes]]:
    """Open a table for reading, uncompressed; a damaged file ends in a UserError."""
    with ExitStack() as stack, named_errors(path):
        file: IO[bytes] = stack.enter_context(path.open("rb"))
        try:
            if path.suffix.lower() == ".zip":
                archive = stack.enter_context(zipfile.ZipFile(file))
                members = [
                    name
                    for name in archive.namelist()
                    if not name.endswith("/") and is_visible(Path("/", name), Path("/"))
                ]
                if len(members) != 1 or not members[0].lower().endswith(SUFFIXES):
                    raise UserError(
                        f"{path}: an archive of {len(members)} files, expected one table; unpack "
                        f"it into a directory next to it, for instance with `unzip`"
                    )
                try:
                    file = stack.enter_context(archive.open(members[0]))
                except RuntimeError as error:  # encrypted, or compressed by an unusual method
                    raise UserError(f"{path}: {error}; unpack it") from error
            elif decompress := COMPRESSIONS.get(path.suffix.lower()):
                file = stack.enter_context(decompress(file))
            yield file
        except _DAMAGES as error:
            raise UserError(f"{path}: damaged ({error}); replace it by a complete copy") from error
        except OSError as error:
            if error.errno is None:  # of the decompressors
                raise UserError(f"{path}: damaged ({error}); replace it") from error
            raise


def iter_table(path: Path) -> Iterator[tuple[NDArray[np.str_], Values]]:
    """Read a user's table in chunks and bounded memory.

    Parameters
    ----------
    path : Path
        Cells separated by commas, semicolons, tabs or spaces, quoted or not, in UTF-8 or UTF-16,
        compressed by gzip, bzip2, xz or zstd, or alone in a zip archive. 784 columns are grey
        values. The label is in the column ``label``, ``class``, ``target``, ``digit`` or ``y``,
        otherwise in the first of 785, or there is none. A column that is unnamed or called ``id``
        or ``index`` is dropped.

    Yields
    ------
    labels : str array of shape (n,)
    values : array of shape (n, 784)
        Integers 0..255, or fractions of which none is above 1.

    Raises
    ------
    UserError
        If it is not such a table; with the line and column.
    """
    with open_table(path) as file:
        layout = _layout(path, file)
    first: Counter[str] = Counter()
    last: Counter[str] = Counter()
    count = 0
    for start, frame in _frames(path, layout):
        labels = _labels(path, layout, frame, start)
        values = _values(path, layout, frame, start)
        if layout.is_guess:
            for counter, column in ((first, frame.columns[0]), (last, frame.columns[-1])):
                if len(counter) <= _MAX_DISTINCT:
                    counter.update(frame[column].astype(str).to_numpy().tolist())
        count += len(labels)
        yield labels, values
    if not count:
        raise UserError(f"{path}: no row below the header, expected at least one image")
    if layout.is_guess and _is_implausible(first) and _are_labels(last):
        raise _last_column_error(path)


def _last_column_error(path: Path) -> UserError:
    return UserError(
        f"{path}: the first column cannot be the label, but the last one looks like it; name the "
        "column `label` in a header line, or move it to the front"
    )


def _is_implausible(labels: Counter[str]) -> bool:
    """Tell whether a column is constant or has numbers above 255."""
    return len(labels) == 1 or any(table.is_number(x) and float(x) > 255 for x in labels)


def _are_labels(values: Counter[str]) -> bool:
    """Tell whether a column of pixels looks like class numbers: several small integers."""
    return 1 < len(values) <= 100 and all(
        table.is_number(x) and float(x) < 100 and float(x).is_integer() for x in values
    )


def _layout(path: Path, file: IO[bytes]) -> _Layout:
    """Find out dialect, header and the meaning of the columns from the first lines."""
    start = file.read(4)
    encoding = "utf-16" if start[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    text = io.TextIOWrapper(
        cast(Any, io.BufferedReader(cast(Any, _Prefixed(start, file)))),
        encoding=encoding, errors="replace", newline=None,
    )  # fmt: skip
    line = text.readline(_MAX_LINE)
    if not line.strip():
        raise UserError(f"{path}: line 1 is blank, expected a header or an image")
    if len(line) == _MAX_LINE:
        raise UserError(f"{path}: line 1 has over {_MAX_LINE} characters, not a table")
    # Names and padded numbers may contain the others, too.
    widths = range(table.PIXELS - 1, len(table.COLUMNS) + 1)
    fitting = [mark for mark in ";\t," if line.count(mark) in widths]
    delimiter = fitting[0] if fitting else max(",;\t ", key=line.count)
    if line.count(delimiter) == 0:
        delimiter = ","
    try:
        cells = next(csv.reader([line], delimiter=delimiter, skipinitialspace=True))
    except csv.Error as error:
        raise UserError(f"{path}: line 1 cannot be read ({error}), not a table") from error
    cells = [cell.strip() for cell in cells]
    header, lost = _is_header(cells)
    if lost:
        log.warning("%s: line 1 was an image before it became a header; it is lost", path.name)
    names = cells if header and not lost else [""] * len(cells)
    columns = range(len(cells))
    label: int | None = None
    index: list[int] = []
    named = header and not lost and any(names)
    if named:
        found = [column for column in columns if names[column].lower() in _LABEL_NAMES]
        index = [
            column
            for column in columns
            if names[column].lower() in _INDEX_NAMES or names[column].startswith("Unnamed:")
        ]
        if len(found) > 1:
            raise UserError(
                f"{path}: columns {', '.join(names[column] for column in found)} may all be the "
                "label; delete all but one"
            )
        label = found[0] if found else None
    elif len(cells) == len(table.COLUMNS) + 1:
        index = [0]  # checked to count up when it is read
    rest = [column for column in columns if column != label and column not in index]
    is_guess = label is None and len(rest) == len(table.COLUMNS)
    if is_guess:
        label, *rest = rest
        kinds = [names[column].rstrip("0123456789") for column in (label, rest[0], rest[-1])]
        if named and kinds[0] == kinds[1] != kinds[2]:
            raise _last_column_error(path)
    if len(rest) != table.PIXELS:
        raise UserError(
            f"{path}: line 1 has {len(cells)} cells, expected {len(table.COLUMNS)}: a label and "
            f"{table.PIXELS} grey values, or these alone"
        )
    for column in index:
        log.info("%s: column %s is an index, dropped", path.name, names[column] or column + 1)
    return _Layout(names, delimiter, encoding, int(header), label, index, is_guess, rest)


class _Prefixed(io.RawIOBase):
    """A file whose first bytes were read already."""

    def __init__(self, start: bytes, file: IO[bytes]) -> None:
        self._start, self._file = start, file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        block = self._start or self._file.read(len(buffer))
        buffer[: len(block)] = block
        self._start = b""
        return len(block)


def _is_header(cells: list[str]) -> tuple[bool, bool]:
    """Tell whether a first line is a header, and whether it was an image once."""
    if {cells[0].lower(), cells[-1].lower()} & (_LABEL_NAMES - {"y"}):  # a letter is a label, too
        return True, False
    inner = cells[1:-1]
    numbers = [cell for cell in cells if table.is_number(cell)]
    if not any(table.is_number(cell) for cell in inner):
        return True, False
    if any(not table.is_number(cell) for cell in inner):
        return False, False
    if all(cell.isascii() and cell.isdecimal() for cell in inner):
        steps = {b - a for a, b in itertools.pairwise(map(int, inner))}
        if steps == {1}:
            return True, False
    # pandas makes names distinct: 0, 0, 5, 0 become 0, 0.1, 5, 0.2.
    seen: Counter[str] = Counter()
    for cell in numbers:
        base, _, suffix = cell.partition(".")
        if suffix != (str(seen[base]) if seen[base] else ""):
            return False, False
        seen[base] += 1
    lost = len(numbers) > len(seen)
    return lost, lost


def _frames(path: Path, layout: _Layout) -> Iterator[tuple[int, pd.DataFrame]]:
    """Parse rows with pandas, in chunks; yield them with the line number of the first."""
    line = 1 + layout.header_lines
    blank = 0
    text = {column: str for column in (layout.label, *layout.index) if column is not None}
    with open_table(path) as file, warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        try:
            for frame in pd.read_csv(
                file, header=None, skiprows=layout.header_lines, sep=layout.delimiter,
                dtype=cast(Any, text), na_filter=False, skip_blank_lines=False,
                skipinitialspace=True, encoding=layout.encoding, encoding_errors="replace",
                chunksize=_ROWS, index_col=False, names=range(len(layout.names)),
                on_bad_lines="error",
            ):  # fmt: skip
                rows = _rows_before_blank_lines(frame)
                # Only the last lines may be blank, and a few of them.
                if (blank and rows) or (len(frame) == _ROWS and not rows):
                    raise UserError(f"{path}: line {line - blank} is blank, expected an image")
                blank += len(frame) - rows
                if rows:
                    yield line, frame.iloc[:rows]
                line += len(frame)
        except pd.errors.EmptyDataError:
            return
        except (ValueError, pd.errors.ParserError, pd.errors.ParserWarning) as error:
            reason = " ".join(str(error).split()).removeprefix("Error tokenizing data. C error: ")
            expected = f"expected {len(layout.names)} cells in each line"
            raise UserError(f"{path}: cannot be read as a table ({reason:.200}), {expected}") from (
                error
            )


def _rows_before_blank_lines(frame: pd.DataFrame) -> int:
    """Count the rows of a table up to its last line that is not blank."""
    if frame.empty or not _is_blank(frame.iloc[-1]):
        return len(frame)
    filled = frame.map(str).to_numpy() != ""
    return int(np.flatnonzero(filled.any(axis=1)).max(initial=-1)) + 1


def _is_blank(row: Any) -> bool:
    return all(cell == "" for cell in row)


def _labels(path: Path, layout: _Layout, frame: pd.DataFrame, start: int) -> NDArray[np.str_]:
    for column in layout.index:
        if layout.names[column]:
            continue
        cells = frame[column].to_numpy(str)
        first = start - 1 - layout.header_lines
        if not any(
            (cells == np.arange(first + base, first + base + len(cells)).astype(str)).all()
            for base in (0, 1)
        ) and not any(layout.names):
            raise UserError(
                f"{path}: {len(layout.names)} cells in each line, expected {len(table.COLUMNS)}; "
                "the first column does not count up, so it is no index"
            )
    if layout.label is None:
        return np.full(len(frame), UNLABELLED)
    labels = pd.Series(frame[layout.label].to_numpy(str), dtype=object).str.strip()
    labels = labels.str.replace(r"^([+-]?\d+)\.0+(e[+-]?0+)?$", r"\1", regex=True)
    for row in np.flatnonzero(
        ~labels.isin([x for x in labels.unique() if table.is_valid_label(x)])
    ):
        raise UserError(
            f"{path}: line {start + row}, column {_column(layout, layout.label)}: "
            f"{labels.iloc[row]!r:.80}: {table.label_fault(labels.iloc[row])}"
        )
    return np.asarray(labels, str)


def _values(path: Path, layout: _Layout, frame: pd.DataFrame, start: int) -> Values:
    pixels = frame[layout.pixels]
    texts = [column for column, kind in pixels.dtypes.items() if kind.kind not in "iuf"]
    if texts:
        if layout.is_guess and layout.pixels[-1] in texts and len(texts) == 1:
            numbers = pd.to_numeric(pixels[texts[0]], errors="coerce")
            if numbers.isna().all():
                raise _last_column_error(path)
        converted = pixels.apply(pd.to_numeric, errors="coerce").to_numpy(np.float64)
    else:
        converted = pixels.to_numpy()
    wrong = ~((converted >= 0) & (converted <= 255))
    if converted.dtype.kind == "f" and not wrong.any() and converted.max() > 1:
        wrong = converted != np.rint(converted)
    if wrong.any():
        row, column = np.argwhere(wrong)[0]
        cell = pixels.iloc[row, column]
        raise UserError(
            f"{path}: line {start + row}, column {_column(layout, layout.pixels[column])}: "
            f"{str(cell)[:40]!r}, expected an integer 0..255, or fractions 0..1 such as 0.5 in all "
            "cells"
        )
    return np.asarray(converted, None if converted.dtype.kind == "f" else np.uint8)


def _column(layout: _Layout, column: int) -> str:
    return layout.names[column] or str(column + 1)
