"""The CSV format: what is written is read back, and what is wrong is named by line and column."""

import gzip
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.digits import Digits, named
from helpers.errors import refusal
from hypothesis import given
from hypothesis import strategies as st

from autoencoder.base.errors import UserError
from autoencoder.data import table


@pytest.fixture
def path(tmp_path: Path, test_digits: Digits) -> Path:
    table.write(tmp_path / "digits.csv", [named(test_digits)])
    return tmp_path / "digits.csv"


@pytest.fixture
def narrow(tmp_path: Path, test_digits: Digits, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A table of 4x4 images, because pandas takes its time for each column."""
    columns = ["label", *(f"{row + 1}x{column + 1}" for row in range(4) for column in range(4))]
    dtypes = dict.fromkeys(columns[1:], np.uint8) | {"label": str}
    csv_format = table._CSV_FORMAT | {"names": columns, "dtype": dtypes}
    monkeypatch.setattr(table, "COLUMNS", columns)
    monkeypatch.setattr(table, "PIXELS", 16)
    monkeypatch.setattr(table, "_MIN_ROW", 34)
    monkeypatch.setattr(table, "_CSV_FORMAT", csv_format)
    labels, images = test_digits
    middle = images[:, 12:16, 12:16].reshape(-1, 16)
    table.write(tmp_path / "digits.csv", [table.Chunk(labels.astype(str), middle)])
    return tmp_path / "digits.csv"


def test_classes_are_counted(tmp_path: Path) -> None:
    labels = np.array(["10", "9", "b", "9"])
    classes = table.write(tmp_path / "t.csv", [(labels, np.zeros((4, 784), np.uint8))])
    assert table.describe_classes(classes) == "3 classes: 9: 2, 10: 1, b: 1"


@pytest.mark.parametrize("count", [1, 515, 516])  # 3 rows, and as many as are written at a time
def test_round_trip(tmp_path: Path, count: int) -> None:
    rng = np.random.default_rng(0)
    labels = rng.choice(
        ["0", "10", "T-shirt/top", "Füße", "ん", "-1", "long " * 40 + "name"], count
    )
    images = rng.integers(0, 256, (count, 28, 28), np.uint8)
    table.write(tmp_path / "t.csv", [(labels[:3], images[:3]), (labels[3:], images[3:])])
    read_labels, read_images = table.read(tmp_path / "t.csv")
    assert (read_labels == labels).all()
    assert (read_images == images.reshape(count, 784)).all()


def test_what_is_written_is_what_pandas_writes(path: Path) -> None:
    frame = pd.read_csv(path)
    assert list(frame.columns[:3]) == ["label", "1x1", "1x2"]
    assert frame.columns[-1] == "28x28"
    assert frame.to_csv(index=False) == path.read_text()


def test_byte_order_mark_and_windows_line_ends_are_accepted(
    path: Path, test_digits: Digits
) -> None:
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    labels, images = table.read(path)
    assert (labels == test_digits[0].astype(str)).all()
    assert (images == test_digits[1].reshape(-1, 784)).all()


@pytest.mark.parametrize(
    "value", ["", "x", "nan", "1.0", "-1", "256", "1e9", '"5"', "1000", "+5", " 5", "\0", "٣"]
)
def test_bad_cell_is_named(path: Path, value: str) -> None:
    rows = [line.split(",") for line in path.read_text().splitlines()]
    rows[2][3] = value
    path.write_text("".join(",".join(row) + "\n" for row in rows), encoding="utf-8")
    with pytest.raises(UserError, match=r"digits.csv: line 3, column 1x3: .*expected an integer"):
        table.read(path)


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ("", "a blank label"),
        ("\N{NO-BREAK SPACE}", "a blank label"),
        (" 5", "spaces around"),
        ("5 ", "spaces around"),
        ('"5"', "the character '\"' cannot"),
        ("a\0", r"the character '\\x00' cannot"),
        ("\0", r"the character '\\x00' cannot"),
        ("a\tb", r"the character '\\t' cannot"),
        ("a\rb", r"the character '\\r' cannot"),
        ("=1+1", "a spreadsheet would execute it"),
        (b"\xff", "bytes that are not UTF-8"),
    ],
)
def test_bad_label_is_named(narrow: Path, value: str | bytes, fault: str) -> None:
    lines = narrow.read_bytes().splitlines(keepends=True)
    new = value.encode() if isinstance(value, str) else value
    lines[2] = new + lines[2][1:]
    narrow.write_bytes(b"".join(lines))
    with pytest.raises(UserError, match=rf"digits.csv: line 3, column label: .*: {fault}"):
        table.read(narrow)


@pytest.mark.parametrize("label", ["", "a,b", 'say "a"', "a\nb", " a", "@SUM(A1)", "-a"])
def test_a_label_that_could_not_be_read_back_is_not_written(tmp_path: Path, label: str) -> None:
    images = np.zeros((2, 784), np.uint8)
    with pytest.raises(UserError, match=r"t.csv: label .*: "):
        table.write(tmp_path / "t.csv", [(np.array(["a", label]), images)])
    assert list(tmp_path.iterdir()) == []


def test_numbers_come_first_and_by_value() -> None:
    assert table.in_order(["b", "10", "a", "2", "0"]) == ["0", "2", "10", "a", "b"]


@pytest.mark.parametrize("value", ["x", "1.0"])
def test_bad_cell_is_named_in_a_later_block(
    narrow: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setattr(table, "_BLOCK", 300)
    lines = narrow.read_text().splitlines(keepends=True)
    lines[90] = f"{lines[90].rpartition(',')[0]},{value}\n"
    narrow.write_text("".join(lines))
    with pytest.raises(UserError, match=rf"line 91, column 4x4: '{value}'"):
        table.read(narrow)


def test_blocks_are_the_table(
    narrow: Path, test_digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "_BLOCK", 300)
    labels, images = table.read(narrow)
    assert (labels == test_digits[0].astype(str)).all()
    assert (images.reshape(-1, 4, 4) == test_digits[1][:, 12:16, 12:16]).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: "", "line 1, column 1 is '', expected 'label'"),
        (lambda text: text.split("\n", 1)[0] + "\n", "no row below the header"),
        (lambda text: text.split("\n", 1)[1], "line 1, column 1 is '0', expected 'label'"),
        (lambda text: text.replace("1x1,1x2", "1x2,1x1", 1), "column 2 is '1x2', expected '1x1'"),
        (lambda text: text.replace(",28x28", "", 1), "line 1, column 785 is '', expected '28x28'"),
        (lambda text: text.replace("28x28", "28x28,more", 1), "column 786 is 'more', expected ''"),
        (lambda text: text.replace("\n", ",0" * 10**6 + "\n", 1), "column 786 is '0', expected ''"),
        (lambda text: text.replace(",", ";"), "line 1, column 1 is 'label;1x1;1x2"),
        (lambda text: text.replace("\n0,0", "\n0", 1), "line 2 has 784 cells, expected 785"),
        (lambda text: text.replace("\n0,0", "\n0,0,0", 1), "line 2 has 786 cells, expected 785"),
        (
            lambda text: text.replace("\n", ",0\n").replace("28x28,0", "28x28", 1),
            "line 2 has 786 cells, expected 785",
        ),
        (lambda text: text.replace("\n0,0", "\n\n0,0", 1), "line 2 has 1 cells, expected 785"),
        (lambda text: text.replace("\n0,0", "\n0" + ",0" * 10**5, 1), "line 2 has 100784 cells"),
        (lambda text: text.split("\n", 1)[0] + "\n" * 10**6, "line 2 has 1 cells, expected 785"),
        (lambda text: text[:-5] + "\n", "line 101 has 783 cells, expected 785"),
        (lambda text: text[:5000] + "\0" * 5000, "file is truncated"),
        (lambda text: text.replace("\n", "\r"), "line 1, column 785 is '28x28\\r0"),
        (lambda text: text[:-1], "line 101: file is truncated"),
        (lambda text: text + "9" * (1 << 24), "line 102 has over 4194304 bytes"),
    ],
)
def test_bad_shape_is_named(path: Path, change: Callable[[str], str], message: str) -> None:
    path.write_text(change(path.read_text()))
    with pytest.raises(UserError, match=r"digits.csv: ") as caught:
        table.read(path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("encode", "message"),
    [
        (lambda text: gzip.compress(text.encode(), mtime=0), r"line 1, column 1 is '\\x1f\\x8b"),
        (lambda text: text.encode("utf-16"), r"line 1, column 1 is 'ÿþl\\x00a"),
    ],
)
def test_another_encoding_is_named(
    path: Path, encode: Callable[[str], bytes], message: str
) -> None:
    path.write_bytes(encode(path.read_text()))
    with pytest.raises(UserError, match=rf"digits.csv: {message}.*', expected 'label'"):
        table.read(path)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (Path.mkdir, "Is a directory"),
        (lambda path: path.symlink_to(path), "Too many levels of symbolic links"),
    ],
)
def test_what_is_no_file_is_named(
    tmp_path: Path, make: Callable[[Path], None], reason: str
) -> None:
    make(tmp_path / "digits.csv")
    with pytest.raises(OSError, match=f"{reason}: '.*digits.csv'"):
        table.read(tmp_path / "digits.csv")


def test_a_file_that_may_not_be_read_is_named(path: Path) -> None:
    path.chmod(0)
    user = os.geteuid()
    if user == 0:  # who may read everything
        os.seteuid(65534)
    try:
        with pytest.raises(PermissionError, match=r"Permission denied: '.*digits.csv'"):
            table.read(path)
    finally:
        os.seteuid(user)


@given(
    edits=st.lists(
        st.tuples(
            st.integers(-120, -1),
            st.integers(0, 3) | st.integers(0, 240),
            st.text('0123456789:/,\n\r-."eE x\0', max_size=5).map(str.encode) | st.binary(),
        ),
        max_size=3,
    ),
)
def test_any_bytes_are_read_as_pandas_reads_them_or_refused_in_one_line(
    narrow: Path, edits: list[tuple[int, int, bytes]]
) -> None:
    content = b"".join(narrow.read_bytes().splitlines(keepends=True)[:3])
    for start, length, new in edits:
        content = content[:start] + new + content[start:][length:]
    damaged = narrow.with_name("damaged.csv")
    damaged.write_bytes(content)
    found: list[table.Chunk] = []
    message = refusal(lambda: found.append(table.read(damaged)))
    if message:
        assert message.startswith(f"{damaged}: ")
        assert message.isprintable()
    else:
        labels, images = found[0]
        theirs = pd.read_csv(damaged, dtype={"label": str}, keep_default_na=False)
        assert (theirs["label"] == labels).all()
        assert (theirs.iloc[:, 1:] == images).all(axis=None)
