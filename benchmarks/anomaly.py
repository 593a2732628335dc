"""How well the BCE separates images of another kind: `make anomaly OTHER=other.csv`.

The network reconstructs images like its training images better than others, so the BCE of an image
is an anomaly score. Measured on the test table and on images of another data set, which the network
has never seen.
"""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from autoencoder.base.cli import make_parser, run
from autoencoder.base.files import atomic_write
from autoencoder.data.user_data import iter_images
from autoencoder.network.metrics import per_image_losses
from autoencoder.network.model import Autoencoder

MODEL, TEST = Path("models/autoencoder.safetensors"), Path("data/test.csv")
REPORT = Path(__file__).with_suffix(".csv")


def auroc(normal: NDArray[np.float64], anomalous: NDArray[np.float64]) -> float:
    """Compute the area under the receiver operating characteristic of a score.

    It is the probability that a random anomalous case scores higher than a random normal one, ties
    counting half (Hanley and McNeil, "The meaning and use of the area under a receiver operating
    characteristic (ROC) curve", 1982): the Mann-Whitney U statistic (1947) divided by the number of
    pairs, computed from ranks, averaged over ties.

    Parameters
    ----------
    normal, anomalous : float64 arrays of shapes (n,) and (m,)
        Scores, higher for more anomalous cases.

    Returns
    -------
    float
        1/2 for a useless score, 1 for a perfect one.
    """
    ranks = pd.Series(np.concatenate([normal, anomalous])).rank().to_numpy()
    u = ranks[len(normal) :].sum() - len(anomalous) * (len(anomalous) + 1) / 2
    return float(u / (len(normal) * len(anomalous)))


def scores(model: Autoencoder, path: Path) -> pd.DataFrame:
    """Compute the BCE and the mean grey value, in 0..1, of each image of a table or of pictures."""
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
    """Score both; write how well the BCE and, for comparison, the brightness separates them."""
    parser = make_parser(__doc__)
    parser.add_argument("other", type=Path, help="table or pictures of another kind")
    other = parser.parse_args().other
    model = Autoencoder.load(MODEL)
    normal, anomalous = scores(model, TEST), scores(model, other)
    area = {name: auroc(normal[name].to_numpy(), anomalous[name].to_numpy()) for name in normal}
    report = {
        "other": other.stem,
        "rows": len(anomalous),
        "bce": round(float(normal["bce"].mean()), 5),
        "bce_other": round(float(anomalous["bce"].mean()), 5),
        "auroc": round(area["bce"], 6),
        "auroc_grey": round(area["grey"], 6),
    }
    with atomic_write(REPORT) as partial:
        pd.DataFrame([report]).to_csv(partial, index=False)
    logging.getLogger(__name__).info("%s", report)


if __name__ == "__main__":
    run(main)
