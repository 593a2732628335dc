"""The pipeline's description held against its code: what shapes a result is declared."""

import ast
import csv
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, Project
from packaging.requirements import Requirement

from stages.params import Params

PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text())
STAGES = PIPELINE["stages"]
PACKAGES_SHAPE = {"train", "evaluate", "sanity_check"}  # their results depend on library versions


def names(entries: list[str | dict[str, object]]) -> list[str]:
    return [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]


def imported(module: Path) -> set[Path]:
    """The modules of ours that `module` imports anywhere in it, itself and theirs included."""
    found, todo = set(), {module, ROOT / "stages/__init__.py"}
    while todo:
        path = todo.pop()
        found.add(path)
        for node in ast.walk(ast.parse(path.read_text())):
            candidates: list[str] = []
            if isinstance(node, ast.Import):
                candidates = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                base = "stages" if node.level else node.module or ""
                candidates = [base, *(f"{base}.{alias.name}" for alias in node.names)]
            files = {ROOT / f"{name.replace('.', '/')}.py" for name in candidates}
            todo |= {file for file in files if file.is_file()} - found
    return found


def uses(module: Path) -> list[str]:
    """The parameters that a stage declares in its call of `parse`."""
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.keyword) and node.arg == "uses":
            return sorted(
                str(constant.value)
                for constant in ast.walk(node.value)
                if isinstance(constant, ast.Constant)
            )
    return []


def read_anywhere(module: Path) -> set[str]:
    """The parameters that a stage reads, as `params.NAME`, in its imports too."""
    return {
        node.attr
        for path in imported(module)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
        and getattr(node.value, "id", getattr(node.value, "attr", None)) == "params"
        and node.attr in Params.model_fields
    }


@pytest.mark.parametrize("stage", STAGES)
def test_deps_are_what_the_code_imports(stage: str) -> None:
    code = {str(path.relative_to(ROOT)) for path in imported(ROOT / f"stages/{stage}.py")}
    assert {dep for dep in STAGES[stage]["deps"] if dep.endswith(".py")} == code
    assert ("requirements.lock" in STAGES[stage]["deps"]) == (stage in PACKAGES_SHAPE)


@pytest.mark.parametrize("stage", STAGES)
def test_params_are_what_the_code_uses(stage: str) -> None:
    module = ROOT / f"stages/{stage}.py"
    declared = STAGES[stage].get("params", [])
    assert sorted(declared) == uses(module)
    assert set(declared) == read_anywhere(module)


def test_every_parameter_is_used_by_a_stage() -> None:
    used = {name for stage in STAGES.values() for name in stage.get("params", [])}
    assert used == set(Params.model_fields)


@pytest.mark.parametrize("stage", STAGES)
def test_paths_in_the_command_are_deps_and_outs(stage: str) -> None:
    definition = STAGES[stage]
    paths = set(re.findall(r"--\w+ (\S+)", definition["cmd"]))
    outs = {
        name for kind in ("outs", "metrics", "plots") for name in names(definition.get(kind, []))
    }
    reads = {dep for dep in definition["deps"] if not dep.endswith((".py", ".lock"))}
    checkpoints = set(re.findall(r"--checkpoint (\S+)", definition["cmd"]))
    assert paths - checkpoints == reads | outs


def test_stages_import_no_stage() -> None:
    for path in (ROOT / "stages").glob("*.py"):
        others = {ROOT / f"stages/{stage}.py" for stage in STAGES} - {path}
        assert not imported(path) & others


def test_every_module_is_used_by_a_stage() -> None:
    used = set.union(*(imported(ROOT / f"stages/{stage}.py") for stage in STAGES))
    assert used == set((ROOT / "stages").glob("*.py"))


def test_plots_have_their_files_and_columns(ran: Project) -> None:
    plotted = {}
    for stage in STAGES.values():
        for entry in stage.get("plots", []):
            ((path, options),) = entry.items()
            plotted[path] = {options[axis] for axis in ("x", "y") if axis in options}
    for entry in PIPELINE["plots"]:
        ((_, options),) = entry.items()
        for path, columns in options["y"].items():
            plotted[path] |= {options["x"], *columns}
    for path, columns in plotted.items():
        assert (ran.root / path).stat().st_size > 0
        if path.endswith(".csv"):
            with (ran.root / path).open() as file:
                assert columns <= set(next(csv.reader(file)))
    assert ran.run("dvc", "plots", "show", "--out", "../plots-shown").startswith("file://")


def test_outputs_are_ignored_or_tracked_by_git_as_dvc_keeps_them() -> None:
    for stage in STAGES.values():
        for kind in ("outs", "metrics", "plots"):
            for entry in stage.get(kind, []):
                (path,) = names([entry])
                options = entry[path] if isinstance(entry, dict) else {}
                ignored = subprocess.run(
                    ["git", "check-ignore", "--quiet", path], cwd=ROOT
                ).returncode
                assert (ignored == 0) == options.get("cache", True), path


def test_half_written_files_are_ignored_by_git_and_dvc() -> None:
    partial = "plots/.loss.csv.partial"
    assert subprocess.run(["git", "check-ignore", "--quiet", partial], cwd=ROOT).returncode == 0
    assert ".*.partial" in (ROOT / ".dvcignore").read_text().split()


def test_the_artifact_is_an_output() -> None:
    outs = {name for stage in STAGES.values() for name in names(stage.get("outs", []))}
    assert {artifact["path"] for artifact in PIPELINE["artifacts"].values()} <= outs


def test_every_direct_dependency_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    locked = set(re.findall(r"^([a-z0-9-]+)==", (ROOT / "requirements.lock").read_text(), re.M))
    for group in [project["dependencies"], *project["optional-dependencies"].values()]:
        assert {Requirement(line).name for line in group} <= locked
