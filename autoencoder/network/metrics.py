"""Scores of a network, and the baselines to compare them with."""

import logging
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the name used in PyTorch's documentation
from numpy.typing import NDArray
from torch import Tensor

from autoencoder.base.errors import UserError
from autoencoder.data.table import Chunk
from autoencoder.network.model import Autoencoder, to_unit_range

log = logging.getLogger(__name__)

# Images per batch, which bounds the memory for activations and for copies in wider types.
_BATCH = 1000
_NUMPY_BATCH = 5000

# Added to the diagonal of the normal equations, relative to its mean, so that they can be solved
# when codes depend on each other.
_RIDGE = 1e-9

# Maps images, uint8 (n, 784), to codes, float64 (n, size).
Encoder = Callable[[Tensor], Tensor]


class PCA(NamedTuple):
    """The principal components of images, in columns, (784, 784), the leading one first.

    `mean`, (784,), is of grey values in 0..1.
    """

    mean: NDArray[np.float64]
    components: NDArray[np.float64]


@torch.no_grad()
def per_image_losses(model: Autoencoder, images: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the BCE and the MSE of each image's reconstruction.

    `images` is uint8, (n, 784), on the model's device. Both losses are float64, (n,), on the CPU:
    the binary cross-entropy of grey values in 0..1 and reconstruction, natural logarithm, and their
    squared difference, each a mean over pixels.
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


def entropy(images: NDArray[np.uint8]) -> float:
    """Compute the mean entropy of the pixels of images, uint8 (n, 784), natural logarithm.

    It is the lower bound of the BCE of any reconstruction.
    """
    counts = sum(np.bincount(batch.ravel(), minlength=256) for batch in _batches(images))
    return float(counts @ _grey_entropies() / images.size)


def per_image_entropies(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Compute the mean entropy of the pixels of each image, uint8 (n, 784), natural logarithm."""
    entropies: NDArray[np.float64] = _grey_entropies()[images].mean(1)
    return entropies


def _grey_entropies() -> NDArray[np.float64]:
    """Return the entropy of each grey value, 0..255, as a probability of white; shape (256,)."""
    p = np.arange(256) / 255
    q = 1 - p
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.nan_to_num(-p * np.log(p)) + np.nan_to_num(-q * np.log(q))


def principal_components(images: NDArray[np.uint8]) -> PCA:
    """Compute the principal components of images, uint8 (n, 784)."""
    mean = images.mean(0) / 255
    centred = (batch / 255 - mean for batch in _batches(images))
    covariance = sum(batch.T @ batch for batch in centred)
    _, vectors = np.linalg.eigh(covariance)  # ascending
    return PCA(mean, np.ascontiguousarray(vectors[:, ::-1]))


def pca_mse(pca: PCA, images: NDArray[np.uint8], size: int) -> float:
    """Compute the mean squared error of PCA with `size` components, grey values in 0..1.

    No linear autoencoder of that size does better on the images that the components were computed
    from (Bourlard and Kamp, "Auto-association by multilayer perceptrons", 1988). From 784
    components on, the error is 0.
    """
    dropped = pca.components[:, size:]
    squares = sum(np.square((batch / 255 - pca.mean) @ dropped).sum() for batch in _batches(images))
    return float(squares / images.size)


@torch.no_grad()
def probe_accuracies(model: Autoencoder, pca: PCA, train: Chunk, test: Chunk) -> dict[str, float]:
    """Compute the accuracy of a linear classifier on latent codes, and on PCA codes.

    The model is on the CPU, the images are (n, 784), and `pca` is that of the training images.
    Returns probe_accuracy and probe_accuracy_pca, 0..1, or nothing if all training labels are the
    same, or none of them is a test label, which is logged.
    """
    classes = np.unique(train.labels)
    if len(classes) < 2:
        return {}
    if not np.isin(classes, test.labels).any():
        log.warning("no probe_accuracy: the training and the test table have no label in common")
        return {}
    mean, components = map(torch.from_numpy, pca)
    kept = components[:, : model.z_size]
    encoders: dict[str, Encoder] = {
        "probe_accuracy": lambda images: model.encode(to_unit_range(images)).double(),
        # By PyTorch: while NumPy and PyTorch take turns, their threads get in each other's way.
        "probe_accuracy_pca": lambda images: (images.double() / 255 - mean) @ kept,
    }
    return {name: probe_accuracy(encode, train, test) for name, encode in encoders.items()}


def probe_accuracy(encode: Encoder, train: Chunk, test: Chunk) -> float:
    """Fit a linear classifier to the codes of training images; return its test accuracy.

    Least squares on one-hot labels, with an intercept; the class with the largest output is
    predicted (a linear probe: Alain and Bengio, "Understanding intermediate layers using linear
    classifier probes", 2016, there with cross-entropy).
    """
    classes, numbers = np.unique(train.labels, return_inverse=True)
    targets = torch.from_numpy(numbers).split(_BATCH)
    gram = products = torch.zeros(())
    for rows, target in zip(_rows(encode, train.images), targets, strict=True):
        gram = gram + rows.T @ rows
        products = products + rows.T @ F.one_hot(target, len(classes)).double()
    gram.diagonal().add_(_RIDGE * gram.trace() / len(gram))
    weights = torch.linalg.solve(gram, products)
    predicted = torch.cat([(rows @ weights).argmax(1) for rows in _rows(encode, test.images)])
    return float((classes[predicted.numpy()] == test.labels).mean())


def _rows(encode: Encoder, images: NDArray[np.uint8]) -> Iterator[Tensor]:
    """Yield the codes of images in batches, each with a last column of ones for the intercept."""
    for batch in torch.from_numpy(images).split(_BATCH):
        yield F.pad(encode(batch), (0, 1), value=1)


def score(
    model: Autoencoder, train: Chunk, test: Chunk
) -> tuple[dict[str, float], NDArray[np.float64]]:
    """Score a model, on the CPU, on the test images, (n, 784), next to its baselines.

    Returns the metrics that README lists, and the BCE of each test image, float64 (n,). Raises
    UserError if the model is no better than the mean training image as every reconstruction, or all
    test images equal that image.
    """
    bce_train, _ = per_image_losses(model, torch.from_numpy(train.images))
    bce, mse = per_image_losses(model, torch.from_numpy(test.images))
    floor = entropy(test.images)
    pca = principal_components(train.images)
    mean_image = torch.from_numpy(pca.mean)
    mean_test_image = torch.from_numpy(test.images.mean(0) / 255)
    metrics = {
        "bce": bce.mean().item(),
        "bce_train": bce_train.mean().item(),
        "bce_gap": (bce.mean() - bce_train.mean()).item(),
        "bce_floor": floor,
        "bce_excess": bce.mean().item() - floor,
        "bce_mean_image": F.binary_cross_entropy(mean_image, mean_test_image).item(),
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
