"""The AUROC of anomaly scores."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.anomaly import auroc

SCORES = st.lists(st.integers(0, 9) | st.floats(-1, 1), min_size=1, max_size=30)


@given(normal=SCORES, anomalous=SCORES)
def test_auroc_is_the_share_of_pairs_in_order(normal: list[float], anomalous: list[float]) -> None:
    pairs = [(a, b) for a in normal for b in anomalous]
    share = sum(1.0 if a < b else 0.5 if a == b else 0.0 for a, b in pairs) / len(pairs)
    assert auroc(np.array(normal, float), np.array(anomalous, float)) == pytest.approx(
        share, rel=1e-12
    )
