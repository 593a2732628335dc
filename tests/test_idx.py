"""The IDX format, held against torchvision's reader."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from conftest import Digits, refusal
from hypothesis import given
from hypothesis import strategies as st
from torchvision.datasets.mnist import (
    read_image_file,
    read_label_file,
    read_sn3_pascalvincent_tensor,
)

from stages import InputError, idx


def test_round_trip(tmp_path: Path, test_digits: Digits) -> None:
    for array in test_digits:
        (tmp_path / "file").write_bytes(idx.encode(array))
        assert (idx.read(tmp_path / "file") == array).all()


def test_torchvision_reads_what_is_encoded(tmp_path: Path, test_digits: Digits) -> None:
    labels, images = test_digits
    (tmp_path / "labels").write_bytes(idx.encode(labels))
    (tmp_path / "images").write_bytes(idx.encode(images))
    assert (read_label_file(str(tmp_path / "labels")).numpy() == labels).all()
    assert (read_image_file(str(tmp_path / "images")).numpy() == images).all()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "starts with nothing, expected 00 00 08 and 01 to 03"),
        (b"\x1f\x8b\x08\x00rest", "starts with 1f 8b 08 00, expected 00 00 08"),
        (idx.encode(np.zeros(5, np.uint8))[:-1], r"12 bytes, expected 13 from its header \(5,\)"),
        (idx.encode(np.zeros(5, np.uint8)) + b"x", r"14 bytes, expected 13 from its header"),
        (b"\0\0\x08\x03\0\0\0\x02\0\0", "10 bytes, expected"),
        (b"\0\0\x08\x03" + b"\xff" * 20, "24 bytes, expected"),
        (b"\0\0\x08\xff" + b"\xff" * 20, "starts with 00 00 08 ff, expected 00 00 08 and 01"),
        (b"\0\0\x08\x00" + b"x", "starts with 00 00 08 00, expected 00 00 08 and 01"),
        (
            b"\0\0\x08\x03" + bytes(4) + b"\xff" * 8,
            r"shape \(0, 4294967295, .*at least one element",
        ),
    ],
)
def test_damage_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "damaged"
    path.write_bytes(content)
    with pytest.raises(InputError, match=f"damaged: {message}"):
        idx.read(path)


def test_a_long_file_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "long"
    path.write_bytes(idx.encode(np.zeros((5, 28, 28), np.uint8)))
    with path.open("ab") as file:
        file.truncate(1 << 40)  # takes no room on the disk
    with pytest.raises(InputError, match="1099511627776 bytes, expected 3936 from its header"):
        idx.read(path)


@given(
    labels=st.booleans(),
    edits=st.lists(st.tuples(st.integers(0, 20), st.integers(0, 9), st.binary(max_size=9))),
    length=st.none() | st.integers(0, 30),
)
def test_a_mutated_file_is_read_as_torchvision_reads_it_or_refused_in_one_line(
    tmp_path: Path, labels: bool, edits: list[tuple[int, int, bytes]], length: int | None
) -> None:
    content = idx.encode(np.arange(6, dtype=np.uint8).reshape(6 if labels else (2, 3, 1)))
    for start, removed, new in edits:
        content = content[:start] + new + content[start + removed :]
    path = tmp_path / "mutated"
    path.write_bytes(content[:length])
    tracemalloc.start()
    message = refusal(lambda: idx.read(path))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20
    if message:
        assert message.startswith(f"{path}: ")
        assert message.isprintable()
    else:
        theirs = read_sn3_pascalvincent_tensor(str(path)).numpy()
        assert idx.read(path).tolist() == theirs.tolist()
