"""Tables of text: CSV of any dialect, parsed by pandas."""

import csv
import io
import logging
import math
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from autoencoder.base.errors import UserError, one_line
from autoencoder.data import table
from autoencoder.data.user.batches import Batch, Content, Labels, Texts, is_square, rows_of, stem
from autoencoder.data.user.columns import Columns, assign, is_header, last_column_error
from autoencoder.data.user.formats import open_stream

log = logging.getLogger(__name__)

_MAX_LINE = 1 << 20  # characters of a first line
_MAX_DISTINCT = 256  # values of a column to remember
_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", " ": "spaces"}


@dataclass
class _Layout:
    """How the lines of a table are to be read."""

    delimiter: str
    encoding: str
    skipped: int  # lines before the first row
    names: list[str]


def describe(path: Path) -> list[Content]:
    """Find out from its first lines what a table contains.

    Cells are separated by commas, semicolons, tabs or spaces, quoted or not, in UTF-8 or UTF-16.
    """
    layout, first = _layout(path)
    columns = assign(path, layout.names, first, stem(path))
    text = f"{_SEPARATORS[layout.delimiter]}, {columns.describe(any(layout.names))}"
    content = Content(path, path.name, columns.role, text, columns.fault)
    content.images = lambda _: _batches(path, layout, columns)
    content.labels = lambda: _labels(path, layout, columns)
    content.is_labelled = columns.label is not None
    return [content]


def _layout(path: Path) -> tuple[_Layout, list[str]]:
    """Find out dialect and header; also return the cells of the first row."""
    with open_stream(path) as stream:
        start = stream.read(2)
    encoding = "utf-16" if start in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    with open_stream(path) as stream:
        text = io.TextIOWrapper(cast(Any, stream), encoding, errors="replace", newline=None)
        lines: list[str] = []
        comment, skipped = "", 0
        while len(lines) < 2 and (line := text.readline(_MAX_LINE)):
            if len(line) == _MAX_LINE:
                raise UserError(f"{path}: line 1 has over {_MAX_LINE} characters, not a table")
            is_separator = re.fullmatch(r'"?sep=(.)"?\s*', line) if not skipped else None
            if not lines and (is_separator or line.startswith("#")):
                skipped += 1
                comment = line.removeprefix("#")
                continue
            lines.append(line)
        text.detach()
    if not lines or not lines[0].strip():
        raise UserError(f"{path}: line 1 is blank, expected a header or an image")
    delimiter = _delimiter(lines[0])
    rows = [_cells(path, line, delimiter) for line in [*lines, comment]]
    first, second = rows[0], rows[1] if len(lines) > 1 else []
    header, lost = is_header(first)
    if lost:
        log.warning("%s: line 1 was an image before it became a header; it is lost", path.name)
    names = first if header and not lost else [""] * len(first)
    if not header and len(rows[-1]) == len(first) > 1:
        names = rows[-1]  # numpy.savetxt writes its header as a comment
    row = second if header else first
    if row and len(row) == len(names) + 1:  # the row names of R, or a separator at the end
        names = [*names, ""] if not row[-1] else ["", *names]
    elif row and len(row) == len(names) - 1 and not names[-1]:
        names = names[:-1]
    return _Layout(delimiter, encoding, skipped + header, names), row or names


def _delimiter(line: str) -> str:
    """Tell which separator makes an image of a first line, or else which one is in it."""
    # Names and padded numbers may contain the others, too.
    counts = {mark: line.strip(" ").count(mark) for mark in ";\t, "}
    fitting = [mark for mark in ";\t," if _fits(counts[mark])]
    is_numbers = re.fullmatch(r"(-?\d+(,\d+)?(e[+-]?\d+)?\s+)+", line.strip() + " ", re.I)
    if fitting == [","] and is_numbers and _fits(counts[" "]):
        return " "  # decimal commas
    usual = max(",;\t ", key=lambda mark: (counts[mark] > 0 and mark != " ", counts[mark]))
    return fitting[0] if fitting else usual if counts[usual] else ","


def _fits(count: int) -> bool:
    """Tell whether a number of separators is that of an image with up to three other columns."""
    return any(map(is_square, range(count - 3, count + 2)))


def _cells(path: Path, line: str, delimiter: str) -> list[str]:
    try:
        reader = csv.reader([line.strip(" ")], delimiter=delimiter, skipinitialspace=True)
        return [cell.strip() for cell in next(reader, [])]
    except csv.Error as error:
        raise UserError(f"{path}: line 1 cannot be read ({error}), not a table") from error


def _labels(path: Path, layout: _Layout, columns: Columns) -> Labels:
    """Read a table of labels."""
    frames = [frame for _, frame in _frames(path, layout, range(len(layout.names)))]
    if not frames:
        raise UserError(f"{path}: no row below the header, expected labels")
    frame = pd.concat(frames)
    labels = _texts(frame, columns.label)
    if labels is None:
        raise UserError(columns.fault)
    return Labels(labels, _texts(frame, columns.files), _texts(frame, columns.split))


def _texts(frame: pd.DataFrame, column: int | None) -> Texts | None:
    return None if column is None else frame[column].str.strip().to_numpy(str)


def _batches(path: Path, layout: _Layout, columns: Columns) -> Iterator[Batch]:
    """Read the images of a table."""
    first: Counter[str] = Counter()
    last: Counter[str] = Counter()
    count = 0
    texts = [*columns.index, *(x for x in (columns.label, columns.split) if x is not None)]
    if columns.is_packed:
        texts += columns.pixels
    for start, frame in _frames(path, layout, texts):
        _check_index(path, columns, frame, count)
        values = _values(path, columns, frame, start)
        labels = _texts(frame, columns.label)
        if columns.is_guess and labels is not None:
            for counter, column in ((first, frame.columns[0]), (last, frame.columns[-1])):
                if len(counter) <= _MAX_DISTINCT:
                    counter.update(frame[column].astype(str).to_numpy().tolist())
        count += len(frame)

        def place(row: int, start: int = start) -> str:
            return f"{path}: line {start + row}"

        def cell(element: int) -> str:
            column = columns.pixels[0 if columns.is_packed else element]
            return f", column {columns.name(column)}"

        where = "" if columns.label is None else f", column {columns.name(columns.label)}"
        splits = _texts(frame, columns.split)
        yield Batch(values, place, labels, splits, cell=cell, label_cell=where)
    if not count:
        raise UserError(f"{path}: no row below the header, expected at least one image")
    if columns.is_guess and _is_implausible(first) and _are_labels(last):
        raise last_column_error(path)


def _is_implausible(labels: Counter[str]) -> bool:
    """Tell whether a column is constant, has numbers above 255, or too many for classes."""
    numbers = [float(label) for label in labels if table.is_number(label)]
    return len(labels) == 1 or len(numbers) > 100 or max(numbers, default=0) > 255


def _are_labels(values: Counter[str]) -> bool:
    """Tell whether a column of pixels looks like class numbers: several small integers."""
    return 1 < len(values) <= 100 and all(
        table.is_number(x) and float(x) < 100 and float(x).is_integer() for x in values
    )


def _frames(
    path: Path, layout: _Layout, texts: Iterable[int]
) -> Iterator[tuple[int, pd.DataFrame]]:
    """Parse rows with pandas, in chunks; yield them with the line number of the first."""
    line = 1 + layout.skipped
    blank = 0
    rows_at_once = rows_of(8 * len(layout.names))
    with open_stream(path) as file, warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        try:
            for frame in pd.read_csv(
                file,
                header=None,
                skiprows=layout.skipped,
                sep=layout.delimiter,
                dtype=cast(Any, dict.fromkeys(texts, str)),
                na_filter=False,
                skip_blank_lines=False,
                skipinitialspace=True,
                encoding=layout.encoding,
                encoding_errors="replace",
                chunksize=rows_at_once,
                index_col=False,
                names=range(len(layout.names)),
                on_bad_lines="error",
            ):
                rows = _rows_before_blank_lines(frame)
                # Only the last lines may be blank, and a few of them.
                if (blank and rows) or (len(frame) == rows_at_once and not rows):
                    raise UserError(f"{path}: line {line - blank} is blank, expected an image")
                blank += len(frame) - rows
                if rows:
                    yield line, frame.iloc[:rows]
                line += len(frame)
        except pd.errors.EmptyDataError:
            return
        except (ValueError, pd.errors.ParserWarning) as error:
            reason = one_line(error).removeprefix("Error tokenizing data. C error: ")
            raise UserError(
                f"{path}: cannot be read as a table ({reason:.200}), expected {len(layout.names)} "
                "cells in each line"
            ) from error


def _rows_before_blank_lines(frame: pd.DataFrame) -> int:
    """Count the rows of a table up to its last line that is not blank."""
    if frame.empty or (frame.iloc[-1] != "").any():
        return len(frame)
    filled = frame.map(str).to_numpy() != ""
    return int(np.flatnonzero(filled.any(axis=1)).max(initial=-1)) + 1


def _check_index(path: Path, columns: Columns, frame: pd.DataFrame, first: int) -> None:
    """Check that a column that is taken for an index, of a table without header, counts up."""
    for column in columns.index if not any(columns.names) else []:
        cells = frame[column].to_numpy(str)
        counts = (np.arange(first + base, first + base + len(cells)).astype(str) for base in (0, 1))
        if not any((cells == count).all() for count in counts) and set(cells) != {""}:
            raise UserError(
                f"{path}: {len(columns.names)} cells in each line, expected {len(table.COLUMNS)}; "
                "the first column does not count up, so it is no index"
            )


def _values(path: Path, columns: Columns, frame: pd.DataFrame, start: int) -> NDArray[Any]:
    """Return the pixels of rows, (n, height, width)."""
    if columns.is_packed:
        cells = frame[columns.pixels[0]]
        images = [np.array(re.findall(r"[^\s,;\[\]]+", cell)) for cell in cells]
        side = math.isqrt(len(images[0]))
        for row, image in enumerate(images):
            if len(image) != side**2:
                raise UserError(
                    f"{path}: line {start + row}: {len(image)} pixels, expected {side**2} as in "
                    "the first row, a square number"
                )
        return np.stack(images).astype(float).reshape(-1, side, side)
    first, last = columns.pixels[0], columns.pixels[-1]
    is_in_order = columns.pixels == list(range(first, last + 1))  # else, pandas copies
    pixels = frame.iloc[:, first : last + 1] if is_in_order else frame[columns.pixels]
    converted = {}
    for column in pixels.select_dtypes(exclude="number"):
        numbers = pd.to_numeric(pixels[column].astype(str).str.replace(",", "."), errors="coerce")
        if (wrong := numbers.isna().to_numpy()).any():
            if columns.is_guess and wrong.all() and column == columns.pixels[-1]:
                raise last_column_error(path)
            row = int(wrong.argmax())
            raise UserError(
                f"{path}: line {start + row}, column {columns.name(cast(int, column))}: "
                f"{str(pixels[column].iloc[row])[:40]!r}, expected a grey value 0..255, or a "
                "fraction 0..1 such as 0.5"
            )
        converted[column] = numbers
    if converted:
        pixels = pd.DataFrame({column: converted.get(column, pixels[column]) for column in pixels})
    return pixels.to_numpy().reshape(-1, columns.side, columns.side)
