"""Compare the workspace with another revision, for review: `make review`.

Writes a page that opens without a network, and a summary in Markdown. Runs no stage. The exit
status is the gate: 0; 1 if a metric is worse by more than its tolerance; 2 for everything else,
such as two sides that cannot be compared.
"""

import argparse
import base64
import io
import math
import re
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dvc.api
import jinja2
import matplotlib as mpl
import pandas as pd
import yaml
from dvc.dependency.param import ParamsDependency
from dvc.repo import Repo
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from autoencoder.cli import make_parser
from autoencoder.data.datasets import DATASETS
from autoencoder.errors import UserError
from autoencoder.files import atomic_write, sha256

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
}

# Metrics that can fail the gate; `--tolerance` adds others.
GATED = ("bce", "mse")

SEEDS = "sweeps/seed.csv"
MEASURE = "`make sweep PARAM=seed VALUES=0,1,2,3,4`"

TEST = "data/test.csv"
INCOMING = "data/incoming"  # the user's data, of which `dataset` names a part
RAW = Path("data/raw")

WORKSPACE = "workspace"  # the name of the side that is not a revision

# Placeholders in the figures for the colours of the page, in its light or dark scheme.
TEXT, LINE, BASE, CURRENT = "#000001", "#000002", "#000003", "#000004"
COLOURS = {TEXT: "var(--text)", LINE: "var(--line)", BASE: "var(--base)", CURRENT: "var(--current)"}
STYLE: Any = {
    **dict.fromkeys(
        ["text.color", "axes.labelcolor", "xtick.labelcolor", "ytick.labelcolor"], TEXT
    ),
    **dict.fromkeys(["axes.edgecolor", "grid.color", "xtick.color", "ytick.color"], LINE),
    **{"axes.spines.top": False, "axes.spines.right": False, "axes.grid": True},
    **{"axes.grid.axis": "y", "axes.axisbelow": True, "legend.frameon": False},
    **{"figure.constrained_layout.use": True, "figure.figsize": (5.4, 3.6)},
    **{"svg.fonttype": "none", "svg.hashsalt": "review", "text.parse_math": False},
}


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
    picture : bytes
        The sanity check, PNG.
    """

    name: str
    params: dict[str, Any]
    metrics: dict[str, float]
    data: str
    test: str
    losses: pd.DataFrame
    classes: pd.Series
    picture: bytes

    @classmethod
    def read(cls, name: str, revision: str | None = None) -> "Side":
        """Read a revision or experiment through DVC; None is the workspace.

        Raises
        ------
        UserError
            If a stage is frozen or changed since it was run, bce, mse or a plot is missing, or a
            metric is not a finite number.
        DvcException
            If there is no such revision.
        """
        with Repo.open(".", rev=revision) as repo:
            check_stages(repo, name)
        files = dvc.api.DVCFileSystem(rev=revision)
        try:
            lock = yaml.safe_load(files.read_bytes("dvc.lock"))
            metrics = dvc.api.metrics_show(rev=revision)
            losses = pd.read_csv(io.BytesIO(files.read_bytes("plots/loss.csv")))
            classes = pd.read_csv(
                io.BytesIO(files.read_bytes("plots/classes.csv")),
                dtype={"label": str},
                keep_default_na=False,
            )
            side = cls(
                name,
                dvc.api.params_show(rev=revision),
                {metric: metrics[metric] for metric in BETTER if metric in metrics},
                describe_data(lock),
                table_digests(lock)[TEST],
                losses[["epoch", "train", "validation"]],
                classes.set_index("label")["bce"],
                files.read_bytes("plots/sanity_check.png"),
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
        `Side.data` of the runs to compare.

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
        return str(dvc.api.DVCFileSystem(rev=revision).read_text(SEEDS, encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(
            f"{revision}: {SEEDS} cannot be read; measure the seed noise with {MEASURE}"
        ) from error


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
    source = Path(dvc.api.params_show()["dataset"])
    if INCOMING not in map(str, source.parents) or not source.exists():
        return False

    def digests(root: Path) -> dict[Path, str]:
        return {
            path.relative_to(root.parent): sha256(path)
            for path in [root, *root.rglob("*")]
            if path.is_file()
            and not any(part.startswith(".") for part in path.relative_to(root.parent).parts)
        }

    return digests(source) != digests(RAW / source.name)


def describe(side: Side) -> str:
    """Describe the loss curve of a side in words."""
    last, best = side.losses.iloc[-1], side.losses.iloc[side.losses["validation"].argmin()]
    return (
        f"{side.name}: {last['epoch']:.0f} epochs, best validation BCE {best['validation']:.5f} "
        f"in epoch {best['epoch']:.0f}, training BCE {last['train']:.5f} in the last"
    )


def draw_losses(base: Side, current: Side) -> Figure:
    """Draw the loss of each epoch of both sides."""
    figure = Figure()
    axis = figure.subplots()
    for side, colour in ((base, BASE), (current, CURRENT)):
        for series, line in (("train", "--"), ("validation", "-")):
            axis.plot(
                *(side.losses["epoch"], side.losses[series], line),
                color=colour,
                label=f"{side.name}, {series}",
            )
    axis.set(xlabel="epoch", ylabel="BCE, mean over pixels")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.legend(loc="outside upper center", ncols=2)
    return figure


def draw_classes(base: Side, current: Side) -> Figure:
    """Draw the test loss of each class of both sides."""
    figure = Figure()
    both = pd.DataFrame({side.name: side.classes for side in (base, current)})
    axis = both.plot.bar(
        ax=figure.subplots(), color=[BASE, CURRENT], width=0.8, rot=0, grid=False, legend=False
    )
    axis.grid(axis="y")
    axis.set(xlabel="class", ylabel="test BCE, mean over pixels")
    figure.legend(loc="outside upper center", ncols=2)
    return figure


def svg(figure: Figure, name: str) -> str:
    """Render a figure as an SVG element in the colours of the page.

    Parameters
    ----------
    figure : Figure
    name : str
        Prefix of the ids in it, because several figures share the page.
    """
    buffer = io.StringIO()
    nothing = dict.fromkeys(["Creator", "Date", "Format", "Type"])
    figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    _, start, rest = buffer.getvalue().partition("<svg ")
    element = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", start + rest)
    for placeholder, colour in COLOURS.items():
        element = element.replace(placeholder, colour)
    return element


def write(directory: Path, base: Side, current: Side, changes: list[Change]) -> None:
    """Write the page, index.html, and the summary, review.md."""
    word, line = verdict(changes)
    with mpl.rc_context(STYLE):
        losses = svg(draw_losses(base, current), "losses")
        classes = svg(draw_classes(base, current), "classes")
    names = sorted(base.params.keys() | current.params.keys())
    values = [(name, base.params.get(name, "—"), current.params.get(name, "—")) for name in names]
    facts = {
        "word": word,
        "line": line,
        "base": base,
        "current": current,
        "changes": changes,
        "params": [row for row in values if row[1] != row[2]],
        "classes": pd.DataFrame({"base": base.classes, "current": current.classes}),
        "losses_figure": losses,
        "classes_figure": classes,
        "losses_text": [describe(side) for side in (base, current)],
        "pictures": [(side, base64.b64encode(side.picture).decode()) for side in (base, current)],
    }
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=jinja2.select_autoescape(["html"]),
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: "—" if value is None else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters["number"] = lambda value, form: None if value is None else form % value
    for template, out in (("review.html", "index.html"), ("review.md", "review.md")):
        with atomic_write(directory / out) as partial:
            partial.write_text(templates.get_template(template).render(facts), encoding="utf-8")


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
        raise argparse.ArgumentTypeError(f"{value!r} for {metric}, expected a number from 0")
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
    arguments = parser.parse_args()
    # A terminal may lack the arrow of the verdict.
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    try:
        if not arguments.base:
            raise UserError("the base is empty, expected a revision or experiment")
        base, current = Side.read(arguments.base, arguments.base), Side.read(WORKSPACE)
        changes = compare(base, current, read_seeds(arguments.base), dict(arguments.tolerance))
        write(arguments.out, base, current, changes)
        print(verdict(changes)[1])
        print(arguments.out / "index.html", flush=True)
    except Exception as error:
        # Python's own exit status for an error, 1, means worse here.
        if arguments.debug:
            traceback.print_exc()
        print(f"error: {' '.join(str(error).split()) or repr(error)}", file=sys.stderr)
        return 2
    return int(any(change.fails for change in changes))


if __name__ == "__main__":
    sys.exit(main())
