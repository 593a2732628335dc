"""Seed noise: how far apart the metrics of two runs may be that differ only in their seeds."""

import io
import json
import math
from collections.abc import Mapping
from typing import Any

import pandas as pd
from scipy.special import stdtrit

from autoencoder.base.errors import UserError
from tools.revisions import Files

# Which way is better: ↓, ↑, or neither for metrics that describe the data and the baselines.
BETTER = {
    "bce": "↓",
    "bce_train": "↓",
    "bce_gap": "↓",
    "bce_floor": "",
    "bce_excess": "↓",
    "bce_mean_image": "",
    "mse": "↓",
    "mse_pca": "",
    "probe_accuracy": "↑",
    "probe_accuracy_pca": "",
}

# Metrics that can fail the gate; `--tolerance` adds others.
GATED = ("bce", "mse")

SEEDS = "sweeps/seed.csv"
MEASURE = "`make sweep PARAM=seed VALUES=0,1,2,3,4`"


def conditions(record: Mapping[str, Any], dataset: str) -> dict[str, str]:
    """Return what seed noise depends on: the training parameters but the seed, and the data.

    `record` is the run's metrics/provenance.json, in which parameters are as validated: equal
    values are equal texts, whatever their spelling in params.yaml. The result has the names of the
    columns of a sweep's table; lists and numbers are JSON.
    """
    values = {name: value for name, value in record["parameters"].items() if name != "seed"}
    values |= {"dataset": dataset}
    values |= {name: record[name] for name in ("train_md5", "test_md5")}
    return {name: column_text(value) for name, value in values.items()}


def column_text(value: object) -> str:
    """Return a parameter as the text of a table's cell."""
    return value if isinstance(value, str) else json.dumps(value, default=str)


def read_seeds(files: Files) -> pd.DataFrame:
    """Read the table of measured seeds, as text; without rows if there is none.

    A UserError if it is not a table.
    """
    try:
        content = files.read(SEEDS)
    except FileNotFoundError:
        return pd.DataFrame()
    try:
        return pd.read_csv(io.BytesIO(content), dtype=str, keep_default_na=False)
    except ValueError as error:
        raise UserError(f"{SEEDS}: {error}; measure the seed noise with {MEASURE}") from error


def seed_noise(
    seeds: pd.DataFrame, measured: Mapping[str, str]
) -> tuple[dict[str, float], str | None]:
    """Return the `noise_of` the seeds that were measured under the conditions `measured`.

    If there are fewer than two such seeds, it is empty, and the second value says why.
    """
    if seeds.empty:
        return {}, f"it has no {SEEDS}"
    known = {name: seeds.get(name, pd.Series()) == value for name, value in measured.items()}
    if others := [name for name, same in known.items() if not same.any()]:
        return {}, f"{SEEDS} was measured with other values of {', '.join(others)}"
    rows = seeds[pd.DataFrame(known).all(axis="columns")]
    if len(rows) < 2:
        return {}, f"{SEEDS} has fewer than two seeds measured so"
    return noise_of(rows), None


def noise_of(rows: pd.DataFrame) -> dict[str, float]:
    """Compute the seed noise of each metric from at least two runs that differ only in their seeds.

    With a probability of 95 %, two such runs are at most this far apart: Student's t for the number
    of measured seeds, times the square root of 2 for a difference, times the standard deviation.
    A UserError if bce or mse is missing or not a number.
    """
    factor = stdtrit(len(rows) - 1, 0.975) * math.sqrt(2)
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
