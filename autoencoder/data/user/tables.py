"""Tables of text: CSV of any dialect, parsed by pandas."""

import csv
import io
import re
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from autoencoder.base.errors import UserError, one_line
from autoencoder.data.user.batches import MIN_SIDE, Source, is_square, rows_of
from autoencoder.data.user.columns import Columns, assign, names_in
from autoencoder.data.user.formats import open_stream
from autoencoder.data.user.roles import stem
from autoencoder.data.user.rows import Frames, Rows

_MAX_LINE = 1 << 20  # characters of a first line
_SKIPPED = re.compile(r'#.*|"?sep=."?\s*|\s+', re.DOTALL)  # lines above the first one
_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", " ": "spaces"}
_SEPARATORS |= {"|": "bars", ":": "colons"}
_FORMAT = {
    "header": None,
    "index_col": False,
    "na_filter": False,
    "skip_blank_lines": False,
    "skipinitialspace": True,
    "encoding_errors": "replace",
}


def describe(path: Path) -> list[Source]:
    """Find out from its first lines what a table contains.

    Cells are separated by commas, semicolons, tabs, spaces, bars or colons, quoted or not. The
    encoding is UTF-8 or UTF-16.
    """
    with open_stream(path) as stream:
        is_utf16 = stream.peek(2)[:2] in (b"\xff\xfe", b"\xfe\xff")
        encoding = "utf-16" if is_utf16 else "utf-8-sig"
        text = io.TextIOWrapper(stream, encoding, errors="replace")
        lines = iter(lambda: text.readline(_MAX_LINE), "")
        comment = ""
        for number, line in enumerate(lines, 1):
            if not _SKIPPED.fullmatch(line):
                start = number
                break
            comment = line.removeprefix("#")
        else:
            raise UserError(f"{path}: all lines are blank, expected a header or an image")
        next_line = next((x for x in lines if not x.isspace()), "")
    if _MAX_LINE in (len(line), len(next_line)):
        raise UserError(f"{path}: line 1 has over {_MAX_LINE} characters, not a table")
    separator = _separator(line)
    first, second, commented = (_cells(path, x, separator) for x in (line, next_line, comment))
    is_short = len(first) != len(second) and not _is_wide(line)
    if (is_short or not any(first[1:])) and _is_wide(next_line):
        raise UserError(f"{path}: line {start} is no header of the columns below it; remove it")
    names = names_in(path, first)
    row = first if names is None else second
    start += names is not None
    if names is None:  # numpy.savetxt writes them into a comment
        names = commented if len(commented) == len(first) else [""] * len(first)
    if len(row) == len(names) + 1:  # the row names of R, or a separator at the end
        names = ["", *names] if row[-1] else [*names, ""]
    columns = assign(path, names, [*row, *names[len(row) :]], stem(path))
    frames = partial(_frames, path, start, columns, sep=separator, encoding=encoding)
    return [Rows(path, "line", columns, frames, separator).describe(_SEPARATORS[separator])]


def _frames(path: Path, line: int, columns: Columns, **dialect: str) -> Frames:
    """Parse rows with pandas from a line on, pixels as bytes up to a chunk with other values."""
    width = len(columns.names)
    numbers = 1 << 10 if columns.is_packed else width  # in each line, roughly
    pixels = [] if columns.is_packed else columns.pixels
    texts = dict.fromkeys(set(range(width)) - set(pixels), str)
    for dtypes, size in ((texts | dict.fromkeys(pixels, np.uint8), 4), (texts, 8)):
        options = {"names": range(width), "dtype": dtypes, **_FORMAT, **dialect}
        try:
            for frame in _parse(path, line, rows_of(size * numbers), options):
                yield frame
                line = frame.index[-1] + 1
                del frame
            return
        except (ValueError, OverflowError, pd.errors.ParserWarning) as error:
            failure = error
    reason = one_line(failure).removeprefix("Error tokenizing data. C error: ")
    raise UserError(
        f"{path}: cannot be read as a table ({reason:.200}), expected {width} cells in each line"
    ) from failure


def _parse(path: Path, line: int, size: int, options: Any) -> Frames:
    """Parse rows with pandas from a line on, in chunks, without blank ones."""
    with open_stream(path) as file, warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        for frame in pd.read_csv(file, skiprows=line - 1, chunksize=size, **options):
            frame.index += line
            if all(dtype.kind not in "iuf" for dtype in frame.dtypes):  # as where a row is blank
                frame = frame[(frame != "").any(axis=1)]
            if len(frame):
                yield frame
            del frame


def _separator(line: str) -> str:
    """Tell which separator makes an image of a first line, or else which one is in it."""
    # Names and padded numbers may contain the others, too.
    counts = {mark: line.strip(" ").count(mark) for mark in _SEPARATORS}
    if counts[","] == 1 and counts[" "] >= MIN_SIDE**2 - 1:  # next to an image in one cell
        return ","
    are_numbers = re.fullmatch(r"(-?\d+(,\d+)?(e[+-]?\d+)?\s+)+", line.strip() + " ", re.IGNORECASE)
    order = " ;\t,|:" if are_numbers else ";\t,|:"  # with decimal commas
    if fitting := [mark for mark in order if _fits(counts[mark])]:
        return fitting[0]
    usual = max(",;\t ", key=lambda mark: (counts[mark] > 0 and mark != " ", counts[mark]))
    return usual if counts[usual] else ","


def _fits(count: int) -> bool:
    """Tell whether a number of separators is that of an image with up to three other columns."""
    return any(map(is_square, range(count - 3, count + 2)))


def _is_wide(line: str) -> bool:
    return any(_fits(line.count(mark)) for mark in _SEPARATORS if mark != " ")


def _cells(path: Path, line: str, separator: str) -> list[str]:
    try:
        reader = csv.reader([line.strip(" ")], delimiter=separator, skipinitialspace=True)
        return [cell.strip() for cell in next(reader, [])]
    except csv.Error as error:
        raise UserError(f"{path}: line 1 cannot be read ({error}), not a table") from error
