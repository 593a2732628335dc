"""Stages of the user's."""

import re
from typing import Any

import yaml

from helpers.project import ROOT, Project


def documented_stage() -> dict[str, Any]:
    """The entry of dvc.yaml for the stage of docs/development.md, by its name."""
    page = (ROOT / "docs/development.md").read_text()
    (entry,) = re.findall(r"^```yaml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    found: dict[str, Any] = yaml.safe_load(entry)
    return found


def add_documented_stage(project: Project, metric: str) -> None:
    """Add the stage of docs/development.md to a project, with another name of its metric."""
    code = (ROOT / "tests/helpers/count.py").read_text()
    assert '"images": ' in code
    (project.root / "stages/count.py").write_text(code.replace('"images": ', f'"{metric}": '))
    pipeline = yaml.safe_load((project.root / "dvc.yaml").read_text())
    pipeline["stages"] |= documented_stage()
    (project.root / "dvc.yaml").write_text(yaml.safe_dump(pipeline, sort_keys=False))
