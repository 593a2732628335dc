"""Parquet files: as Hugging Face publishes pictures, and plain columns."""

import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers.digits import as_read, concatenate, draw_digits, draw_small_digits, named
from helpers.errors import refusal
from PIL import Image

from autoencoder.data.user.images import iter_images, read_user_data

DIGITS = draw_digits(60, seed=3)
OTHERS = draw_digits(40, seed=11)
LABELS, IMAGES = named(DIGITS)


def test_without_the_package_the_message_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    for name, content in (("a.parquet", b"PAR1"), ("b.bin", b"PAR1"), ("c.parquet", b"")):
        (tmp_path / name).write_bytes(content)
        message = refusal(lambda name=name: read_user_data(tmp_path / name, 0.2))  # type: ignore[misc]
        assert message.startswith(f"{tmp_path}/{name}: Parquet, ")
        assert "`pip install pyarrow`" in message


def png(image: Any, form: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, form, lossless=True)
    return buffer.getvalue()


def write(path: Path, columns: dict[str, Any], features: dict[str, Any] | None = None) -> None:
    arrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed: extra `parquet`")
    from pyarrow import parquet as file_format

    path.parent.mkdir(parents=True, exist_ok=True)
    table = arrow.table(columns)
    if features:
        info = json.dumps({"info": {"features": features}})
        table = table.replace_schema_metadata({"huggingface": info})
    file_format.write_table(table, path, row_group_size=25)


def test_hugging_face_pictures_with_class_names(tmp_path: Path) -> None:
    names = [f"digit {n}" for n in range(10)]
    features = {"label": {"names": names, "_type": "ClassLabel"}, "image": {"_type": "Image"}}
    for split, digits in (("train", DIGITS), ("test", OTHERS)):
        cells = [{"bytes": png(image), "path": None} for image in digits[1]]
        for part, rows in (("00000", slice(0, 25)), ("00001", slice(25, None))):
            columns = {"image": cells[rows], "label": digits[0][rows].astype(int)}
            write(tmp_path / f"data/{split}-{part}-of-00002.parquet", columns, features)
    (tmp_path / "README.md").write_text("---")
    train, test = map(concatenate, read_user_data(tmp_path, 0.5))
    assert (train[0] == np.char.add("digit ", LABELS)).all()
    assert (train[1] == IMAGES).all()
    assert (test[1] == named(OTHERS)[1]).all()


@pytest.mark.parametrize("form", ["PNG", "WEBP", "TIFF"])
def test_pictures_as_bytes_alone_and_of_many_sizes(tmp_path: Path, form: str) -> None:
    images = [np.pad(image, 28 * (row % 2)) for row, image in enumerate(DIGITS[1])]
    columns = {"class": LABELS.tolist(), "picture": [png(image, form) for image in images]}
    write(tmp_path / "a.parquet", columns)
    labels, found = concatenate(iter_images(tmp_path / "a.parquet"))
    assert (labels == LABELS).all()
    assert (found[::2] == IMAGES[::2]).all()


@pytest.mark.parametrize("form", ["columns", "shuffled", "list", "nested", "index"])
def test_plain_columns_and_lists(tmp_path: Path, form: str) -> None:
    small = draw_small_digits(60, seed=3)[1]
    pixels = small.reshape(60, 64)
    columns: dict[str, Any] = {f"pixel{n}": pixels[:, n] for n in range(64)}
    if form == "shuffled":
        columns = dict(sorted(columns.items()))
    elif form == "list":
        columns = {"image": pixels.tolist()}
    elif form == "nested":
        columns = {"image": small.tolist()}
    elif form == "index":
        columns["__index_level_0__"] = np.arange(60)
    write(tmp_path / "a.parquet", columns | {"label": DIGITS[0]})
    labels, images = concatenate(iter_images(tmp_path / "a.parquet"))
    assert (labels == LABELS).all()
    assert (images == as_read(small)).all()


def test_a_missing_label_leaves_the_others_as_they_are(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", {"image": DIGITS[1].tolist(), "label": [None, *range(1, 60)]})
    labels, _ = concatenate(iter_images(tmp_path / "a.parquet"))
    assert labels.tolist() == ["unlabelled", *map(str, range(1, 60))]


def test_a_picture_that_is_not_embedded_is_named(tmp_path: Path) -> None:
    cells = [{"bytes": None, "path": "x.png"}] * 60
    write(tmp_path / "a.parquet", {"image": cells, "label": DIGITS[0]})
    found = refusal(lambda: read_user_data(tmp_path / "a.parquet", 0.2))
    assert found.startswith(f"{tmp_path}/a.parquet: row 1: no picture in it")


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"PAR1" + bytes(50), "damaged ("), (b"PAR1", "damaged ("), (b"...", "damaged (")],
)
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    pytest.importorskip("pyarrow", reason="pyarrow is not installed: extra `parquet`")
    (tmp_path / "a.parquet").write_bytes(content)
    found = refusal(lambda: read_user_data(tmp_path / "a.parquet", 0.2))
    assert found.startswith(f"{tmp_path}/a.parquet: {message}")


def test_a_bad_picture_is_named_by_its_row(tmp_path: Path) -> None:
    cells = [{"bytes": png(image), "path": None} for image in DIGITS[1]]
    cells[7] = {"bytes": b"hello", "path": None}
    write(tmp_path / "a.parquet", {"image": cells, "label": DIGITS[0]})
    found = refusal(lambda: read_user_data(tmp_path / "a.parquet", 0.2))
    assert found.startswith(f"{tmp_path}/a.parquet: row 8: cannot be read as a picture (")


@pytest.mark.parametrize("channels", [1, 3])
def test_lists_with_channels_first(tmp_path: Path, channels: int) -> None:
    pytest.importorskip("pyarrow")
    labels, images = draw_digits(20, seed=3)
    cells = images[:, None].repeat(channels, 1).tolist()
    pd.DataFrame({"image": cells, "label": labels}).to_parquet(tmp_path / "t.parquet")
    assert (concatenate(iter_images(tmp_path / "t.parquet"))[1] == images.reshape(20, -1)).all()


CLASSES = {"label": {"names": [f"digit {n}" for n in range(10)], "_type": "ClassLabel"}}


def write_labels(path: Path, labels: list[Any], features: dict[str, Any] | None = None) -> None:
    cells = [{"bytes": png(image), "path": None} for image in DIGITS[1]]
    write(path, {"image": cells, "label": labels}, features)


@pytest.mark.parametrize("convert", [int, float, str, lambda label: str(label).encode()])
@pytest.mark.parametrize("none", [None, -1])
def test_labels_may_be_missing(tmp_path: Path, convert: Any, none: int | None) -> None:
    labels = [none if row % 6 == 0 else convert(n) for row, n in enumerate(DIGITS[0].tolist())]
    features = CLASSES if convert in (int, float) else None
    if none is None or features:
        write_labels(tmp_path / "a.parquet", labels, features)
        expected = np.char.add("digit ", LABELS) if features else LABELS
        expected = np.where(np.arange(60) % 6 == 0, "unlabelled", expected)
        assert (concatenate(iter_images(tmp_path / "a.parquet"))[0] == expected).all()


@pytest.mark.parametrize(
    ("label", "features", "message"),
    [
        ([5], None, "row 31: label [5], expected one label, "),
        ({"a": 5}, None, "row 31: label {'a': 5}, expected one label, "),
        (10, CLASSES, "row 31: label 10, expected the number of a class, 0 to 9, "),
        (-2, CLASSES, "row 31: label -2, expected the number of a class"),
        (2.5, CLASSES, "row 31: label 2.5, expected the number of a class"),
    ],
)
def test_odd_labels_are_refused(
    tmp_path: Path, label: Any, features: dict[str, Any] | None, message: str
) -> None:
    is_number = not isinstance(label, (list, dict))
    labels = [type(label)(3) if is_number else None] * 30 + [label] + [None] * 29
    write_labels(tmp_path / "a.parquet", labels, features)
    found = refusal(lambda: read_user_data(tmp_path / "a.parquet", 0.2))
    assert found.startswith(f"{tmp_path}/a.parquet: {message}")


@pytest.mark.parametrize("metadata", ["{not json", "[]", '{"info": null}', '{"info": []}'])
def test_odd_metadata_name_no_classes(tmp_path: Path, metadata: str) -> None:
    write_labels(tmp_path / "a.parquet", DIGITS[0].tolist())
    from pyarrow import parquet as file_format

    table = file_format.read_table(tmp_path / "a.parquet")
    table = table.replace_schema_metadata({"huggingface": metadata})
    file_format.write_table(table, tmp_path / "a.parquet")
    assert (concatenate(iter_images(tmp_path / "a.parquet"))[0] == LABELS).all()


def test_ragged_lists_are_refused(tmp_path: Path) -> None:
    images = DIGITS[1].tolist()
    images[5] = [[1, 2], [3]]
    write(tmp_path / "a.parquet", {"image": images, "label": DIGITS[0]})
    found = refusal(lambda: read_user_data(tmp_path / "a.parquet", 0.2))
    assert found.startswith(f"{tmp_path}/a.parquet: row 6: lists of several lengths")
