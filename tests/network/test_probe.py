"""The linear classifier on codes."""

import numpy as np
import pytest
import torch

from autoencoder.network.metrics import probe_accuracy

rng = np.random.default_rng(0)
CENTRES = np.array([[0.2, 0.2], [0.8, 0.2], [0.5, 0.8]])
LABELS = np.tile(np.array(["a", "b", "c"]), 200)
POINTS = CENTRES[np.tile([0, 1, 2], 200)] + rng.normal(0, 0.02, (600, 2))

CODES = torch.from_numpy(POINTS)


def test_classes_apart_are_told_apart_and_shuffled_ones_are_not() -> None:
    batches = [CODES[:250], CODES[250:]]
    assert probe_accuracy(batches, LABELS, [CODES], LABELS) == 1
    shuffled = rng.permutation(LABELS)
    assert 0.2 < probe_accuracy(batches, shuffled, [CODES], shuffled) < 0.5


def test_it_is_least_squares_on_one_hot_labels() -> None:
    noisy = POINTS + rng.normal(0, 0.2, POINTS.shape)
    rows = np.column_stack([noisy, np.ones(600)])
    one_hot = (LABELS[:, None] == np.array(["a", "b", "c"])).astype(float)
    expected = (rows @ np.linalg.lstsq(rows[:300], one_hot[:300])[0]).argmax(1)[300:]
    accuracy = (np.array(["a", "b", "c"])[expected] == LABELS[300:]).mean()
    fitted, classified = torch.from_numpy(noisy).split(300)
    found = probe_accuracy([fitted], LABELS[:300], [classified], LABELS[300:])
    assert found == accuracy < 1


def test_codes_that_depend_on_each_other_are_no_obstacle() -> None:
    many = CODES.tile(20)
    assert probe_accuracy([many], LABELS, [many], LABELS) == 1


def test_labels_that_were_never_seen_are_wrong() -> None:
    unseen = np.where(LABELS == "c", "d", LABELS)
    assert probe_accuracy([CODES], LABELS, [CODES], unseen) == pytest.approx(2 / 3)
