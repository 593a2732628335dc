"""The linear classifier on codes."""

import numpy as np
import pytest
from numpy.typing import NDArray
from torch import Tensor

from autoencoder.data.table import Chunk
from autoencoder.network import metrics
from autoencoder.network.metrics import probe_accuracy

rng = np.random.default_rng(0)
CENTRES = np.array([[50, 50], [200, 50], [125, 200]])
LABELS = np.tile(np.array(["a", "b", "c"]), 200)


def scattered(deviation: float) -> NDArray[np.uint8]:
    """Points around the centre of each label."""
    points: NDArray[np.float64] = CENTRES[np.tile([0, 1, 2], 200)] + rng.normal(
        0, deviation, (600, 2)
    )
    return np.clip(points, 0, 255).astype(np.uint8)


POINTS = scattered(5)


def unit(points: Tensor) -> Tensor:
    return points.double() / 255


def test_classes_apart_are_told_apart_and_shuffled_ones_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(metrics, "_BATCH", 250)
    chunk = Chunk(LABELS, POINTS)
    assert probe_accuracy(unit, chunk, chunk) == 1
    shuffled = Chunk(rng.permutation(LABELS), POINTS)
    assert 0.2 < probe_accuracy(unit, shuffled, shuffled) < 0.5


def test_it_is_least_squares_on_one_hot_labels() -> None:
    noisy = scattered(50)
    rows = np.column_stack([noisy / 255, np.ones(600)])
    one_hot = (LABELS[:, None] == np.array(["a", "b", "c"])).astype(float)
    expected = (rows @ np.linalg.lstsq(rows[:300], one_hot[:300])[0]).argmax(1)[300:]
    accuracy = (np.array(["a", "b", "c"])[expected] == LABELS[300:]).mean()
    fitted, classified = Chunk(LABELS[:300], noisy[:300]), Chunk(LABELS[300:], noisy[300:])
    assert probe_accuracy(unit, fitted, classified) == accuracy < 1


def test_codes_that_depend_on_each_other_are_no_obstacle() -> None:
    chunk = Chunk(LABELS, POINTS)
    assert probe_accuracy(lambda points: unit(points).tile(20), chunk, chunk) == 1


def test_labels_that_were_never_seen_are_wrong() -> None:
    unseen = Chunk(np.where(LABELS == "c", "d", LABELS), POINTS)
    assert probe_accuracy(unit, Chunk(LABELS, POINTS), unseen) == pytest.approx(2 / 3)
