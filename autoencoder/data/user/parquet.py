"""Parquet files, with the optional package pyarrow."""

import json
from pathlib import Path
from typing import Any

from autoencoder.base.errors import UserError, one_line
from autoencoder.data.user.batches import UNLABELLED, Source, rows_of
from autoencoder.data.user.columns import Columns, assign
from autoencoder.data.user.rows import Frames, Rows


def describe(path: Path) -> list[Source]:
    """Find out what the columns of a Parquet file are: pictures or pixels, and labels."""
    try:
        # Here, because it takes memory that other formats do not need.
        import pyarrow as arrow
        from pyarrow import parquet
    except ImportError as error:
        raise UserError(
            f"{path}: Parquet, which needs an optional package; install it with `pip install "
            "pyarrow`, or the project's extra `parquet`"
        ) from error
    try:
        file = parquet.ParquetFile(path)
        first = next(file.iter_batches(1)).to_pylist()[0] if file.metadata.num_rows else {}
    except (arrow.ArrowException, OSError) as error:
        reason = f"{one_line(error):.200}"
        raise UserError(f"{path}: damaged ({reason}); replace it by a complete copy") from error
    columns = assign(path, list(first), list(first.values()), path.stem)
    return [Rows(path, "row", columns, lambda: _frames(file, path, columns)).describe("Parquet")]


def _frames(file: Any, path: Path, columns: Columns) -> Frames:
    names = _class_names(file, columns)
    row = 1
    for rows in file.iter_batches(64 if columns.is_packed else rows_of(8 * len(columns.names))):
        frame = rows.to_pandas(ignore_metadata=True)
        frame.columns = range(len(frame.columns))
        frame.index += row
        row += len(frame)
        # From plain values: pandas makes arrays of arrays, and of numbers with blanks fractions.
        if columns.is_packed:
            frame[columns.pixels[0]] = rows.column(columns.pixels[0]).to_pylist()
        if columns.label is not None:
            cells = zip(rows.column(columns.label).to_pylist(), frame.index, strict=True)
            frame[columns.label] = [_label(x, names, f"{path}: row {y}") for x, y in cells]
        yield frame


def _label(value: Any, names: list[str], place: str) -> str:
    """Return a label as text, the name of its class if there is one. Those of -1 have none."""
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    if value is None or (names and value == -1):
        return UNLABELLED
    if isinstance(value, (list, dict)) or (names and value not in range(len(names))):
        expected = f"the number of a class, 0 to {len(names) - 1}" if names else "one label"
        raise UserError(f"{place}: label {value!r:.40}, expected {expected}, -1 or null for none")
    return names[int(value)] if names else str(value)


def _class_names(file: Any, columns: Columns) -> list[str]:
    """Return the names of the classes that Hugging Face's metadata gives to numbers, if it does."""
    metadata = (file.schema_arrow.metadata or {}).get(b"huggingface")
    if columns.label is None:
        return []
    try:
        features = json.loads(metadata or "{}")["info"]["features"]
        return list(map(str, features[columns.names[columns.label]]["names"]))
    except (ValueError, TypeError, LookupError):
        return []
