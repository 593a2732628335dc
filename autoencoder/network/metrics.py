"""Scores of a network, and the baselines to compare them with."""

import logging
from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the name used in PyTorch's documentation
from numpy.typing import NDArray
from torch import Tensor

from autoencoder.base.errors import UserError
from autoencoder.data.table import Chunk
from autoencoder.network.model import Autoencoder, to_unit_range
from autoencoder.network.probe import probe_accuracy

log = logging.getLogger(__name__)

# Images per batch, which bounds the memory for activations and for copies in wider types.
_BATCH = 1000
_NUMPY_BATCH = 5000

Components = tuple[NDArray[np.float64], NDArray[np.float64]]


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
    return float(counts @ _grey_entropies() / images.size)


def per_image_entropies(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Compute the mean entropy of the pixels of each image, natural logarithm.

    Parameters
    ----------
    images : uint8 array of shape (n, 784)
    """
    entropies: NDArray[np.float64] = _grey_entropies()[images].mean(1)
    return entropies


def _grey_entropies() -> NDArray[np.float64]:
    """Return the entropy of each grey value, 0..255, as a probability of white; shape (256,)."""
    p = np.arange(256) / 255
    q = 1 - p
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.nan_to_num(-p * np.log(p)) + np.nan_to_num(-q * np.log(q))


def principal_components(images: NDArray[np.uint8]) -> Components:
    """Compute the mean and the principal components of images.

    Parameters
    ----------
    images : uint8 array of shape (n, 784)

    Returns
    -------
    mean : float64 array of shape (784,)
        Grey values in 0..1.
    components : float64 array of shape (784, 784)
        Eigenvectors of the covariance, in columns, the leading one first.
    """
    mean = images.mean(0) / 255
    centred = (batch / 255 - mean for batch in _batches(images))
    covariance = sum(batch.T @ batch for batch in centred)
    _, vectors = np.linalg.eigh(covariance)  # ascending
    return mean, np.ascontiguousarray(vectors[:, ::-1])


def pca_mse(pca: Components, images: NDArray[np.uint8], size: int) -> float:
    """Compute the mean squared error of PCA, the best linear code of the same size.

    No linear autoencoder does better on the images it was fitted to (Bourlard and Kamp,
    "Auto-association by multilayer perceptrons", 1988).

    Parameters
    ----------
    pca : tuple of mean and components
        Of the training images, see `principal_components`.
    images : uint8 array of shape (n, 784)
        Test images.
    size : int
        Size of the code; from 784 on the error is 0.

    Returns
    -------
    float
        Mean over the images and pixels, grey values in 0..1.
    """
    mean, components = pca
    dropped = components[:, size:]
    squares = sum(np.square((batch / 255 - mean) @ dropped).sum() for batch in _batches(images))
    return float(squares / images.size)


def probe_accuracies(
    model: Autoencoder, pca: Components, train: Chunk, test: Chunk
) -> dict[str, float]:
    """Compute the accuracy of a linear classifier on latent codes, and on PCA codes.

    Parameters
    ----------
    model : Autoencoder
        On the CPU.
    pca : tuple of mean and components
        Of the training images, see `principal_components`.
    train, test : tuples of labels, str arrays of shape (n,), and images, uint8 (n, 784)

    Returns
    -------
    dict of str to float
        probe_accuracy and probe_accuracy_pca, 0..1; empty if all training labels are the same, or
        none of them is a test label, which is logged.
    """
    classes = np.unique(train.labels)
    if len(classes) < 2:
        return {}
    if not np.isin(classes, test.labels).any():
        log.warning("no probe_accuracy: the training and the test table have no label in common")
        return {}
    mean, components = map(torch.from_numpy, pca)
    kept = components[:, : model.z_size]

    def latent(images: NDArray[np.uint8]) -> Iterator[Tensor]:
        with torch.no_grad():
            for batch in torch.from_numpy(images).split(_BATCH):
                yield model.encode(to_unit_range(batch)).double()

    def linear(images: NDArray[np.uint8]) -> Iterator[Tensor]:
        # By PyTorch: while NumPy and PyTorch take turns, their threads get in each other's way.
        for batch in torch.from_numpy(images).split(_BATCH):
            yield (batch.double() / 255 - mean) @ kept

    return {
        name: probe_accuracy(codes(train.images), train.labels, codes(test.images), test.labels)
        for name, codes in (("probe_accuracy", latent), ("probe_accuracy_pca", linear))
    }


def score(
    model: Autoencoder, train: Chunk, test: Chunk
) -> tuple[dict[str, float], NDArray[np.float64]]:
    """Score a model on the test images, next to its baselines.

    Parameters
    ----------
    model : Autoencoder
        On the CPU.
    train, test : tuples of labels, str arrays of shape (n,), and images, uint8 (n, 784)

    Returns
    -------
    metrics : dict of str to float
        The metrics that README lists.
    bce : float64 array of shape (m,)
        BCE of each test image, mean over its pixels.

    Raises
    ------
    UserError
        If the model is no better than the mean training image as every reconstruction, or all test
        images equal that image.
    """
    bce_train, _ = per_image_losses(model, torch.from_numpy(train.images))
    bce, mse = per_image_losses(model, torch.from_numpy(test.images))
    floor = entropy(test.images)
    pca = principal_components(train.images)
    metrics = {
        "bce": bce.mean().item(),
        "bce_train": bce_train.mean().item(),
        "bce_gap": (bce.mean() - bce_train.mean()).item(),
        "bce_floor": floor,
        "bce_excess": bce.mean().item() - floor,
        "bce_mean_image": cross_entropy(test.images.mean(0) / 255, train.images.mean(0) / 255),
        "mse": mse.mean().item(),
        "mse_pca": pca_mse(pca, test.images, model.z_size),
        **probe_accuracies(model, pca, train, test),
    }
    if metrics["bce_mean_image"] - floor < 1e-6:
        raise UserError(
            "all test images are the same as the mean training image, so that there is nothing to "
            "learn; check the data set"
        )
    if not metrics["bce"] < metrics["bce_mean_image"]:
        raise UserError(
            f"the model's test BCE is {metrics['bce']:.5f}, no better than the mean training image "
            f"({metrics['bce_mean_image']:.5f}): it has learned nothing; "
            "train longer or with a different learning_rate"
        )
    return metrics, bce.numpy()


def _batches(images: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    return (images[start : start + _NUMPY_BATCH] for start in range(0, len(images), _NUMPY_BATCH))
