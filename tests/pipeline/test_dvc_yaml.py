"""The pipeline's description held against its code: what shapes a result is declared."""

import ast
import copy
import csv
import re
import shutil
import subprocess
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT, Project, uses
from packaging.requirements import Requirement

from autoencoder.params import Params

PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text())
STAGES = PIPELINE["stages"]
BY_HAND = {"encode", "reconstruct"}  # what is run with a trained model; no stage reads its output
PACKAGES_SHAPE = {"train", "evaluate", "sanity_check"}  # their results depend on library versions


def names(entries: list[str | dict[str, object]]) -> list[str]:
    return [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]


@cache
def imported(module: Path) -> set[Path]:
    """The modules of ours that `module` imports anywhere in it, itself and theirs included."""
    root = next(parent for parent in module.parents if parent.name == "stages").parent
    found, todo = set(), {module}
    while todo:
        path = todo.pop()
        found.add(path)
        inside = path.relative_to(root).parent
        packages = [root / package / "__init__.py" for package in (inside, *inside.parents[:-1])]
        todo |= set(packages) - found
        for node in ast.walk(ast.parse(path.read_text())):
            candidates: list[str] = []
            if isinstance(node, ast.Import):
                candidates = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                start = [*inside.parts[: len(inside.parts) + 1 - node.level]] if node.level else []
                base = ".".join(filter(None, [*start, node.module]))
                candidates = [base, *(f"{base}.{alias.name}" for alias in node.names)]
            files = {root / f"{name.replace('.', '/')}.py" for name in candidates}
            todo |= {file for file in files if file.is_file()} - found
    return found


@cache
def read_anywhere(module: Path) -> set[str]:
    """The parameters that a stage reads, as `params.NAME` or by getattr, in its imports too."""
    found = set()
    for path in imported(module):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Attribute(
                    ast.Name("params") | ast.Attribute(attr="params"), name
                ) | ast.Call(ast.Name("getattr"), [ast.Name("params"), ast.Constant(name), *_]) if (
                    name in Params.model_fields
                ):
                    found.add(name)
                case ast.Call(ast.Name("getattr"), [ast.Name("params"), other, *_]):
                    found.add(ast.unparse(other))
    return found


def gaps(pipeline: dict[str, Any], root: Path = ROOT) -> list[str]:
    """Where what shapes the result of a stage and what dvc.yaml declares for it differ."""
    found = []
    for stage, definition in pipeline["stages"].items():
        module = root / f"stages/{stage}.py"
        deps, params = set(definition["deps"]), set(definition.get("params", []))
        outs = {
            name
            for kind in ("outs", "metrics", "plots")
            for name in names(definition.get(kind, []))
        }
        code = {str(path.relative_to(root)) for path in imported(module)}
        packages = {"requirements.lock"} if stage in PACKAGES_SHAPE else set()
        paths = set(re.findall(r"--\w+ (\S+)", definition["cmd"]))
        checkpoints = set(re.findall(r"--checkpoint (\S+)", definition["cmd"]))
        for what, declared, expected in (
            ("deps on code and packages", deps - paths, code | packages),
            ("deps and outs named in cmd", deps & paths | outs, paths - checkpoints),
            ("params in its call of parse", params, uses(module)),
            ("params that the code reads", params, read_anywhere(module)),
        ):
            found += [f"{stage}: {what}: {name}" for name in sorted(declared ^ expected)]
    return found


def test_dvc_yaml_declares_what_shapes_each_result() -> None:
    assert gaps(PIPELINE) == []


@pytest.mark.parametrize(
    ("stage", "kind", "entry"),
    [
        (stage, kind, entry)
        for stage, definition in STAGES.items()
        for kind in ("deps", "params")
        for entry in definition.get(kind, [])
    ],
)
def test_an_entry_taken_away_is_missed(stage: str, kind: str, entry: str) -> None:
    pipeline = copy.deepcopy(PIPELINE)
    pipeline["stages"][stage][kind].remove(entry)
    found = gaps(pipeline)
    assert found
    assert all(gap.startswith(f"{stage}: ") and gap.endswith(f": {entry}") for gap in found)


@pytest.mark.parametrize(
    ("module", "line", "gap"),
    [
        (
            "convert",
            "import autoencoder.network.step",
            "convert: deps on code and packages: stages/sh",
        ),
        (
            *("shared/idx", "from stages.shared import checkpoint"),
            "fetch: deps on code and packages: stages/shared/checkpoint.py",
        ),
        (
            *("shared/files", "from .trainer import EPS"),
            "convert: deps on code and packages: stages/shared/autoencoder.py",
        ),
        ("evaluate", "uses = parse(uses=['seed'])", "evaluate: params in its call of parse: seed"),
        ("evaluate", "params.seed", "evaluate: params that the code reads: seed"),
        ("shared/table", "self.params.seed", "convert: params that the code reads: seed"),
        ("evaluate", "getattr(params, 'seed')", "evaluate: params that the code reads: seed"),
        ("evaluate", "getattr(params, name)", "evaluate: params that the code reads: name"),
    ],
)
def test_a_line_of_code_that_reads_more_is_seen(
    tmp_path: Path, module: str, line: str, gap: str
) -> None:
    shutil.copytree(ROOT / "stages", tmp_path / "stages")
    with (tmp_path / f"stages/{module}.py").open("a") as file:
        file.write(line + "\n")
    assert any(found.startswith(gap) for found in gaps(PIPELINE, tmp_path))


def test_every_parameter_is_used_by_a_stage_or_its_command() -> None:
    used = {name for stage in STAGES.values() for name in stage.get("params", [])}
    in_commands = re.findall(r"\$\{(\w+)\}", "".join(stage["cmd"] for stage in STAGES.values()))
    assert sorted([*used, *in_commands]) == sorted(Params.model_fields)


def test_stages_import_no_stage() -> None:
    for path in (ROOT / "stages").rglob("*.py"):
        others = {ROOT / f"stages/{stage}.py" for stage in {*STAGES, *BY_HAND}} - {path}
        assert not imported(path) & others


def test_every_module_is_used_by_a_stage_or_by_hand() -> None:
    used = set.union(*(imported(ROOT / f"stages/{name}.py") for name in {*STAGES, *BY_HAND}))
    assert used == set((ROOT / "stages").rglob("*.py"))


@pytest.mark.parametrize("name", sorted(BY_HAND))
def test_what_is_run_by_hand_is_no_stage_and_README_runs_it(name: str) -> None:  # noqa: N802
    module = ROOT / f"stages/{name}.py"
    assert name not in STAGES
    assert f"\n$ python -m stages.{name} " in (ROOT / "README.md").read_text()
    assert read_anywhere(module) == uses(module)


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
