"""Parquet files, with the optional package pyarrow."""

import io
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from autoencoder.base.errors import UserError, one_line
from autoencoder.data.user import pictures
from autoencoder.data.user.batches import Content, Item, group
from autoencoder.data.user.columns import Columns, assign

try:
    import pyarrow as arrow
    from pyarrow import parquet
except ImportError:
    arrow = parquet = None


def describe(path: Path) -> list[Content]:
    """Find out what the columns of a Parquet file are: pictures or pixels, and labels."""
    if parquet is None:
        raise UserError(
            f"{path}: Parquet, which needs an optional package; install it with `pip install "
            "pyarrow`, or the project's extra `parquet`"
        )
    try:
        file = parquet.ParquetFile(path)
        first = next(file.iter_batches(1)).to_pylist()[0] if file.metadata.num_rows else {}
    except (arrow.ArrowException, OSError) as error:
        reason = f"{one_line(error):.200}"
        raise UserError(f"{path}: damaged ({reason}); replace it by a complete copy") from error
    columns = assign(path, list(first), [_as_text(cell) for cell in first.values()], path.stem)
    text = f"Parquet, {columns.describe()}"
    content = Content(path, path.name, columns.role, text, columns.fault)
    content.images = lambda _: group(_items(path, file, columns))
    content.is_labelled = columns.label is not None
    return [content]


def _as_text(cell: Any) -> object:
    """Return a cell as a table of text would have it, for `assign`."""
    if isinstance(cell, (list, np.ndarray)):
        return " ".join(map(str, np.ravel(cell).tolist()))
    return cell


def _items(path: Path, file: Any, columns: Columns) -> Iterator[Item]:
    classes = _class_names(file, columns)
    row = 0
    for rows in file.iter_batches(64):
        table = [rows.column(number) for number in range(rows.num_columns)]
        labels, splits = (
            [None] * len(rows) if number is None else [*map(str, table[number].to_pylist())]
            for number in (columns.label, columns.split)
        )
        if not columns.is_packed:
            pixels = np.stack([table[x].to_numpy(zero_copy_only=False) for x in columns.pixels], 1)
        for index, (label, split) in enumerate(zip(labels, splits, strict=True)):
            place = f"{path}: row {row + index + 1}"
            white = None
            if columns.is_packed:
                image, white = _image(table[columns.pixels[0]][index].as_py(), place)
            else:
                image = pixels[index].reshape(columns.side, columns.side)
            name = classes[int(label)] if classes and label else label
            yield image, white, place, name, split or ""
        row += len(rows)


def _image(cell: Any, place: str) -> tuple[Any, float | None]:
    """Read a picture of Hugging Face's {bytes, path}, bytes alone, or nested lists of pixels."""
    content = cell.get("bytes") if isinstance(cell, dict) else cell
    if isinstance(content, bytes):
        return pictures.read_picture(io.BytesIO(content), Path(place))
    values = np.array(content)
    if values.dtype.kind not in "biuf" or not values.ndim:
        raise UserError(f"{place}: no picture in it, expected its bytes; embed the pictures")
    side = math.isqrt(values.size)
    return values.reshape(side, side) if values.ndim == 1 else values, None


def _class_names(file: Any, columns: Columns) -> list[str]:
    """Return the names of the classes that Hugging Face's metadata gives to numbers."""
    metadata = (file.schema_arrow.metadata or {}).get(b"huggingface")
    if not metadata or columns.label is None:
        return []
    features = json.loads(metadata).get("info", {}).get("features", {})
    return list(features.get(columns.names[columns.label], {}).get("names", []))
