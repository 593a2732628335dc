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

from autoencoder.base.errors import UserError, one_line
from autoencoder.data import table
from autoencoder.data.user import pictures
from autoencoder.data.user.batches import Batch, Content, Item, Labels, Texts, group, refuse_alpha
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

    def describe(self, text: str) -> Content:
        """Say what they contain."""
        text = f"{text}, {self.columns.describe()}"
        content = Content(self.path, self.path.name, self.columns.role, text, self.columns.fault)
        content.images = lambda _: self._batches()
        content.labels = self._labels
        content.is_labelled = self.columns.label is not None
        return content

    def _labels(self) -> Labels:
        columns = self.columns
        frames = [*self.frames()]
        if not frames:
            raise UserError(f"{self.path}: no row below the header, expected labels")
        frame = pd.concat(frames)
        gaps = np.diff(frame.index)
        if columns.files is None and len(set(gaps)) > 1:
            line = frame.index[int(gaps.argmax())] + 1
            raise UserError(f"{self.path}: line {line} is blank, expected a label")
        labels = self._texts(frame, columns.label)
        if labels is None:
            raise UserError(columns.fault)
        return Labels(labels, self._texts(frame, columns.files), self._texts(frame, columns.split))

    def _batches(self) -> Iterator[Batch]:
        columns, count = self.columns, 0
        where = "" if columns.label is None else f", column {columns.name(columns.label)}"
        ends: list[pd.DataFrame] = []
        for frame in self.frames():

            def place(row: int, numbers: pd.Index = frame.index) -> str:
                return f"{self.path}: {self.unit} {numbers[row]}"

            self._check_index(frame, count)
            count += len(frame)
            labels, splits = self._texts(frame, columns.label), self._texts(frame, columns.split)
            if columns.is_packed:
                for batch in group(self._items(frame, place, labels, splits)):
                    batch.label_cell = where
                    yield batch
                continue
            values = self._values(frame, place)
            if columns.may_be_last:
                end = pd.DataFrame({"first": labels, "last": values[:, -1, -1]})
                ends.append(end.value_counts().reset_index())
            refuse_alpha(self.path, values)
            batch = Batch(values, place, labels, splits, cell=columns.cell, label_cell=where)
            named = [column for column in columns.index if columns.names[column]]
            batch.ids = self._texts(frame, named[0]) if named else None
            yield batch
            del frame, values, batch
        if not count:
            raise UserError(f"{self.path}: no row below the header, expected at least one image")
        if columns.may_be_last and _may_be_last(pd.concat(ends)):
            raise self._last_column_error()
        if count == len(columns.names) == len(columns.pixels) and not any(columns.names):
            side = columns.shape[0]
            raise UserError(
                f"{self.path}: {count} rows of {count} values; if it is one image, save it as a "
                f"picture, if it is {count} images of {side}x{side}, add a header line of "
                f"0,1,2 to {count - 1}"
            )

    def _last_column_error(self) -> UserError:
        """Make the error of a table whose last column may be the label as well as the first one."""
        how = "name it `label` in line 1"
        if not any(self.columns.names):
            last = self.columns.pixels[-1]
            how = advice(
                self.path,
                'if it is the last one, name it with `python -c "import pandas, sys; pandas.'
                "read_csv(sys.argv[1], sep=sys.argv[3], header=None, dtype=str, skipinitialspace="
                "True).rename(columns={int(sys.argv[4]): 'label'}).to_csv(sys.argv[2], index=False)"
                f'" FILE NAME.labelled.csv {shlex.quote(self.separator)} {last}`, if it is the '
                "first one, with 0 at the end",
            )
        return UserError(f"{self.path}: the label may be the first column or the last one; {how}")

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

    def _texts(self, frame: pd.DataFrame, column: int | None) -> Texts | None:
        if column is None:
            return None
        texts = np.array([str(cell).strip() for cell in frame[column]])
        if (np.char.find(texts, "\ufffd") >= 0).any():
            hint = "`iconv -f CP1252 -t UTF-8 FILE > NAME.utf8.csv` (SHIFT_JIS if it is Japanese)"
            raise UserError(
                f"{self.path}: bytes that are not UTF-8; convert it with {advice(self.path, hint)}"
            )
        return texts

    def _items(
        self,
        frame: pd.DataFrame,
        place: Callable[[int], str],
        labels: Texts | None,
        splits: Texts | None,
    ) -> Iterator[Item]:
        """Read the images of cells that contain one each."""
        for row, cell in enumerate(frame[self.columns.pixels[0]]):
            image, white = _image(cell, place(row))
            label = None if labels is None else str(labels[row])
            yield image, white, place(row), label, "" if splits is None else str(splits[row])

    def _values(self, frame: pd.DataFrame, place: Callable[[int], str]) -> NDArray[Any]:
        """Return the images of rows with a column for each pixel, (n, height, width)."""
        columns = self.columns
        first, last = columns.pixels[0], columns.pixels[-1]
        is_in_order = columns.pixels == list(range(first, last + 1))  # else, pandas copies
        pixels = frame.iloc[:, first : last + 1] if is_in_order else frame[columns.pixels]
        odd = pixels.select_dtypes(exclude=["number", "bool"]).astype(str)
        if odd.size:
            numbers = odd.apply(lambda x: pd.to_numeric(x.str.replace(",", "."), errors="coerce"))
            wrong = numbers.isna()
            if columns.may_be_last and wrong.get(columns.pixels[-1], pd.Series([False])).all():
                raise self._last_column_error()
            if wrong.any(axis=None):
                row, column = np.argwhere(wrong.to_numpy())[0].tolist()
                name, cell = columns.name(odd.columns[column]), str(odd.iat[row, column])
                if (frame.iloc[row, odd.columns[column] :] == "").all():
                    raise UserError(
                        f"{place(row)}, column {name}: '', as all cells from there on; "
                        "complete the row, or remove it"
                    )
                raise UserError(
                    f"{place(row)}, column {name}: {cell[:40]!r}, expected a grey value 0..255, or "
                    "a fraction 0..1 such as 0.5"
                )
            pixels[odd.columns] = numbers
        return pixels.to_numpy().reshape(-1, *columns.shape)


def _image(cell: Any, place: str) -> tuple[NDArray[Any], float | None]:
    """Read a picture of Hugging Face's {bytes, path}, bytes alone, or pixels in lists or text."""
    content = cell.get("bytes") if isinstance(cell, dict) else cell
    if isinstance(content, bytes):
        return pictures.read_picture(io.BytesIO(content), Path(place))
    try:
        if isinstance(content, str):
            content = [float(word) for word in _PUNCTUATION.sub(" ", content).split()]
        values = np.array(content)
    except ValueError as error:  # no number, or lists of different lengths
        raise UserError(f"{place}: {one_line(error)}, expected the pixels of an image") from error
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


def _may_be_last(ends: pd.DataFrame) -> bool:
    """Tell of a table whose first column was read as the label that it may be the last one.

    `ends` counts the rows of each first and last value. A corner of images may vary as well, but is
    mostly the same in those on a plain background.
    """
    first = pd.to_numeric(ends["first"], errors="coerce")
    if first.isna().any() or (ends["last"] % 1 != 0).any():
        return False
    counts = ends.groupby("last")["count"].sum()
    if first.nunique() == 1 or first.nunique() > 100 or (first > 255).any():
        return len(counts) > 1
    return 1 < len(counts) <= 100 and max(counts.index) < 100 and max(counts) < 0.9 * sum(counts)
