"""Rows of tables as images and labels, whatever the format."""

import io
import math
import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from autoencoder.base.errors import UserError
from autoencoder.data import table
from autoencoder.data.user import pictures
from autoencoder.data.user.batches import (
    Batch,
    Item,
    Labels,
    Place,
    Source,
    Texts,
    group,
    refuse_alpha,
)
from autoencoder.data.user.columns import Columns
from autoencoder.data.user.formats import advice

# Around the numbers of a cell, also as NumPy and PyTorch print them.
_PUNCTUATION = re.compile(r"((np|numpy|torch)\.)?(array|tensor)|dtype=[\w.]+|[][(){}\"',:;|\s]")

Frames = Iterator[pd.DataFrame]  # rows in chunks; the index has the number of each


@dataclass
class Rows:
    """The rows of a table, in frames whose columns are numbered."""

    path: Path
    unit: str  # what a row is called
    columns: Columns
    frames: Callable[[], Frames]
    separator: str = ","

    def describe(self, text: str) -> Source:
        """Say what they contain."""
        columns = self.columns
        source = Source(self.path, self.path.name, columns.role, f"{text}, {columns.describe()}")
        source.fault = columns.fault
        source.batches, source.labels = self._batches, self._labels
        source.is_labelled = columns.label is not None
        return source

    def _labels(self) -> Labels:
        frames = [*self.frames()]
        if not frames:
            raise UserError(f"{self.path}: no row below the header, expected labels")
        frame = pd.concat(frames)
        gaps = np.diff(frame.index)
        if self.columns.ids is None and len(set(gaps)) > 1:
            line = frame.index[int(gaps.argmax())] + 1
            raise UserError(f"{self.path}: line {line} is blank, expected a label")
        labels, splits, ids = self._texts(frame)
        if labels is None:
            raise UserError(self.columns.fault)
        return Labels(labels, splits, ids)

    def _batches(self, _: int | None = None) -> Iterator[Batch]:
        columns, count = self.columns, 0
        ends: list[NDArray[Any]] = []  # the first and last cells of rows, if both may be labels
        for frame in self.frames():

            def place(row: int, numbers: pd.Index = frame.index) -> str:
                return f"{self.path}: {self.unit} {numbers[row]}"

            self._check_index(frame, count)
            count += len(frame)
            labels, splits, ids = self._texts(frame)
            if columns.is_packed:
                yield from group(self._items(frame, place, labels, splits), columns.cell)
                continue
            values = self._values(frame, place)
            if columns.may_be_last and labels is not None:
                ends.append(np.stack([pd.to_numeric(labels, errors="coerce"), values[:, -1, -1]]))
            refuse_alpha(self.path, values)
            batch = Batch(values, place, labels, splits, ids, cell=columns.cell)
            yield batch
            del frame, values, batch
        if not count:
            raise UserError(f"{self.path}: no row below the header, expected at least one image")
        if ends:
            self._check_last(*np.concatenate(ends, axis=1))
        if count == len(columns.names) == len(columns.pixels) and not any(columns.names):
            side = columns.shape[0]
            raise UserError(
                f"{self.path}: {count} rows of {count} values; if it is one image, save it as a "
                f"picture, if it is {count} images of {side}x{side}, add a header line of "
                f"0,1,2 to {count - 1}"
            )

    def _check_last(self, first: NDArray[Any], last: NDArray[Any]) -> None:
        """Check of columns of which the first was read as the label that it is not the last one.

        A corner of images may vary as well, but is mostly the same in those on a plain background.
        """
        shares = pd.Series(last).value_counts(normalize=True)
        is_varied = 1 < len(shares) <= 100 and max(last) < 100 and max(shares) < 0.9
        if len(set(first)) == 1 or len(set(first)) > 100 or max(first) > 255:
            is_varied = len(shares) > 1
        if np.isnan(first).any() or (last % 1 != 0).any() or not is_varied:
            return
        how = "name it `label` in line 1"
        if not any(self.columns.names):
            how = advice(
                self.path,
                'if it is the last one, name it with `python -c "import pandas, sys; pandas.'
                "read_csv(sys.argv[1], sep=sys.argv[3], header=None, dtype=str, skipinitialspace="
                "True).rename(columns={int(sys.argv[4]): 'label'}).to_csv(sys.argv[2], index=False)"
                f'" FILE NAME.labelled.csv {shlex.quote(self.separator)} {self.columns.pixels[-1]}'
                "`, if it is the first one, with 0 at the end",
            )
        raise UserError(f"{self.path}: the label may be the first column or the last one; {how}")

    def _check_index(self, frame: pd.DataFrame, first: int) -> None:
        """Check that a column that is taken for an index, of a table without header, counts up."""
        columns = self.columns
        for column in set() if any(columns.names) else {*columns.index} - {columns.ids}:
            cells = frame[column]
            base = pd.to_numeric(cells, errors="coerce") - np.arange(first, first + len(cells))
            if set(base) not in ({0}, {1}) and (cells != "").any():
                raise UserError(
                    f"{self.path}: {len(frame.columns)} cells in each line, expected "
                    f"{len(table.COLUMNS)}; the first column does not count up, so it is no index"
                )

    def _texts(self, frame: pd.DataFrame) -> Iterator[Texts | None]:
        """Yield the labels, splits and ids of rows, as far as there are columns for them."""
        for column in (self.columns.label, self.columns.split, self.columns.ids):
            cells = [] if column is None else [str(cell).strip() for cell in frame[column]]
            if any("\ufffd" in cell for cell in cells):
                hint = advice(
                    self.path,
                    "`iconv -f CP1252 -t UTF-8 FILE > NAME.utf8.csv` (SHIFT_JIS if it is Japanese)",
                )
                raise UserError(f"{self.path}: bytes that are not UTF-8; convert it with {hint}")
            yield None if column is None else np.array(cells)

    def _items(
        self, frame: pd.DataFrame, place: Place, labels: Texts | None, splits: Texts | None
    ) -> Iterator[Item]:
        """Read the images of cells that contain one each."""
        for row, cell in enumerate(frame[self.columns.pixels[0]]):
            image, white = _image(cell, place(row))
            label = None if labels is None else str(labels[row])
            yield image, white, place(row), label, "" if splits is None else str(splits[row])

    def _values(self, frame: pd.DataFrame, place: Place) -> NDArray[Any]:
        """Return the images of rows with a column for each pixel, (n, height, width)."""
        columns = self.columns
        first, last = columns.pixels[0], columns.pixels[-1]
        is_in_order = columns.pixels == list(range(first, last + 1))  # else, pandas copies
        pixels = frame.iloc[:, first : last + 1] if is_in_order else frame[columns.pixels]
        odd = pixels.select_dtypes(exclude=["number", "bool"]).astype(str)
        if odd.size:
            numbers = odd.apply(lambda x: pd.to_numeric(x.str.replace(",", "."), errors="coerce"))
            wrong = numbers.isna()
            if wrong.any(axis=None):
                row, number = np.argwhere(wrong.to_numpy())[0].tolist()
                column = odd.columns[number]
                hint = "expected a grey value 0..255, or a fraction 0..1 such as 0.5"
                if (frame.iloc[row, column:] == "").all():
                    hint = "as all cells from there on; complete the row, or remove it"
                elif columns.may_be_last and column == last:
                    hint += "; if it is the label, name it `label` in a header line"
                cell = odd[column].iat[row][:40]
                raise UserError(f"{place(row)}, column {columns.name(column)}: {cell!r}, {hint}")
            pixels[odd.columns] = numbers
        values = pixels.to_numpy().reshape(-1, *columns.shape)
        return values.swapaxes(1, 2) if columns.is_transposed else values


def _image(cell: Any, place: str) -> tuple[NDArray[Any], float | None]:
    """Read a picture of Hugging Face's {bytes, path}, bytes alone, or pixels in lists or text."""
    content = cell.get("bytes") if isinstance(cell, dict) else cell
    if isinstance(content, bytes):
        return pictures.read_picture(io.BytesIO(content), Path(place))
    try:
        if isinstance(content, str):
            content = [float(word) for word in _PUNCTUATION.sub(" ", content).split()]
        values = np.array(content)
    except ValueError as error:
        reason = error if isinstance(cell, str) else "lists of several lengths"
        raise UserError(f"{place}: {reason}, expected the pixels of an image") from error
    side = math.isqrt(values.size)
    if values.ndim == 1 and values.size == side**2 > 0:
        values = values.reshape(side, side)
    if values.ndim == 3 and values.shape[0] in (1, 3) and values.shape[2] not in (1, 3, 4):
        values = np.moveaxis(values, 0, -1)  # channels first, as in PyTorch
    if values.dtype.kind not in "biuf" or values.ndim < 2:
        what = f"{values.size} pixels" if values.ndim else "no picture"
        raise UserError(
            f"{place}: {what} in it, expected the bytes of a picture, or a square number of pixels"
        )
    return values, None
