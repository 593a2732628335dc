"""The report of a review: a page that opens without a network, and a summary in Markdown."""

import io
import re
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.style
import pandas as pd
from matplotlib.figure import Figure

from autoencoder.plots import frame_losses
from tools.review.compare import Change
from tools.review.run import PICTURES, Run
from tools.review.seed_noise import BETTER
from tools.templates import write_page

# Placeholders in the figures for the colours of the page, in its light or dark scheme. Where the
# styles of the page are blocked, colours follow that stand out on white and on black.
TEXT, LINE, BASE, CURRENT = "#000001", "#000002", "#000003", "#000004"
COLOURS = {
    TEXT: "currentColor",
    LINE: "var(--line, #888)",
    BASE: "var(--base, #8a9099)",
    CURRENT: "var(--current, #2f80de)",
}
STYLE: Any = {
    **dict.fromkeys(
        ["text.color", "axes.labelcolor", "xtick.labelcolor", "ytick.labelcolor"], TEXT
    ),
    **dict.fromkeys(["axes.edgecolor", "grid.color", "xtick.color", "ytick.color"], LINE),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
    "figure.figsize": (5.4, 3.6),
    "svg.fonttype": "none",
    "svg.hashsalt": "review",
    "text.parse_math": False,
}


def describe(run: Run) -> str:
    """Describe the loss curve of a run in words."""
    last, best = run.losses.iloc[-1], run.losses.iloc[run.losses["validation"].argmin()]
    return (
        f"{run.name}: {last['epoch']:.0f} epochs, best validation BCE {best['validation']:.5f} "
        f"in epoch {best['epoch']:.0f}, training BCE {last['train']:.5f} in the last"
    )


def draw_losses(base: Run, current: Run) -> Figure:
    """Draw the loss of each epoch of both runs."""
    figure = Figure()
    axis = figure.subplots()
    for run, colour in ((base, BASE), (current, CURRENT)):
        losses = run.losses.set_index("epoch")
        for series, line in (("train", "--"), ("validation", "-")):
            axis.plot(losses[series], line, color=colour, label=f"{run.name}, {series}")
    frame_losses(axis, [base.losses, current.losses])
    figure.legend(loc="outside upper center", ncols=2)
    return figure


def draw_classes(base: Run, current: Run) -> Figure:
    """Draw the test loss of each class of both runs."""
    figure = Figure()
    both = pd.DataFrame({run.name: run.classes for run in (base, current)})
    axis = both.plot.bar(
        ax=figure.subplots(), color=[BASE, CURRENT], width=0.8, rot=0, grid=False, legend=False
    )
    axis.grid(axis="y")
    axis.set(xlabel="class", ylabel="test BCE, mean over pixels")
    figure.legend(loc="outside upper center", ncols=2)
    return figure


def svg(figure: Figure, name: str) -> str:
    """Render a figure as an SVG element in the colours of the page.

    It has presentation attributes in place of styles, which a content security policy may block.
    The ids in it begin with `name`, because several figures share the page.
    """
    buffer = io.StringIO()
    nothing = dict.fromkeys(["Creator", "Date", "Format", "Type"])
    figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    _, start, rest = buffer.getvalue().partition("<svg ")
    element = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", start + rest)
    element = re.sub(r' style="([^"]*)"', _presentation_attributes, element)
    # The only style sheet, which would apply to the whole page.
    element = re.sub(r"<style.*?</style>", "", element)
    element = element.replace("<svg ", '<svg stroke-linejoin="round" stroke-linecap="butt" ', 1)
    for placeholder, colour in COLOURS.items():
        element = element.replace(placeholder, colour)
    return element


def _presentation_attributes(style: re.Match[str]) -> str:
    """Turn `` style="fill: none; stroke-width: 2"`` into `` fill="none" stroke-width="2"``."""
    declarations = (part.partition(":") for part in style[1].split(";"))
    return "".join(f' {name.strip()}="{value.strip()}"' for name, _, value in declarations)


def changed_inputs(base: Run, current: Run) -> list[tuple[str, Any, Any]]:
    """List the parameters, environment and code that differ: name, base and current."""
    names = sorted(base.params.keys() | current.params.keys())
    rows = [(name, base.params.get(name), current.params.get(name)) for name in names]
    before, now = base.record, current.record
    facts = [name for name in now if name not in ("parameters", "code", "best_epoch")]
    rows += [(name, before.get(name), now[name]) for name in facts if "md5" not in name]
    other_code, code = before["code"], now["code"]
    files = [name for name in other_code | code if other_code.get(name) != code.get(name)]
    rows += [(name, "other code", "this code") for name in files]
    return [row for row in rows if row[1] != row[2]]


def markdown(value: object) -> object:
    """Escape text so that Markdown shows it as it is, without markup, links or mentions."""
    if not isinstance(value, str):
        return value
    special = r"[\\`*\[\]<>|~@#&$]|(?<![a-zA-Z0-9])_|_(?![a-zA-Z0-9])|:(?=//)|(?<=www)\."
    escaped = re.sub(special, lambda match: f"&#{ord(match[0])};", value)
    # GitHub looks for mentions and issues in the text of the page.
    return re.sub(r"&#(64|35);", r"\g<0><!-- -->", escaped).replace("\n", " ")


def write(
    directory: Path,
    base: Run,
    current: Run,
    changes: list[Change],
    verdict: tuple[str, str],
) -> None:
    """Write the page, index.html, and the summary, review.md, with what `compare.verdict` says."""
    with mpl.style.context(["default", STYLE]):
        losses = svg(draw_losses(base, current), "losses")
        classes = svg(draw_classes(base, current), "classes")
    facts = {
        "word": verdict[0],
        "line": verdict[1],
        "base": base,
        "current": current,
        "changes": changes,
        "better": BETTER,
        "inputs": changed_inputs(base, current),
        "classes": pd.DataFrame({"base": base.classes, "current": current.classes}),
        "losses_figure": losses,
        "classes_figure": classes,
        "losses_text": [describe(run) for run in (base, current)],
        "pictures": PICTURES,
    }
    here = Path(__file__)
    write_page(directory / "index.html", here.with_name("review.html"), facts)
    write_page(directory / "review.md", here.with_name("review.md"), facts, markdown)
