"""How well the BCE separates images of another kind, which the network has never seen.

The network reconstructs images like its training images better than others, so the BCE of an image
is an anomaly score. The mean grey value of an image serves as a comparison.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from autoencoder.data import table
from autoencoder.network.metrics import per_image_losses
from autoencoder.network.model import Autoencoder
from benchmarks.measuring import DATA, MODEL, Row, UnavailableError

Scores = NDArray[np.float64]


def auroc(normal: Scores, anomalous: Scores) -> float:
    """Compute the area under the receiver operating characteristic of a score.

    It is the probability that a random anomalous case scores higher than a random normal one, ties
    counting half (Hanley and McNeil, "The meaning and use of the area under a receiver operating
    characteristic curve", 1982).
    """
    from scipy.stats import mannwhitneyu  # half a second, which no other benchmark needs

    u = mannwhitneyu(anomalous, normal, method="asymptotic").statistic
    return float(u / (len(normal) * len(anomalous)))


def scores(model: Autoencoder, path: Path) -> tuple[Scores, Scores]:
    """Compute the BCE and the mean grey value of each image of a table."""
    _, images = table.read(path)
    bce, _ = per_image_losses(model, torch.from_numpy(images))
    return bce.numpy(), images.mean(1)


def measure(other: Path) -> Iterator[Row]:
    """Score the test images and those of another table."""
    if not other.exists():
        raise UnavailableError(f"{other}: no such file, expected a table of images")
    model = Autoencoder.load(MODEL)
    bce, grey = scores(model, DATA / "test.csv")
    other_bce, other_grey = scores(model, other)
    yield Row(f"BCE of the {len(bce):,} test images", f"{bce.mean():.5f}")
    yield Row(f"BCE of the {len(other_bce):,} images of {other.stem}", f"{other_bce.mean():.5f}")
    yield Row("AUROC of the BCE", f"{auroc(bce, other_bce):.6f}")
    yield Row("AUROC of the mean grey value", f"{auroc(grey, other_grey):.6f}")
