"""Tables of text: CSV of any dialect, parsed by pandas."""

import csv
import io
import logging
import math
import re
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from autoencoder.base.errors import UserError, one_line
from autoencoder.data import table
from autoencoder.data.user.batches import Batch, Content, Labels, Texts, is_square, rows_of
from autoencoder.data.user.columns import assign, is_header, last_column_error
from autoencoder.data.user.formats import open_stream
from autoencoder.data.user.roles import stem

log = logging.getLogger(__name__)

_MAX_LINE = 1 << 20  # characters of a first line
_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", " ": "spaces"}


def describe(path: Path) -> list[Content]:
    """Find out from its first lines what a table contains.

    Cells are separated by commas, semicolons, tabs or spaces, quoted or not, in UTF-8 or UTF-16.
    """
    found = _Table(path)
    columns = found.columns
    text = f"{_SEPARATORS[found.separator]}, {columns.describe()}"
    content = Content(path, path.name, columns.role, text, columns.fault)
    content.images = lambda _: found.batches()
    content.labels = found.labels
    content.is_labelled = columns.label is not None
    return [content]


class _Table:
    """A table of text, its dialect and its columns."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with open_stream(path) as stream:
            is_utf16 = stream.peek(2)[:2] in (b"\xff\xfe", b"\xfe\xff")
            self.encoding = "utf-16" if is_utf16 else "utf-8-sig"
            text = io.TextIOWrapper(stream, self.encoding, errors="replace")
            comment, line, self.skipped = "", text.readline(_MAX_LINE), 0
            while line.startswith("#") or re.fullmatch(r'"?sep=."?\s*', line):
                comment, line = line.removeprefix("#"), text.readline(_MAX_LINE)
                self.skipped += 1
            next_line = text.readline(_MAX_LINE)
        if _MAX_LINE in (len(line), len(next_line)):
            raise UserError(f"{path}: line 1 has over {_MAX_LINE} characters, not a table")
        if not line.strip():
            raise UserError(f"{path}: line 1 is blank, expected a header or an image")
        self.separator = _separator(line)
        first, second, names = (
            _cells(path, text, self.separator) for text in (line, next_line, comment)
        )
        header, lost = is_header(first)
        if lost:
            log.warning("%s: line 1 was an image before it became a header; it is lost", path.name)
        if header and not lost:
            names = first
        elif lost or len(names) != len(first):  # else numpy.savetxt's header, a comment
            names = [""] * len(first)
        row = second if header else first
        if len(row) == len(names) + 1:  # the row names of R, or a separator at the end
            names = ["", *names] if row[-1] else [*names, ""]
        self.skipped += header
        self.columns = assign(path, names, [*row, *names[len(row) :]], stem(path))

    def labels(self) -> Labels:
        """Read a table of labels."""
        columns = self.columns
        frames = [frame for _, frame in self._frames(range(len(columns.names)))]
        if not frames:
            raise UserError(f"{self.path}: no row below the header, expected labels")
        frame = pd.concat(frames)
        labels = _texts(frame, columns.label)
        if labels is None:
            raise UserError(columns.fault)
        return Labels(labels, _texts(frame, columns.files), _texts(frame, columns.split))

    def batches(self) -> Iterator[Batch]:
        """Read the images of a table."""
        columns = self.columns
        texts = [x for x in (*columns.index, columns.label, columns.split) if x is not None]
        texts += columns.pixels if columns.is_packed else []
        ends: list[pd.DataFrame] = []
        count = 0
        for line, frame in self._frames(texts):
            self._check_index(frame, count)
            values = self._unpack(frame, line) if columns.is_packed else self._values(frame, line)
            labels = _texts(frame, columns.label)
            if columns.is_guess:
                end = pd.DataFrame({"first": labels, "last": values[:, -1, -1]})
                ends.append(end.drop_duplicates())
            count += len(frame)

            def place(row: int, line: int = line) -> str:
                return f"{self.path}: line {line + row}"

            where = "" if columns.label is None else f", column {columns.name(columns.label)}"
            splits = _texts(frame, columns.split)
            yield Batch(values, place, labels, splits, cell=columns.cell, label_cell=where)
        if not count:
            raise UserError(f"{self.path}: no row below the header, expected at least one image")
        if columns.is_guess and _is_last_the_label(pd.concat(ends)):
            raise last_column_error(self.path)

    def _frames(self, texts: Iterable[int]) -> Iterator[tuple[int, pd.DataFrame]]:
        """Parse rows with pandas, in chunks; yield them with the line number of the first."""
        path, width = self.path, len(self.columns.names)
        line, blank, size = 1 + self.skipped, 0, rows_of(8 * width)
        with open_stream(path) as file, warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            try:
                for frame in pd.read_csv(
                    file,
                    header=None,
                    skiprows=self.skipped,
                    sep=self.separator,
                    dtype=cast(Any, dict.fromkeys(texts, str)),
                    na_filter=False,
                    skip_blank_lines=False,
                    skipinitialspace=True,
                    encoding=self.encoding,
                    encoding_errors="replace",
                    chunksize=size,
                    index_col=False,
                    names=range(width),
                    on_bad_lines="error",
                ):
                    # Only the last lines may be blank, and a few of them.
                    filled = (frame != "").any(axis=1).to_numpy()
                    rows = len(filled) - int(filled[::-1].argmax()) if filled.any() else 0
                    if (blank and rows) or (len(frame) == size and not rows):
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
                    f"{path}: cannot be read as a table ({reason:.200}), expected {width} cells in "
                    "each line"
                ) from error

    def _check_index(self, frame: pd.DataFrame, first: int) -> None:
        """Check that a column that is taken for an index, of a table without header, counts up."""
        for column in [] if any(self.columns.names) else self.columns.index:
            cells = frame[column]
            base = pd.to_numeric(cells, errors="coerce") - np.arange(first, first + len(cells))
            if set(base) not in ({0}, {1}) and (cells != "").any():
                raise UserError(
                    f"{self.path}: {len(frame.columns)} cells in each line, expected "
                    f"{len(table.COLUMNS)}; the first column does not count up, so it is no index"
                )

    def _unpack(self, frame: pd.DataFrame, line: int) -> NDArray[Any]:
        """Return the images of cells that contain one each, (n, height, width)."""
        number = re.compile(r"[-+]?\d*\.?\d+(?:[eE][-+]?\d+)?")
        images = [number.findall(cell) for cell in frame[self.columns.pixels[0]]]
        side = math.isqrt(len(images[0]))
        for row, image in enumerate(images):
            if len(image) != side**2:
                raise UserError(
                    f"{self.path}: line {line + row}: {len(image)} pixels, expected {side**2} as "
                    "in the first row, a square number"
                )
        return np.array(images, float).reshape(-1, side, side)

    def _values(self, frame: pd.DataFrame, line: int) -> NDArray[Any]:
        """Return the pixels of rows, (n, height, width)."""
        columns = self.columns
        pixels = frame[columns.pixels]
        odd = pixels.select_dtypes(exclude="number").astype(str)
        if odd.size:
            numbers = odd.apply(lambda x: pd.to_numeric(x.str.replace(",", "."), errors="coerce"))
            wrong = numbers.isna()
            if columns.is_guess and wrong.get(columns.pixels[-1], pd.Series([False])).all():
                raise last_column_error(self.path)
            for row, column in np.argwhere(wrong.to_numpy()).tolist():
                raise UserError(
                    f"{self.path}: line {line + row}, column {columns.name(odd.columns[column])}: "
                    f"{odd.iat[row, column][:40]!r}, expected a grey value 0..255, or a fraction "
                    "0..1 such as 0.5"
                )
            pixels[odd.columns] = numbers
        return pixels.to_numpy().reshape(-1, columns.side, columns.side)


def _separator(line: str) -> str:
    """Tell which separator makes an image of a first line, or else which one is in it."""
    # Names and padded numbers may contain the others, too.
    counts = {mark: line.strip(" ").count(mark) for mark in ",;\t "}
    if re.fullmatch(r"(-?\d+(,\d+)?(e[+-]?\d+)?\s+)+", line.strip() + " ", re.IGNORECASE) and _fits(
        counts[" "]
    ):
        return " "  # decimal commas
    fitting = [mark for mark in ";\t," if _fits(counts[mark])]
    usual = max(",;\t ", key=lambda mark: (counts[mark] > 0 and mark != " ", counts[mark]))
    return fitting[0] if fitting else usual if counts[usual] else ","


def _fits(count: int) -> bool:
    """Tell whether a number of separators is that of an image with up to three other columns."""
    return any(map(is_square, range(count - 3, count + 2)))


def _cells(path: Path, line: str, separator: str) -> list[str]:
    try:
        reader = csv.reader([line.strip(" ")], delimiter=separator, skipinitialspace=True)
        return [cell.strip() for cell in next(reader, [])]
    except csv.Error as error:
        raise UserError(f"{path}: line 1 cannot be read ({error}), not a table") from error


def _texts(frame: pd.DataFrame, column: int | None) -> Texts | None:
    return None if column is None else frame[column].str.strip().to_numpy(str)


def _is_last_the_label(ends: pd.DataFrame) -> bool:
    """Tell of a table whose first column was read as the label that it is rather the last."""
    first = pd.to_numeric(ends["first"], errors="coerce").dropna().unique()
    last = ends["last"].unique()
    is_implausible = ends["first"].nunique() == 1 or len(first) > 100 or (first > 255).any()
    are_classes = 1 < len(last) <= 100 and (last < 100).all() and (last % 1 == 0).all()
    return bool(is_implausible and are_classes)
