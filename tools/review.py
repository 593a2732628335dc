"""Compare the workspace with another revision, for review: `make review`.

Writes a page that opens without a network, and a summary in Markdown. Runs no stage. The exit
status is the gate: 0; 1 if a metric is worse by more than its tolerance; 2 for everything else,
such as two sides that cannot be compared.
"""

import argparse
import hashlib
import io
import json
import math
import os
import sys
import traceback
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dvc.api
import pandas as pd
import yaml
from dvc.dependency.param import ParamsDependency
from dvc.repo import Repo
from dvc.repo.brancher import switch

from autoencoder.base import startup
from autoencoder.base.cli import make_parser
from autoencoder.base.errors import UserError
from autoencoder.base.files import sha256
from autoencoder.base.provenance import differences
from autoencoder.data.names import is_visible
from tools import report
from tools.revisions import reader
from tools.seed_noise import (
    BETTER,
    GATED,
    MEASURE,
    SEEDS,
    describe_data,
    read_seeds,
    seed_noise,
    table_digests,
)

TRAIN = "data/train.csv"
TEST = "data/test.csv"
RECORD = "metrics/provenance.json"
INCOMING = "data/incoming"  # the user's data, of which `dataset` names a part
RAW = Path("data/raw")

WORKSPACE = "workspace"  # the name of the side that is not a revision


@dataclass(frozen=True)
class Side:
    """One side of the comparison.

    Attributes
    ----------
    name : str
        Name for the reader.
    params, metrics : dict
    data : str
        What identifies its data, see `describe_data`.
    test : str
        MD5 of the test table.
    losses : DataFrame
        Columns epoch, train and validation.
    classes : Series
        Test BCE by label.
    pictures : dict of str to bytes
        The pictures of `report.PICTURES` that it has, PNG, by path.
    provenance : dict
        What the model and the scores were made from, as evaluate recorded it; empty for a run of
        a version that did not record it.
    """

    name: str
    params: dict[str, Any]
    metrics: dict[str, float]
    data: str
    test: str
    losses: pd.DataFrame
    classes: pd.Series
    pictures: dict[str, bytes]
    provenance: dict[str, Any]

    @classmethod
    def read(cls, name: str, revision: str | None = None) -> "Side":
        """Read a revision or experiment through DVC; None is the workspace.

        Raises
        ------
        UserError
            If a stage is frozen or changed since it was run, its results were made from other
            parameters, code or tables, bce, mse or a plot is missing, or a metric is not a finite
            number.
        DvcException
            If there is no such revision.
        """
        with Repo() as repo, switch(repo, revision) if revision else nullcontext():
            check_stages(repo, name)
        read = reader(revision)
        try:
            lock = yaml.safe_load(read("dvc.lock"))
            metrics = dvc.api.metrics_show(rev=revision)
            losses = pd.read_csv(io.BytesIO(read("plots/loss.csv")))
            classes = pd.read_csv(
                io.BytesIO(read("plots/classes.csv")),
                dtype={"label": str},
                keep_default_na=False,
            )
            recorded = {out["path"] for out in lock["stages"]["evaluate"]["outs"]}
            provenance = json.loads(read(RECORD)) if RECORD in recorded else {}
            code = {
                module: hashlib.sha256(read(module)).hexdigest()
                for module in provenance.get("code", {})
            }
            drawn = {out["path"] for out in lock["stages"]["sanity_check"]["outs"]}
            side = cls(
                name,
                dvc.api.params_show(rev=revision),
                {metric: metrics[metric] for metric in BETTER if metric in metrics},
                describe_data(lock),
                table_digests(lock)[TEST],
                losses[["epoch", "train", "validation"]],
                classes.set_index("label")["bce"],
                {path: read(path) for path in report.PICTURES if path in drawn},
                provenance,
            )
            if provenance:
                tables = table_digests(lock)
                found = differences(provenance, side.params, tables[TRAIN], code)
                if provenance["test_md5"] != tables[TEST]:
                    found.append("the test table was different")
                if found:
                    raise UserError(
                        f"{name}: its results were made from other inputs: {'; '.join(found)}; "
                        "train again with `dvc repro --force --single-item train`, then `dvc repro`"
                    )
        except (OSError, KeyError, ValueError) as error:
            raise UserError(f"{name}: cannot be compared: {error}") from error
        for metric in GATED:
            if metric not in side.metrics:
                raise UserError(f"{name}: metric {metric} is missing; run `dvc repro`")
        for metric, value in side.metrics.items():
            if not isinstance(value, int | float) or not math.isfinite(value):
                raise UserError(f"{name}: metric {metric} is {value}, expected a number")
        return side


@dataclass(frozen=True)
class Change:
    """A metric on both sides.

    Attributes
    ----------
    base, current : float or None
        None if that side lacks the metric.
    noise : float or None
        Seed noise: how far apart two runs that differ only in their seeds may be. None if it has
        not been measured.
    tolerance : float or None
        How much worse it may get; None if it cannot fail the gate.
    """

    metric: str
    base: float | None
    current: float | None
    noise: float | None
    tolerance: float | None

    @property
    def difference(self) -> float | None:
        """Current minus base, rounded to the six decimals of the metrics."""
        if self.base is None or self.current is None:
            return None
        return round(self.current - self.base, 6)

    @property
    def worse_by(self) -> float:
        """The difference, positive if the metric got worse; 0 if a side lacks the metric."""
        return -BETTER[self.metric] * (self.difference or 0)

    @property
    def verdict(self) -> str:
        """same, better, worse, within noise or within tolerance; empty if it is not judged."""
        if not BETTER[self.metric] or self.difference is None:
            return ""
        if not self.difference:
            return "same"
        bound = self.tolerance if self.noise is None else self.noise
        if bound is None:
            return ""
        if abs(self.difference) <= bound:
            return "within tolerance" if self.noise is None else "within noise"
        return "worse" if self.worse_by > 0 else "better"

    @property
    def fails(self) -> bool:
        """Whether this change fails the gate."""
        return self.tolerance is not None and self.worse_by > self.tolerance

    def __str__(self) -> str:
        if self.base is None or self.current is None or self.difference is None:
            return f"{self.metric} is missing on one side"
        percent = 100 * self.difference / self.base if self.base else math.inf
        return (
            f"{self.metric} {self.base:.5f} → {self.current:.5f} "
            f"({self.difference:+.5f}, {percent:+.1f} %)"
        )


def compare(base: Side, current: Side, seeds: str, tolerances: Mapping[str, float]) -> list[Change]:
    """Compare each metric.

    Parameters
    ----------
    base, current : Side
    seeds : str
        The base's table of measured seeds, so that a change cannot loosen its own gate.
    tolerances : mapping of str to float
        How much worse a metric may get, if not by the seed noise.

    Raises
    ------
    UserError
        If the test images differ, or a metric of the gate has no tolerance or is missing.
    """
    if base.test != current.test:
        raise UserError(
            f"{base.name} and {current.name}: the test images differ, so their scores cannot be "
            "compared; choose a base with the same data"
        )
    noise = seed_noise(seeds, current.data) if base.data == current.data else {}
    allowed = {metric: noise[metric] for metric in GATED if noise} | dict(tolerances)
    if lacking := [metric for metric in GATED if metric not in allowed]:
        raise UserError(
            f"seed noise has not been measured on the data of {current.name}: give the gate a "
            f"tolerance, {' '.join(f'--tolerance {metric}=NUMBER' for metric in lacking)}, or "
            f"measure it with {MEASURE} and commit {SEEDS} to the base"
        )
    changes = [
        Change(
            metric,
            base.metrics.get(metric),
            current.metrics.get(metric),
            noise.get(metric),
            allowed.get(metric),
        )
        for metric in BETTER
    ]
    for change in changes:
        if change.tolerance is not None and change.difference is None:
            raise UserError(f"{change}, expected on both because of its tolerance")
    return changes


def verdict(changes: list[Change]) -> tuple[str, str]:
    """Judge a comparison.

    Returns
    -------
    word : str
        better, worse or even.
    line : str
        The reason, with the numbers.
    """
    bce = next((change for change in changes if change.metric == "bce"), changes[0])
    measured = bce.noise is not None
    note = "" if measured else f" Seed noise has not been measured on this data: {MEASURE}."
    failing = [change for change in changes if change.fails]
    if failing:
        reasons = (f"{change}, tolerance {change.tolerance:.5f}" for change in failing)
        return "worse", f"Worse: {'; '.join(reasons)}.{note}"
    bound = (
        f"the seed noise of {bce.noise:.5f}"
        if measured
        else f"the tolerance of {bce.tolerance:.5f}"
    )
    match bce.verdict:
        case "better":
            return "better", f"Better: {bce}, beyond {bound}.{note}"
        case "worse":
            return "even", f"Worse, but within the tolerance of {bce.tolerance:.5f}: {bce}.{note}"
        case "same":
            return "even", f"No difference: bce is {bce.current:.5f} on both sides.{note}"
    return "even", f"No difference beyond {bound}: {bce}.{note}"


def check_stages(repo: Repo, name: str) -> None:
    """Check that the results of a revision were made by its parameters, code and data.

    Files that DVC keeps may be missing, as in a clone without a remote.

    Parameters
    ----------
    repo : Repo
        Open at the revision.
    name : str
        Its name for messages.

    Raises
    ------
    UserError
        If a stage is frozen, or changed since it was run.
    """
    stages = repo.index.stages
    if frozen := [stage.name for stage in stages if stage.frozen]:
        raise UserError(
            f"{name}: {', '.join(frozen)}: frozen, so it may be out of date; delete `frozen: true` "
            "from dvc.yaml and run `dvc repro`"
        )
    outputs = {str(out) for stage in stages for out in stage.outs}

    def changed(dependency: Any) -> bool:
        if isinstance(dependency, ParamsDependency):
            return bool(dependency.status())
        state = dependency.workspace_status().get(str(dependency))
        if state == "deleted":
            return str(dependency) not in outputs | {INCOMING}
        if str(dependency) == INCOMING:
            return state is not None and name == WORKSPACE and incoming_changed()
        return state is not None

    stale = [
        stage.name
        for stage in stages
        if stage.changed_stage()
        or any(map(changed, stage.deps))
        or any(set(out.workspace_status().values()) - {"deleted"} for out in stage.outs)
    ]
    if stale:
        raise UserError(f"{name}: {', '.join(stale)}: changed since the last run; run `dvc repro`")


def incoming_changed() -> bool:
    """Tell whether the user's data that `dataset` names differ from their copy in data/raw."""
    source = Path(os.path.normpath(dvc.api.params_show()["dataset"]))
    if INCOMING not in map(str, source.parents) or not source.exists():
        return False

    def digests(root: Path) -> dict[Path, str]:
        return {
            path.relative_to(root.parent): sha256(path)
            for path in [root, *root.rglob("*")]
            if path.is_file() and is_visible(path, root.parent)
        }

    return digests(source) != digests(RAW / source.name)


def tolerance(argument: str) -> tuple[str, float]:
    """Read a tolerance from the command line, such as ``bce=0.0005``."""
    metric, _, value = argument.partition("=")
    if not BETTER.get(metric):
        judged = ", ".join(name for name, sign in BETTER.items() if sign)
        raise argparse.ArgumentTypeError(f"{metric!r} is not one of {judged}")
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not number >= 0:
        raise argparse.ArgumentTypeError(f"{value!r} for {metric}, expected a number >= 0")
    return metric, number


def main() -> int:
    """Compare, write, judge; return the exit status."""
    parser = make_parser(__doc__)
    parser.add_argument(
        "base", nargs="?", default="main", help="revision or experiment (%(default)s)"
    )
    parser.add_argument(
        *("--tolerance", "-t"),
        type=tolerance,
        action="append",
        default=[],
        metavar="METRIC=NUMBER",
        help="how much worse a metric may get (default for bce and mse: the seed noise)",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("review"), help="directory to write to (%(default)s)"
    )
    startup.end_imports()
    arguments = parser.parse_args()
    # A terminal may lack the arrow of the verdict.
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    try:
        out = arguments.out
        if not out.is_dir() and (out.exists() or out.is_symlink()):
            raise UserError(f"{out}: not a directory, expected one for the report")
        if not arguments.base:
            raise UserError("the base is empty, expected a revision or experiment")
        base, current = Side.read(arguments.base, arguments.base), Side.read(WORKSPACE)
        changes = compare(base, current, read_seeds(arguments.base), dict(arguments.tolerance))
        judged = verdict(changes)
        report.write(out, base, current, changes, judged)
        print(judged[1])
        print(out / "index.html", flush=True)
    except Exception as error:
        # Python's own exit status for an error, 1, means worse here.
        if arguments.debug:
            traceback.print_exc()
        print(f"error: {' '.join(str(error).split()) or repr(error)}", file=sys.stderr)
        return 2
    return int(any(change.fails for change in changes))


if __name__ == "__main__":
    sys.exit(main())
