"""A linear classifier on codes, whose accuracy tells what the codes are good for."""

from collections.abc import Iterable

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the name used in PyTorch's documentation
from numpy.typing import NDArray
from torch import Tensor

# Added to the diagonal of the normal equations, relative to its mean, so that they can be solved
# when codes depend on each other.
_RIDGE = 1e-9


def probe_accuracy(
    train: Iterable[Tensor],
    train_labels: NDArray[np.str_],
    test: Iterable[Tensor],
    test_labels: NDArray[np.str_],
) -> float:
    """Fit a linear classifier to codes and compute its accuracy on test codes, 0..1.

    Least squares on one-hot labels, with an intercept; the class with the largest output is
    predicted (a linear probe: Alain and Bengio, "Understanding intermediate layers using linear
    classifier probes", 2016, there with cross-entropy). The codes come in batches, float64
    (n, size).
    """
    classes, numbers = np.unique(train_labels, return_inverse=True)
    targets = torch.from_numpy(numbers)
    gram = products = torch.zeros(())
    start = 0
    for codes in train:
        rows = _with_intercept(codes)
        one_hot = F.one_hot(targets[start : start + len(rows)], len(classes)).double()
        gram = gram + rows.T @ rows
        products = products + rows.T @ one_hot
        start += len(rows)
    gram.diagonal().add_(_RIDGE * gram.trace() / len(gram))
    weights = torch.linalg.solve(gram, products)
    predicted = torch.cat([(_with_intercept(codes) @ weights).argmax(1) for codes in test])
    return float((classes[predicted.numpy()] == test_labels).mean())


def _with_intercept(codes: Tensor) -> Tensor:
    return F.pad(codes, (0, 1), value=1)
