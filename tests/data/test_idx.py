"""The IDX format."""

import io

import numpy as np
import pytest
from helpers.digits import Digits

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
