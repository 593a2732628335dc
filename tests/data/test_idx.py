"""The IDX format, checked against torchvision's reader."""

import io
from pathlib import Path

import numpy as np
import pytest
from helpers.digits import Digits
from torchvision.datasets.mnist import (
    read_image_file,
    read_label_file,
    read_sn3_pascalvincent_tensor,
)

from autoencoder.data import idx

WIDE = np.arange(-800, 800).astype(">i4").reshape(200, 8)


@pytest.mark.parametrize("block", [1000, 1 << 22])
def test_round_trip(test_digits: Digits, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idx, "_CHUNK_BYTES", block)
    for array in (*test_digits, WIDE):
        chunks = list(idx.iter_chunks(io.BytesIO(idx.encode(array))))
        assert max(chunk.nbytes for chunk in chunks) <= block
        found = np.concatenate(chunks)
        assert np.array_equal(found, array)


def test_torchvision_reads_what_is_encoded(tmp_path: Path, test_digits: Digits) -> None:
    labels, images = test_digits
    for name, array in (("labels", labels), ("images", images), ("wide", WIDE)):
        (tmp_path / name).write_bytes(idx.encode(array))
    assert (read_label_file(str(tmp_path / "labels")).numpy() == labels).all()
    assert (read_image_file(str(tmp_path / "images")).numpy() == images).all()
    assert (read_sn3_pascalvincent_tensor(str(tmp_path / "wide")).numpy() == WIDE).all()
