"""The IDX format, held against torchvision's reader."""

from pathlib import Path

import numpy as np
import pytest
from conftest import Digits
from torchvision.datasets.mnist import read_image_file, read_label_file

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
        (b"", "starts with nothing, expected 00 00 08"),
        (b"\x1f\x8b\x08\x00rest", "starts with 1f 8b 08 00, expected 00 00 08"),
        (idx.encode(np.zeros(5, np.uint8))[:-1], r"12 bytes, expected 13 from its header \(5,\)"),
        (idx.encode(np.zeros(5, np.uint8)) + b"x", r"14 bytes, expected 13 from its header"),
        (b"\0\0\x08\x03\0\0\0\x02\0\0", "10 bytes, expected"),
        (b"\0\0\x08\xff" + b"\xff" * 20, "24 bytes, expected"),
    ],
)
def test_damage_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "damaged"
    path.write_bytes(content)
    with pytest.raises(InputError, match=f"damaged: {message}"):
        idx.read(path)
