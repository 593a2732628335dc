"""The IDX format, checked against torchvision's reader."""

import io
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.digits import Digits
from helpers.errors import refusal
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torchvision.datasets.mnist import (
    read_image_file,
    read_label_file,
    read_sn3_pascalvincent_tensor,
)

from autoencoder.base.errors import UserError
from autoencoder.data import idx

FIVE = idx.encode(np.zeros(5, np.uint8))


def read(content: bytes, item: tuple[int, ...] = (), dtype: Any = np.uint8) -> NDArray[Any]:
    return idx.read(io.BytesIO(content), "file", item, dtype)


@pytest.mark.parametrize("block", [100, 1000, 1 << 22])
def test_round_trip(test_digits: Digits, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idx, "_CHUNK_BYTES", block)
    labels, images = test_digits
    assert (read(idx.encode(labels)) == labels).all()
    assert (read(idx.encode(images), (28, 28)) == images).all()
    wide = np.arange(-8, 8).astype(">i4").reshape(2, 8)
    assert (read(idx.encode(wide), (8,), ">i4") == wide).all()


def test_torchvision_reads_what_is_encoded(tmp_path: Path, test_digits: Digits) -> None:
    labels, images = test_digits
    wide = np.arange(-8, 8).astype(">i4").reshape(2, 8)
    for name, array in (("labels", labels), ("images", images), ("wide", wide)):
        (tmp_path / name).write_bytes(idx.encode(array))
    assert (read_label_file(str(tmp_path / "labels")).numpy() == labels).all()
    assert (read_image_file(str(tmp_path / "images")).numpy() == images).all()
    assert (read_sn3_pascalvincent_tensor(str(tmp_path / "wide")).numpy() == wide).all()


@pytest.mark.parametrize(
    ("content", "item", "message"),
    [
        (b"", (), "starts with nothing, expected 00 00 08 01: not an IDX file"),
        (b"\x1f\x8b\x08\x00rest", (), "starts with 1f 8b 08 00, expected 00 00 08 01"),
        (FIVE, (28, 28), "starts with 00 00 08 01, expected 00 00 08 03"),
        (FIVE[:-1], (), "ends after 4 items, expected 5 as in its header"),
        (FIVE + b"x", (), "trailing data after 5 items"),
        (b"\0\0\x08\x03\0\0\0\x02\0\0", (28, 28), r"shape \(2, 0, 0\), expected \(n, 28, 28\)"),
        (b"\0\0\x08\x03" + b"\xff" * 20, (28, 28), r"shape \(4294967295, .*expected \(n, 28, 28\)"),
        (
            b"\0\0\x08\x01" + bytes(4),
            (),
            r"shape \(0,\), expected \(n,\) with at least one element",
        ),
        (b"\0\0\x08\x02\0\0\0\x02" + bytes(4), (0,), r"shape \(2, 0\), .* at least one element"),
        (b"\0\0\x08\x01" + b"\xff" * 20, (), "ends after 16 items, expected 4294967295"),
    ],
)
def test_damage_is_named(content: bytes, item: tuple[int, ...], message: str) -> None:
    with pytest.raises(UserError, match=f"^file: {message}.*; delete it and run"):
        read(content, item)


@given(
    labels=st.booleans(),
    edits=st.lists(st.tuples(st.integers(0, 20), st.integers(0, 9), st.binary(max_size=9))),
    length=st.none() | st.integers(0, 30),
)
def test_a_mutated_file_is_read_as_torchvision_reads_it_or_refused_in_one_line(
    tmp_path: Path, labels: bool, edits: list[tuple[int, int, bytes]], length: int | None
) -> None:
    item = () if labels else (3, 1)
    content = idx.encode(np.arange(6, dtype=np.uint8).reshape(-1, *item))
    for start, removed, new in edits:
        content = content[:start] + new + content[start + removed :]
    content = content[:length]
    tracemalloc.start()
    message = refusal(lambda: read(content, item))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 23
    if message:
        assert message.startswith("file: ")
        assert message.isprintable()
    else:
        (tmp_path / "mutated").write_bytes(content)
        theirs = read_sn3_pascalvincent_tensor(str(tmp_path / "mutated")).numpy()
        assert read(content, item).tolist() == theirs.tolist()
