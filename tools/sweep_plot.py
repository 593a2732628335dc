"""The figure of a sweep: the scores of each value, next to their baselines."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from autoencoder.plots import default_style
from tools.review.seed_noise import noise_of

LOG_SPAN = 8  # values are on a logarithmic axis if the largest is this many times the smallest
MIN_TICK_DISTANCE = 0.07  # between two labelled values, as a share of the axis
MAX_STRETCH = 3  # a baseline may make the axis this many times as long as the scores need


@dataclass(frozen=True)
class Panel:
    """A metric and its baseline: their columns, what they are, and how the baseline looks."""

    metric: str
    title: str
    baseline: str
    meaning: str
    style: str
    colour: str


PANELS = (
    Panel(
        "bce",
        "test BCE, mean over pixels",
        "bce_floor",
        "floor (entropy of the pixels)",
        "--",
        "dimgray",
    ),
    Panel("mse", "test MSE, pixels in 0..1", "mse_pca", "PCA of the same size", "s-", "C1"),
)


@default_style()
def draw(table: pd.DataFrame) -> Figure:
    """Draw the scores of a sweep: a table with the parameter in its first column.

    Numbers are on an axis and joined by lines. Seeds are dots around their mean, in a band as wide
    as the seed noise. Other values are dots, the best one first. A baseline far from all scores,
    which would flatten them, is given in words.
    """
    name = str(table.columns[0])
    height = 3.8
    if name == "seed":
        draw_panel = _draw_seeds
    elif pd.api.types.is_numeric_dtype(table[name]) and table[name].dtype != bool:
        draw_panel = _draw_numbers
    else:
        draw_panel = _draw_categories
        height = max(height, 1.2 + 0.4 * len(table))
    figure = Figure(figsize=(10.0, height), layout="constrained")
    for axis, panel in zip(figure.subplots(1, 2), PANELS, strict=True):
        title = panel.title
        if not _fits(table, panel):
            low, high = (f"{value:.5f}" for value in table[panel.baseline].agg(["min", "max"]))
            title += f"\n{panel.meaning}: {low if low == high else f'{low} to {high}'}"
        axis.set_title(title, fontsize="medium")
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(alpha=0.3)
        draw_panel(axis, table, panel)
    return figure


def _fits(table: pd.DataFrame, panel: Panel) -> bool:
    """Tell whether the baseline leaves the scores enough of the axis to be told apart."""
    scores, both = table[panel.metric], table[[panel.metric, panel.baseline]].to_numpy()
    return bool(np.ptp(both) <= MAX_STRETCH * np.ptp(scores))


def _draw_numbers(axis: Axes, table: pd.DataFrame, panel: Panel) -> None:
    """Draw lines over the values, with their names at the right."""
    name = str(table.columns[0])
    table = table.sort_values(name)
    values = table[name].to_numpy()
    lines = [(panel.metric, "autoencoder", "o-", "C0")]
    if _fits(table, panel):
        lines.append((panel.baseline, panel.meaning, panel.style, panel.colour))
    lines.sort(key=lambda line: table[line[0]].iloc[-1])
    # The lower name hangs and the upper one stands, so that they cannot meet.
    for (column, text, style, colour), align in zip(lines, ("top", "bottom"), strict=False):
        axis.plot(values, table[column], style, color=colour)
        _name(axis, text, (values[-1], table[column].iloc[-1]), colour, va=align)
    places = values
    if values[0] > 0 and values[-1] >= LOG_SPAN * values[0]:
        axis.set_xscale("log")
        axis.minorticks_off()
        places = np.log(values)
    labelled = [0]
    for i in range(1, len(places)):
        if places[i] - places[labelled[-1]] >= MIN_TICK_DISTANCE * np.ptp(places):
            labelled.append(i)
    axis.set_xticks(
        values[labelled],
        [np.format_float_positional(value, trim="-") for value in values[labelled]],
    )
    axis.set_xlabel(name)
    axis.ticklabel_format(axis="y", style="plain", useOffset=False)


def _draw_seeds(axis: Axes, table: pd.DataFrame, panel: Panel) -> None:
    """Draw the score of each seed, their mean and their seed noise."""
    scores = table[panel.metric]
    mean = scores.mean()
    places = range(len(table))
    axis.plot(places, scores, "o", color="C0")
    axis.set_xticks(places, table["seed"].map(str))
    axis.axhline(mean, color="C0")
    right: dict[str, Any] = {"xycoords": ("axes fraction", "data")}
    _name(axis, f"mean {mean:.5f}", (1, mean), "C0", **right)
    if len(table) > 1:
        noise = noise_of(table)[panel.metric]
        axis.axhspan(mean - noise / 2, mean + noise / 2, color="C0", alpha=0.15, linewidth=0)
        text = f"seed noise {noise:.5f},\nthe height of the band"
        _name(axis, text, (1, mean - noise / 2), "C0", **right)
    axis.set_xlabel("seed")
    axis.ticklabel_format(axis="y", style="plain", useOffset=False)


def _draw_categories(axis: Axes, table: pd.DataFrame, panel: Panel) -> None:
    """Draw a dot for each value, the best one at the top, with its score."""
    name = str(table.columns[0])
    table = table.sort_values(panel.metric, ascending=False)
    rows = range(len(table))
    axis.plot(table[panel.metric], rows, "o", color="C0")
    for row, score in zip(rows, table[panel.metric], strict=True):
        _name(axis, f"{score:.5f}", (score, row), "black", xytext=(0, 6), ha="center", va="bottom")
    if _fits(table, panel):
        axis.plot(table[panel.baseline], rows, "|", color=panel.colour, markersize=14)
        at_bottom = table[panel.baseline].iloc[0]
        align = "left" if at_bottom < table[panel.metric].mean() else "right"
        _name(axis, panel.meaning, (at_bottom, 0), panel.colour, xytext=(0, -18), ha=align)
    axis.set_yticks(rows, table[name].map(str))
    axis.set_ylim(-0.7, len(rows) - 0.3)
    axis.set_ylabel(name)
    axis.margins(x=0.12)
    axis.locator_params(axis="x", nbins=5)
    axis.ticklabel_format(axis="x", style="plain", useOffset=False)


def _name(axis: Axes, text: str, place: tuple[float, float], colour: str, **options: Any) -> None:
    """Write a name next to a point, by default to its right, even outside the axes."""
    usual: dict[str, Any] = {"xytext": (8, 0), "textcoords": "offset points", "va": "center"}
    axis.annotate(text, place, color=colour, annotation_clip=False, **usual | options)
