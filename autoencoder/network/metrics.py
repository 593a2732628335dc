"""Scores of a network, and the baselines to compare them with."""

from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the name used in PyTorch's documentation
from numpy.typing import NDArray
from torch import Tensor

from autoencoder.errors import UserError
from autoencoder.network.model import Autoencoder, to_unit_range

# Images per batch, which bounds the memory for activations and for copies in wider types.
_BATCH = 1000
_NUMPY_BATCH = 5000


@torch.no_grad()
def per_image_losses(model: Autoencoder, images: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the reconstruction losses of each image.

    Parameters
    ----------
    model : Autoencoder
    images : uint8 tensor of shape (n, 784)
        Grey values, 0 black to 255 white, on the model's device.

    Returns
    -------
    bce : float64 tensor of shape (n,), on the CPU
        Binary cross-entropy of the grey values and the reconstruction, natural logarithm, mean over
        pixels.
    mse : float64 tensor of shape (n,), on the CPU
        Squared difference between grey values and reconstruction, both in 0..1, mean over pixels.
    """
    # Allocated once: small tensors kept from each batch would end up between the large temporary
    # ones and keep their memory from being reused (gigabytes for all of EMNIST).
    bce, mse = torch.empty(2, len(images), dtype=torch.float64)
    batches = (tensor.split(_BATCH) for tensor in (images, bce, mse))
    for batch, batch_bce, batch_mse in zip(*batches, strict=True):
        x = to_unit_range(batch)
        logits = model(x)
        cross_entropies = F.binary_cross_entropy_with_logits(logits, x, reduction="none")
        batch_bce.copy_(cross_entropies.mean(1))
        batch_mse.copy_((torch.sigmoid(logits) - x).square().mean(1))
    return bce, mse


def cross_entropy(target: NDArray[np.float64], prediction: NDArray[np.float64]) -> float:
    """Compute the binary cross-entropy, natural logarithm, mean over all elements.

    Parameters
    ----------
    target, prediction : float64 arrays that broadcast to one shape
        Between 0 and 1. As in PyTorch's BCELoss, logarithms are clamped to at least -100.
    """
    with np.errstate(divide="ignore"):
        log_p, log_q = np.log(prediction).clip(-100), np.log1p(-prediction).clip(-100)
    return float(-np.mean(target * log_p + (1 - target) * log_q))


def entropy(images: NDArray[np.uint8]) -> float:
    """Compute the mean entropy of the pixels, the lower bound of the BCE of any reconstruction.

    Parameters
    ----------
    images : uint8 array of shape (n, 784)
    """
    counts = sum(np.bincount(batch.ravel(), minlength=256) for batch in _batches(images))
    p = np.arange(256) / 255
    q = 1 - p
    with np.errstate(divide="ignore", invalid="ignore"):
        entropies = np.nan_to_num(-p * np.log(p)) + np.nan_to_num(-q * np.log(q))
    return float(counts @ entropies / images.size)


def pca_mse(train: NDArray[np.uint8], test: NDArray[np.uint8], components: int) -> float:
    """Compute the mean squared error of PCA, the best linear code of the same size.

    The principal components are the leading eigenvectors of the covariance of the training pixels
    (Bourlard and Kamp, "Auto-association by multilayer perceptrons", 1988: no linear autoencoder
    does better on the images it was fitted to).

    Parameters
    ----------
    train, test : uint8 arrays of shapes (n, 784) and (m, 784)
        Images to fit, and images to reconstruct.
    components : int
        Size of the code; from 784 on the error is 0.

    Returns
    -------
    float
        Mean over the test images and pixels, grey values in 0..1.
    """
    mean = train.mean(0) / 255
    centred = (batch / 255 - mean for batch in _batches(train))
    covariance = sum(batch.T @ batch for batch in centred)
    _, vectors = np.linalg.eigh(covariance)  # ascending: the leading ones come last
    dropped = vectors[:, : max(0, len(mean) - components)]
    squares = sum(np.square((batch / 255 - mean) @ dropped).sum() for batch in _batches(test))
    return float(squares / test.size)


def score(
    model: Autoencoder, train: NDArray[np.uint8], test: NDArray[np.uint8]
) -> tuple[dict[str, float], NDArray[np.float64]]:
    """Score a model on the test images, next to its baselines.

    Parameters
    ----------
    model : Autoencoder
        On the CPU.
    train, test : uint8 arrays of shapes (n, 784) and (m, 784)

    Returns
    -------
    metrics : dict of str to float
        The metrics that README lists.
    bce : float64 array of shape (m,)
        BCE of each test image, mean over its pixels.

    Raises
    ------
    UserError
        If the model is no better than the mean training image as every reconstruction.
    """
    bce_train, _ = per_image_losses(model, torch.from_numpy(train))
    bce, mse = per_image_losses(model, torch.from_numpy(test))
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
            f"the model's test BCE is {metrics['bce']:.5f}, no better than the mean training image "
            f"({metrics['bce_mean_image']:.5f}): it has learned nothing; "
            "train longer or with a different learning_rate"
        )
    return metrics, bce.numpy()


def _batches(images: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    return (images[start : start + _NUMPY_BATCH] for start in range(0, len(images), _NUMPY_BATCH))
