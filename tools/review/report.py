"""The report of a review: a page that opens without a network, and a summary in Markdown."""

import re
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from autoencoder.plots import default_style, frame_losses
from tools.review.compare import Change
from tools.review.run import PICTURES, Run
from tools.review.seed_noise import BETTER
from tools.templates import write_page


def describe(run: Run) -> str:
    """Describe the loss curve of a run in words."""
    last, best = run.losses.iloc[-1], run.losses.iloc[run.losses["validation"].argmin()]
    return (
        f"{run.name}: {last['epoch']:.0f} epochs, best validation BCE {best['validation']:.5f} "
        f"in epoch {best['epoch']:.0f}, training BCE {last['train']:.5f} in the last"
    )


@default_style()
def loss_axes(base: Run, current: Run) -> Axes:
    """Scale the axes of a chart with the losses of both runs, which the page draws itself."""
    axes = Figure().subplots()
    for run in (base, current):
        axes.plot(run.losses["epoch"], run.losses[["train", "validation"]])
    frame_losses(axes, [base.losses, current.losses])
    return axes


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
    axes = loss_axes(base, current)
    ticks = [tick for tick in axes.get_yticks() if axes.viewLim.y0 <= tick <= axes.viewLim.y1]
    tick_texts = axes.yaxis.get_major_formatter().format_ticks(ticks)
    facts = {
        "word": verdict[0],
        "line": verdict[1],
        "base": base,
        "current": current,
        "better": BETTER,
        "changes": changes,
        "inputs": changed_inputs(base, current),
        "classes": pd.DataFrame({"base": base.classes, "current": current.classes}),
        "losses_text": [describe(run) for run in (base, current)],
        "limits": axes.viewLim,
        "epochs": axes.get_xticks(),
        "losses": list(zip(ticks, tick_texts, strict=True)),
        "pictures": PICTURES,
    }
    here = Path(__file__)
    write_page(directory / "index.html", here.with_name("review.html"), facts)
    write_page(directory / "review.md", here.with_name("review.md"), facts, markdown)
