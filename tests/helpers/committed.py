"""The committed run: what it was made with, and whether the pages quote it."""

import json
import re
import subprocess
from typing import Any

import pytest
import yaml

from helpers.project import ROOT


def committed(path: str) -> str:
    """The contents of a file in HEAD; a repro on this machine may have changed it since."""
    shown = subprocess.run(
        ["git", "show", f"HEAD:./{path}"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if shown.returncode:
        pytest.skip(f"{path} is not committed")
    return shown.stdout


def recorded_parameters(lock: str) -> dict[str, Any]:
    """The parameters with which the stages of a dvc.lock ran."""
    stages = yaml.safe_load(lock)["stages"]
    found = {"launcher": stages["train"]["cmd"].partition(" stages.train ")[0]}
    for stage in stages.values():
        found |= stage.get("params", {}).get("params.yaml", {})
    return found


def documented_parameters() -> dict[str, Any]:
    """The parameters of the run that the pages quote, from docs/parameters.md."""
    page = (ROOT / "docs/parameters.md").read_text()
    return {
        name: yaml.safe_load(value)
        for name, value in re.findall(r"^\| `(\w+)` \| `([^`]*)` \|", page, re.MULTILINE)
    }


def skip_if_different(run: dict[str, Any], other: dict[str, Any], reason: str) -> None:
    """Skip the test if the two differ in a parameter, with the reason and the parameters."""
    names = [name for name in other if name in run and run[name] != other[name]]
    if names:
        changes = ", ".join(f"{name} {run[name]}, not {other[name]}" for name in names)
        pytest.skip(f"{reason}: {changes}")


def quoted_metrics() -> dict[str, float]:
    """The metrics of the committed run, if it is the one that the pages quote."""
    skip_if_different(
        recorded_parameters(committed("dvc.lock")),
        documented_parameters(),
        "the committed run is not the one of docs/parameters.md, which the pages quote",
    )
    metrics: dict[str, float] = json.loads(committed("metrics/test.json"))
    return metrics
