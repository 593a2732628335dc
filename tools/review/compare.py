"""The comparison of two runs, and its verdict."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from autoencoder.base.errors import UserError
from tools.review.run import Run
from tools.review.seed_noise import BETTER, GATED, MEASURE, SEEDS, seed_noise


@dataclass(frozen=True)
class Change:
    """A metric of both runs, NaN if a run lacks it."""

    metric: str
    base: float
    current: float
    noise: float | None  # its seed noise; None if that has not been measured
    tolerance: float | None  # how much worse it may get; None if it cannot fail the gate

    @property
    def difference(self) -> float:
        """Current minus base, rounded to the six decimals of the metrics."""
        return round(self.current - self.base, 6)

    @property
    def worse_by(self) -> float:
        """The difference, positive if the metric got worse; 0 for baselines."""
        return {"↓": 1, "↑": -1, "": 0}[BETTER[self.metric]] * self.difference

    @property
    def verdict(self) -> str:
        """same, better, worse, within noise or within tolerance; empty if it is not judged."""
        bound = self.tolerance if self.noise is None else self.noise
        if self.difference == 0 and BETTER[self.metric]:
            return "same"
        if bound is None or math.isnan(self.difference) or not BETTER[self.metric]:
            return ""
        if abs(self.difference) <= bound:
            return "within tolerance" if self.noise is None else "within noise"
        return "worse" if self.worse_by > 0 else "better"

    @property
    def fails(self) -> bool:
        """Whether this change fails the gate."""
        return self.tolerance is not None and self.worse_by > self.tolerance

    def __str__(self) -> str:
        percent = 100 * self.difference / self.base if self.base else math.inf
        return (
            f"{self.metric} {self.base:.5f} → {self.current:.5f} "
            f"({self.difference:+.5f}, {percent:+.1f} %)"
        )


def compare(
    base: Run, current: Run, seeds: pd.DataFrame, tolerances: Mapping[str, float]
) -> list[Change]:
    """Compare each metric.

    `seeds` is the base's table of measured seeds, so that a change cannot loosen its own gate;
    `tolerances` say how much worse a metric may get, if not by the seed noise. A UserError if the
    test images differ, or a metric of the gate has no tolerance or is missing.
    """
    if base.record["test_md5"] != current.record["test_md5"]:
        raise UserError(
            f"{base.name} and {current.name}: the test images differ, so their scores cannot be "
            "compared; choose a base with the same data"
        )
    noise, reason = seed_noise(seeds, base.conditions)
    allowed = {metric: noise[metric] for metric in GATED if noise} | dict(tolerances)
    if lacking := [metric for metric in GATED if metric not in allowed]:
        raise UserError(
            f"seed noise has not been measured with the parameters and data of {base.name} "
            f"({reason}): measure it there with {MEASURE} and commit {SEEDS}, or give the gate a "
            f"tolerance, {' '.join(f'--tolerance {metric}=NUMBER' for metric in lacking)}"
        )
    for run in (base, current):
        if missing := [metric for metric in allowed if metric not in run.metrics]:
            raise UserError(
                f"{run.name}: metric {missing[0]} is missing, expected in both runs because it "
                "has a tolerance; run `dvc repro`"
            )
    before, now = (dict.fromkeys(BETTER, math.nan) | run.metrics for run in (base, current))
    return [
        Change(metric, before[metric], now[metric], noise.get(metric), allowed.get(metric))
        for metric in BETTER
    ]


def verdict(changes: list[Change]) -> tuple[str, str]:
    """Judge a comparison: better, worse or even, and a line with the reason and the numbers."""
    bce = next(change for change in changes if change.metric == "bce")
    if bce.noise is None:
        bound = f"the tolerance of {bce.tolerance:.5f}"
        note = (
            " Seed noise has not been measured with these parameters and data; "
            f"measure it with {MEASURE}."
        )
    else:
        bound, note = f"the seed noise of {bce.noise:.5f}", ""
    failing = [f"{change}, tolerance {change.tolerance:.5f}" for change in changes if change.fails]
    if failing:
        return "worse", f"Worse: {'; '.join(failing)}.{note}"
    match bce.verdict:
        case "better":
            return "better", f"Better: {bce}, beyond {bound}.{note}"
        case "worse":
            return "even", f"Worse, but within the tolerance of {bce.tolerance:.5f}: {bce}.{note}"
        case "same":
            return "even", f"No difference: bce is {bce.current:.5f} in both runs.{note}"
    return "even", f"No difference beyond {bound}: {bce}.{note}"
