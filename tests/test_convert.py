"""Raw files to tables: images and labels must belong together."""

from pathlib import Path

import numpy as np
import pytest
from conftest import Digits

from stages import InputError, idx
from stages.convert import read_pair


def test_pair_is_read_in_order(mirror: Path, test_digits: Digits) -> None:
    labels, images = read_pair(
        mirror / "t10k-images-idx3-ubyte", mirror / "t10k-labels-idx1-ubyte", 10
    )
    assert (labels == test_digits[0]).all()
    assert (images == test_digits[1]).all()


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        ((5, 28, 28), (4,), r"labels: shape \(4,\), expected .*: \(5,\)"),
        ((5, 28, 28), (5, 1), r"labels: shape \(5, 1\), expected .*: \(5,\)"),
        ((5,), (5, 28, 28), r"images: shape \(5,\), expected images of 28x28"),
        ((5, 32, 32), (5,), r"images: shape \(5, 32, 32\), expected images of 28x28"),
    ],
)
def test_what_does_not_belong_together_is_named(
    tmp_path: Path, images: tuple[int, ...], labels: tuple[int, ...], message: str
) -> None:
    for name, shape in (("images", images), ("labels", labels)):
        (tmp_path / name).write_bytes(idx.encode(np.zeros(shape, np.uint8)))
    with pytest.raises(InputError, match=message):
        read_pair(tmp_path / "images", tmp_path / "labels", 10)


def test_a_label_that_is_no_class_is_named(mirror: Path) -> None:
    images, labels = mirror / "t10k-images-idx3-ubyte", mirror / "t10k-labels-idx1-ubyte"
    with pytest.raises(InputError, match=r"labels-idx1-ubyte: label 10 is 9, expected 0\.\.8"):
        read_pair(images, labels, 9)
