"""Parquet files, with the optional package pyarrow."""

import json
from pathlib import Path
from typing import Any

from autoencoder.base.errors import UserError, one_line
from autoencoder.data.user.batches import Content, rows_of
from autoencoder.data.user.columns import Columns, assign
from autoencoder.data.user.rows import Frames, Rows

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
    columns = assign(path, list(first), list(first.values()), path.stem)
    return [Rows(path, "row", columns, lambda: _frames(file, columns)).describe("Parquet")]


def _frames(file: Any, columns: Columns) -> Frames:
    classes = dict(enumerate(_class_names(file, columns)))
    row = 1
    for rows in file.iter_batches(64 if columns.is_packed else rows_of(8 * len(columns.names))):
        frame = rows.to_pandas(ignore_metadata=True)
        frame.columns = range(len(frame.columns))
        if columns.is_packed:  # as plain lists, not arrays of arrays
            frame[columns.pixels[0]] = rows.column(columns.pixels[0]).to_pylist()
        if classes:
            frame[columns.label] = frame[columns.label].map(classes)
        yield row, frame
        row += len(frame)


def _class_names(file: Any, columns: Columns) -> list[str]:
    """Return the names of the classes that Hugging Face's metadata gives to numbers."""
    metadata = (file.schema_arrow.metadata or {}).get(b"huggingface")
    if not metadata or columns.label is None:
        return []
    features = json.loads(metadata).get("info", {}).get("features", {})
    return list(features.get(columns.names[columns.label], {}).get("names", []))
