"""Seed noise: how far apart the metrics of two runs may be that differ only in their seeds."""

import io
import json
import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from autoencoder.base.errors import UserError
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


def conditions(record: Mapping[str, Any], dataset: str) -> dict[str, str]:
    """Return what seed noise depends on: the training parameters but the seed, and the data.

    Parameters
    ----------
    record : mapping
        The run's metrics/provenance.json, in which parameters are as validated: equal values are
        equal texts, whatever their spelling in params.yaml.
    dataset : str
        Its parameter of this name.

    Returns
    -------
    dict of str to str
        By column of a sweep's table; lists and numbers as JSON.
    """
    values = {name: value for name, value in record["parameters"].items() if name != "seed"}
    values |= {"dataset": dataset}
    values |= {name: record[name] for name in ("train_md5", "test_md5")}
    return {name: column_text(value) for name, value in values.items()}


def column_text(value: object) -> str:
    """Return a parameter as the text of a table's cell."""
    return value if isinstance(value, str) else json.dumps(value, default=str)


def read_seeds(revision: str | None) -> pd.DataFrame:
    """Read the table of measured seeds of a revision, as text; without rows if it has none.

    Raises
    ------
    UserError
        If it is not a table.
    """
    try:
        content = reader(revision)(SEEDS)
    except FileNotFoundError:
        return pd.DataFrame()
    try:
        return pd.read_csv(io.BytesIO(content), dtype=str, keep_default_na=False)
    except ValueError as error:
        raise UserError(f"{SEEDS}: {error}; measure the seed noise with {MEASURE}") from error


def seed_noise(seeds: pd.DataFrame, measured: Mapping[str, str]) -> dict[str, float]:
    """Return the `noise_of` the seeds that were measured under certain conditions.

    Parameters
    ----------
    seeds : DataFrame
        The table that `tools.sweep` wrote for the parameter seed, as `read_seeds` returns it.
    measured : mapping of str to str
        The `conditions`.

    Returns
    -------
    dict of str to float
        Empty if there are fewer than two such seeds.
    """
    if other_conditions(seeds, measured):
        return {}
    rows = seeds[(seeds[list(measured)] == pd.Series(measured)).all(axis="columns")]
    return noise_of(rows) if len(rows) >= 2 else {}


def noise_of(rows: pd.DataFrame) -> dict[str, float]:
    """Compute the seed noise of each metric: how far apart two runs with different seeds may be.

    With a probability of 95 %, two runs that differ only in their seeds are at most this far apart:
    Student's t for the number of measured seeds, times the square root of 2 for a difference, times
    the standard deviation.

    Parameters
    ----------
    rows : DataFrame
        The metrics of at least two runs that differ only in their seeds.

    Raises
    ------
    UserError
        If bce or mse is missing or not a number.
    """
    factor = student_t(len(rows) - 1) * math.sqrt(2)
    noise = {}
    for metric in BETTER:
        values = pd.to_numeric(rows.get(metric, pd.Series()), errors="coerce")
        if len(values) and values.notna().all():
            noise[metric] = factor * values.std()
        elif metric in GATED:
            raise UserError(
                f"{SEEDS}: {metric} is missing or not a number, expected one for each seed; "
                f"measure the seed noise again with {MEASURE}"
            )
    return noise


def other_conditions(seeds: pd.DataFrame, measured: Mapping[str, str]) -> list[str]:
    """Name the conditions with which none of the seeds was measured."""
    return [
        name
        for name, value in measured.items()
        if name not in seeds or value not in set(seeds[name])
    ]


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
