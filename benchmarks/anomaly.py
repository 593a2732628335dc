"""Does the BCE tell images of another kind from those learned? `make anomaly OTHER=other.csv`.

The network reconstructs what it has learned better than anything else, so that the BCE of an image
and its reconstruction is a score of how odd the image is. Measured on the test table and on images
of another data set, which the network has never seen.
"""

import logging
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from autoencoder.cli import run
from autoencoder.data.user_data import iter_images
from autoencoder.files import atomic_write
from autoencoder.network.metrics import per_image_losses
from autoencoder.network.model import Autoencoder

MODEL, TEST = Path("models/autoencoder.safetensors"), Path("data/test.csv")
REPORT = Path(__file__).with_suffix(".csv")


def auroc(usual: NDArray[np.float64], odd: NDArray[np.float64]) -> float:
    """Area under the receiver operating characteristic of a score.

    It is the probability that an odd case drawn at random scores higher than a usual one, a tie
    counting half (Hanley and McNeil, "The meaning and use of the area under a receiver operating
    characteristic (ROC) curve", 1982): Mann and Whitney's U of the odd ones, 1947, out of all
    pairs, computed from ranks, which ties share.

    Parameters
    ----------
    usual, odd : float64 arrays of shapes (n,) and (m,)
        Scores, the higher the odder.

    Returns
    -------
    float
        1/2 for a score that tells nothing, 1 for one that tells all.
    """
    ranks = pd.Series(np.concatenate([usual, odd])).rank().to_numpy()
    u = ranks[len(usual) :].sum() - len(odd) * (len(odd) + 1) / 2
    return float(u / (len(usual) * len(odd)))


def scores(model: Autoencoder, path: Path) -> pd.DataFrame:
    """Score each image of a table or of pictures: its BCE, and its mean grey value in 0..1."""
    parts = [
        pd.DataFrame(
            {
                "bce": per_image_losses(model, torch.from_numpy(images))[0],
                "grey": images.mean(1) / 255,
            }
        )
        for _, images in iter_images(path)
    ]
    return pd.concat(parts, ignore_index=True)


def main() -> None:
    """Score both; write how well the BCE tells them apart, and how well brightness alone does."""
    other = Path(sys.argv[1])
    model = Autoencoder.load(MODEL)
    usual, odd = scores(model, TEST), scores(model, other)
    area = {name: auroc(usual[name].to_numpy(), odd[name].to_numpy()) for name in usual}
    report = {
        "other": other.stem,
        "rows": len(odd),
        "bce": round(float(usual["bce"].mean()), 5),
        "bce_other": round(float(odd["bce"].mean()), 5),
        "auroc": round(area["bce"], 6),
        "auroc_grey": round(area["grey"], 6),
    }
    with atomic_write(REPORT) as partial:
        pd.DataFrame([report]).to_csv(partial, index=False)
    logging.getLogger(__name__).info("%s", report)


if __name__ == "__main__":
    run(main)
