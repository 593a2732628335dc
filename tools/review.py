"""Compare the workspace with another revision, for review: `make review`.

Writes a page that opens without a network, and a summary in Markdown. Runs no stage. The exit
status is the gate: 0; 1 if a metric is worse by more than its tolerance; 2 if the two sides cannot
be compared.
"""

import argparse
import base64
import io
import json
import math
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dvc.api
import jinja2
import matplotlib as mpl
import pandas as pd
from dvc.exceptions import DvcException
from dvc.repo import Repo
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from autoencoder.errors import UserError
from autoencoder.files import atomic_write

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

SEEDS = Path("sweeps/seed.csv")

# With a probability of 95 %, two runs that differ only in their seeds are at most this many
# standard deviations apart: Student's t for five measured seeds, times the square root of 2 for a
# difference.
DEVIATIONS = 2.776 * math.sqrt(2)

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


@dataclass(frozen=True)
class Side:
    """One side of the comparison.

    Attributes
    ----------
    name : str
        Name for the reader.
    params, metrics : dict
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
    losses: pd.DataFrame
    classes: pd.Series
    picture: bytes

    @classmethod
    def read(cls, name: str, revision: str | None = None) -> "Side":
        """Read a revision or experiment through DVC; None is the workspace.

        Raises
        ------
        UserError
            If it lacks a metric or a plot, or a metric is not a finite number.
        DvcException
            If there is no such revision.
        """
        files = dvc.api.DVCFileSystem(rev=revision)
        try:
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
                {metric: metrics[metric] for metric in BETTER},
                losses[["epoch", "train", "validation"]],
                classes.set_index("label")["bce"],
                files.read_bytes("plots/sanity_check.png"),
            )
        except (OSError, KeyError, ValueError) as error:
            raise UserError(f"{name}: cannot be compared: {error}") from error
        for metric, value in side.metrics.items():
            if not isinstance(value, int | float) or not math.isfinite(value):
                raise UserError(f"{name}: metric {metric} is {value}, expected a number")
        return side


@dataclass(frozen=True)
class Change:
    """A metric on both sides.

    Attributes
    ----------
    noise : float
        Seed noise: how far apart two runs that differ only in their seeds may be.
    tolerance : float or None
        How much worse it may get; None if it cannot fail the gate.
    """

    metric: str
    base: float
    current: float
    noise: float
    tolerance: float | None

    @property
    def difference(self) -> float:
        """Current minus base, rounded to the six decimals of the metrics."""
        return round(self.current - self.base, 6)

    @property
    def worse_by(self) -> float:
        """The difference, positive if the metric got worse."""
        return -BETTER[self.metric] * self.difference

    @property
    def verdict(self) -> str:
        """same, better, worse or within noise; empty for metrics without a direction."""
        if not BETTER[self.metric]:
            return ""
        if not self.difference:
            return "same"
        if abs(self.difference) <= self.noise:
            return "within noise"
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


def seed_noise(path: Path = SEEDS) -> dict[str, float]:
    """Read the seed noise of each metric: how far apart two runs with different seeds may be.

    Raises
    ------
    UserError
        If the seeds have not been measured.
    """
    try:
        deviation = pd.read_csv(path).std()
        return {metric: DEVIATIONS * deviation[metric] for metric in BETTER}
    except (OSError, KeyError, ValueError) as error:
        raise UserError(
            f"{path}: seed noise has not been measured ({error}); "
            "measure it with `make sweep PARAM=seed VALUES=0,1,2,3,4`"
        ) from error


def compare(base: Side, current: Side, tolerances: Mapping[str, float]) -> list[Change]:
    """Compare each metric.

    Parameters
    ----------
    base, current : Side
    tolerances : mapping of str to float
        How much worse a metric may get, if not by the seed noise.
    """
    noise = seed_noise()
    allowed = {metric: noise[metric] for metric in GATED} | dict(tolerances)
    return [
        Change(
            metric,
            base.metrics[metric],
            current.metrics[metric],
            noise[metric],
            allowed.get(metric),
        )
        for metric in BETTER
    ]


def verdict(changes: list[Change]) -> tuple[str, str]:
    """Judge a comparison.

    Returns
    -------
    word : str
        better, worse or even.
    line : str
        The reason, with the numbers.
    """
    failing = [change for change in changes if change.fails]
    if failing:
        reasons = (f"{change}, tolerance {change.tolerance:.5f}" for change in failing)
        return "worse", f"Worse: {'; '.join(reasons)}."
    bce = next(change for change in changes if change.metric == "bce")
    match bce.verdict:
        case "better":
            return "better", f"Better: {bce}, beyond the seed noise of {bce.noise:.5f}."
        case "worse":
            return "even", f"Worse, but within the tolerance of {bce.tolerance:.5f}: {bce}."
        case "same":
            return "even", f"No difference: bce is {bce.current:.5f} on both sides."
    return "even", f"No difference beyond the seed noise of {bce.noise:.5f}: {bce}."


def stale() -> list[str]:
    """Return the stages whose parameters, code, data or results changed since they were run.

    Missing files, as in a clone without a remote, do not count as changed.
    """
    with Repo() as repo:
        status = repo.status()
    changed = re.compile(r'"(modified|new|changed command)"')
    return [stage for stage, changes in status.items() if changed.search(json.dumps(changes))]


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
        trim_blocks=True,
        lstrip_blocks=True,
    )
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
    parser = argparse.ArgumentParser(prog="python -m tools.review", description=__doc__)
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
    try:
        if stages := stale():
            raise UserError(f"{', '.join(stages)}: changed since the last run; run `dvc repro`")
        base, current = Side.read(arguments.base, arguments.base), Side.read("workspace")
        changes = compare(base, current, dict(arguments.tolerance))
    except (UserError, DvcException) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    write(arguments.out, base, current, changes)
    print(verdict(changes)[1])
    print(arguments.out / "index.html")
    return int(any(change.fails for change in changes))


if __name__ == "__main__":
    sys.exit(main())
