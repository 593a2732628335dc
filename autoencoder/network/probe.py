"""A linear classifier on codes, whose accuracy tells what the codes are good for."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

Codes = Iterable[NDArray[np.float64]]

# Added to the diagonal of the normal equations, relative to its mean, so that they can be solved
# when codes depend on each other.
_RIDGE = 1e-9


def probe_accuracy(
    train: Codes, train_labels: NDArray[np.str_], test: Codes, test_labels: NDArray[np.str_]
) -> float:
    """Fit a linear classifier to codes and compute its accuracy.

    Least squares on one-hot labels, with an intercept; the class with the largest output is
    predicted (a linear probe: Alain and Bengio, "Understanding intermediate layers using linear
    classifier probes", 2016, there with cross-entropy).

    Parameters
    ----------
    train, test : iterables of float64 arrays of shape (n, size)
        The codes to fit and those to classify, in batches.
    train_labels, test_labels : str arrays
        A label for each code.

    Returns
    -------
    float
        Share of the test codes that are classified correctly, 0..1.
    """
    classes, numbers = np.unique(train_labels, return_inverse=True)
    gram: NDArray[np.float64] | float = 0.0
    products: NDArray[np.float64] | float = 0.0
    start = 0
    for batch in train:
        rows = _with_intercept(batch)
        one_hot = np.zeros((len(rows), len(classes)))
        one_hot[np.arange(len(rows)), numbers[start : start + len(rows)]] = 1
        gram = gram + rows.T @ rows
        products = products + rows.T @ one_hot
        start += len(rows)
    gram = np.asarray(gram)
    gram.flat[:: len(gram) + 1] += _RIDGE * np.trace(gram) / len(gram)
    weights = np.linalg.solve(gram, np.asarray(products))
    predicted = [(_with_intercept(batch) @ weights).argmax(1) for batch in test]
    return float((classes[np.concatenate(predicted)] == test_labels).mean())


def _with_intercept(codes: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.column_stack([codes, np.ones(len(codes))])
