"""Score the trained autoencoder on the test table, beside what it can be compared with."""

import json
import logging
from collections.abc import Iterator

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from autoencoder.errors import UserError
from autoencoder.data import table
from autoencoder.network.model import Autoencoder, errors
from autoencoder.cli import parse, run
from autoencoder.files import replacing

log = logging.getLogger(__name__)

# Images handled at a time, to bound the memory that copies in wider types take.
_ROWS = 5000


def _parts(images: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    """Go through images `_ROWS` at a time."""
    return (images[start : start + _ROWS] for start in range(0, len(images), _ROWS))


def cross_entropy(target: NDArray[np.float64], guess: NDArray[np.float64]) -> float:
    """Binary cross-entropy, natural logarithm, mean over all elements.

    Parameters
    ----------
    target, guess : float64 arrays that broadcast to one shape
        Between 0 and 1. As in PyTorch's BCELoss, a logarithm is no less than -100.
    """
    with np.errstate(divide="ignore"):
        log_guess, log_rest = np.log(guess).clip(-100), np.log1p(-guess).clip(-100)
    return float(-np.mean(target * log_guess + (1 - target) * log_rest))


def entropy(images: NDArray[np.uint8]) -> float:
    """Mean entropy of the pixels: the BCE of images with themselves, which no reconstruction beats.

    Parameters
    ----------
    images : uint8 array of shape (n, 784)
    """
    counts = sum(np.bincount(part.ravel(), minlength=256) for part in _parts(images))
    p = np.arange(256) / 255
    q = 1 - p
    with np.errstate(divide="ignore", invalid="ignore"):
        of_value = np.nan_to_num(-p * np.log(p)) + np.nan_to_num(-q * np.log(q))
    return float(counts @ of_value / images.size)


def pca_mse(train: NDArray[np.uint8], test: NDArray[np.uint8], components: int) -> float:
    """Mean squared error of the best linear code of the same size, fitted on other images.

    The principal components are the leading eigenvectors of the covariance of the pixels (Bourlard
    and Kamp, "Auto-association by multilayer perceptrons", 1988: no linear autoencoder does better
    on the images it was fitted to).

    Parameters
    ----------
    train, test : uint8 arrays of shapes (n, 784) and (m, 784)
        Images to fit, and to reconstruct.
    components : int
        Size of the code; from 784 on the error is 0.

    Returns
    -------
    float
        Mean over the test images and pixels, grey values in 0..1.
    """
    mean = train.mean(0) / 255
    centred = (part / 255 - mean for part in _parts(train))
    covariance = sum(part.T @ part for part in centred)
    _, vectors = np.linalg.eigh(covariance)  # ascending: the last ones lead
    rest = vectors[:, : max(0, len(mean) - components)]
    squares = sum(np.square((part / 255 - mean) @ rest).sum() for part in _parts(test))
    return float(squares / test.size)


def score(
    model: Autoencoder, train: NDArray[np.uint8], test: NDArray[np.uint8]
) -> tuple[dict[str, float], NDArray[np.float64]]:
    """Score a model.

    Parameters
    ----------
    model : Autoencoder
        On the CPU.
    train, test : uint8 arrays of shapes (n, 784) and (m, 784)

    Returns
    -------
    metrics : dict of str to float
        What README's table of metrics explains.
    bce : float64 array of shape (m,)
        BCE of each test image, mean over its pixels.

    Raises
    ------
    UserError
        If the model is no better than the mean training image in place of every reconstruction.
    """
    bce_train, _ = errors(model, torch.from_numpy(train))
    bce, mse = errors(model, torch.from_numpy(test))
    floor = entropy(test)
    metrics = {
        "bce": bce.mean().item(),
        "bce_train": bce_train.mean().item(),
        "bce_gap": (bce.mean() - bce_train.mean()).item(),
        "bce_floor": floor,
        "bce_excess": bce.mean().item() - floor,
        "bce_mean_image": cross_entropy(test.mean(0) / 255, train.mean(0) / 255),
        "mse": mse.mean().item(),
        "mse_pca": pca_mse(train, test, model.z_size),
    }
    if not metrics["bce"] < metrics["bce_mean_image"]:
        raise UserError(
            f"the model's test BCE is {metrics['bce']:.5f}, no better than the "
            f"{metrics['bce_mean_image']:.5f} of the mean training image: it has learned nothing; "
            "train longer, or with another learning_rate"
        )
    return metrics, bce.numpy()


def main() -> None:
    """Read the model and the tables; score; write the metrics and the BCE of each class."""
    paths, _ = parse(
        __doc__,
        reads={
            "model": "the trained network, safetensors",
            "train": "training table, CSV",
            "test": "test table, CSV",
        },
        writes={
            "metrics": "scores, JSON",
            "classes": "test BCE by class, CSV: label, images, bce",
        },
    )
    model = Autoencoder.load(paths.model)
    _, train = table.read(paths.train)
    labels, test = table.read(paths.test)
    metrics, bce = score(model, train, test)
    with replacing(paths.metrics) as partial:
        rounded = {name: round(value, 6) for name, value in metrics.items()}
        partial.write_text(json.dumps(rounded, indent=2) + "\n")
    by_class = pd.DataFrame({"label": labels, "bce": bce}).groupby("label")["bce"]
    classes = by_class.agg(images="size", bce="mean").reindex(labels[table.first_of_each(labels)])
    with replacing(paths.classes) as partial:
        classes.to_csv(partial, float_format="%.6f")
    log.info(
        "test BCE %.5f (floor %.5f, mean image %.5f); MSE %.5f (PCA %.5f)",
        *(metrics[name] for name in ("bce", "bce_floor", "bce_mean_image", "mse", "mse_pca")),
    )


if __name__ == "__main__":
    run(main)
