"""Seed noise: how far apart the metrics of two runs may be that differ only in their seeds."""

import io
import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from autoencoder.base.errors import UserError
from autoencoder.data.datasets import DATASETS
from tools.revisions import reader

# The sign of an improvement; 0 for metrics that describe the data and the baselines.
BETTER = {
    "bce": -1,
    "bce_train": -1,
    "bce_gap": -1,
    "bce_floor": 0,
    "bce_excess": -1,
    "bce_mean_image": 0,
    "mse": -1,
    "mse_pca": 0,
    "probe_accuracy": 1,
    "probe_accuracy_pca": 0,
}

# Metrics that can fail the gate; `--tolerance` adds others.
GATED = ("bce", "mse")

SEEDS = "sweeps/seed.csv"
MEASURE = "`make sweep PARAM=seed VALUES=0,1,2,3,4`"


def table_digests(lock: Mapping[str, Any]) -> dict[str, str]:
    """Return the MD5 of the training and the test table in the contents of dvc.lock, by path."""
    return {out["path"]: out["md5"] for out in lock["stages"]["convert"]["outs"]}


def describe_data(lock: Mapping[str, Any]) -> str:
    """Return what identifies the data of a run: the published name, or the user's and digests.

    Parameters
    ----------
    lock : mapping
        The contents of dvc.lock.
    """
    dataset = str(lock["stages"]["fetch"]["params"]["params.yaml"]["dataset"])
    digests = table_digests(lock)
    return dataset if dataset in DATASETS else " ".join([dataset, *sorted(digests.values())])


def student_t(freedom: int) -> float:
    """Return how many standard errors from the mean 95 % of Student's t distribution reach.

    The probability of a distance for an integer number of degrees of freedom is a finite sum:
    Abramowitz and Stegun, "Handbook of mathematical functions", 26.7.3 and 26.7.4.
    """

    def probability(angle: float) -> float:
        cosine, odd = math.cos(angle), freedom % 2
        term, total = (cosine if odd else 1.0), 0.0
        for power in range(odd, freedom - 1, 2):
            total += term
            term *= cosine**2 * (power + 1) / (power + 2)
        total *= math.sin(angle)
        return 2 / math.pi * (angle + total) if odd else total

    low, high = 0.0, math.pi / 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if probability(middle) < 0.95 else (low, middle)
    return math.sqrt(freedom) * math.tan(low)


def seed_noise(content: str, data: str) -> dict[str, float]:
    """Compute the seed noise of each metric: how far apart two runs with different seeds may be.

    With a probability of 95 %, two runs that differ only in their seeds are at most this far apart:
    Student's t for the number of measured seeds, times the square root of 2 for a difference, times
    the standard deviation.

    Parameters
    ----------
    content : str
        The table that `tools.sweep` wrote for the parameter seed. Without the column data, it was
        measured on MNIST.
    data : str
        `Run.data` of the runs to compare.

    Returns
    -------
    dict of str to float
        Of the metrics in the table; empty if it was measured on other data.

    Raises
    ------
    UserError
        If fewer than two seeds were measured, or bce or mse is missing.
    """
    try:
        table = pd.read_csv(io.StringIO(content))
        if len(table) < 2:
            raise ValueError(f"{len(table)} rows, expected at least 2")
        measured_on = table["data"] if "data" in table else pd.Series("mnist", table.index)
        rows = table[measured_on == data]
        if len(rows) < 2:
            return {}
        deviations = rows[[metric for metric in BETTER if metric in rows]].std()
        for metric in GATED:
            if not math.isfinite(deviations[metric]):
                raise ValueError(f"{metric} is not a number")
    except (KeyError, ValueError, TypeError) as error:
        raise UserError(
            f"{SEEDS}: seed noise has not been measured ({error}); measure it with {MEASURE}"
        ) from error
    factor = student_t(len(rows) - 1) * math.sqrt(2)
    return {str(metric): factor * value for metric, value in deviations.dropna().items()}


def read_seeds(revision: str) -> str:
    """Read the table of measured seeds of a revision.

    Raises
    ------
    UserError
        If it has none.
    """
    try:
        return reader(revision)(SEEDS).decode()
    except (OSError, ValueError) as error:
        raise UserError(
            f"{revision}: {SEEDS} cannot be read; measure the seed noise with {MEASURE}"
        ) from error
