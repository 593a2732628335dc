"""dvc.yaml matches the code: whatever shapes a result is declared, and nothing else is."""

import ast
import csv
import json
import os
import re
import subprocess
import tomllib
from functools import cache
from pathlib import Path

import pytest
import yaml
from helpers.project import ROOT, Project, uses
from helpers.stages import documented_stage
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from autoencoder.base.params import Params

PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text())
STAGES = PIPELINE["stages"]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
# The names under which the pinned packages of each group are imported.
GROUPS = {
    group: {"PIL" if pin.startswith("pillow") else pin.partition("==")[0] for pin in pins}
    for group, pins in PROJECT["dependency-groups"].items()
}
LIBRARY = {"autoencoder", "stages", "tools", "benchmarks"}


def names(entries: list[str | dict[str, object]]) -> list[str]:
    return [entry if isinstance(entry, str) else next(iter(entry)) for entry in entries]


def module_file(name: str) -> Path | None:
    """The file of a module of this project, by its dotted name."""
    if name.partition(".")[0] not in LIBRARY:
        return None
    path = ROOT / name.replace(".", "/")
    candidates = (path.with_suffix(".py"), path / "__init__.py")
    return next((file for file in candidates if file.is_file()), None)


@cache
def imports(module: Path) -> set[Path]:
    """This project's modules that a module imports, anywhere in its code, directly."""
    found = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            dotted = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            dotted = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in dotted:
            parts = name.split(".")
            prefixes = (".".join(parts[: end + 1]) for end in range(len(parts)))
            found |= {file for prefix in prefixes if (file := module_file(prefix))}
    return found


@cache
def reachable(module: Path) -> set[Path]:
    """A module and all of this project's modules that it imports, directly or not.

    What autoencoder/__init__.py imports lazily is imported by nobody but a notebook.
    """
    found, todo = set(), {module, module.with_name("__init__.py")}
    while todo:
        path = todo.pop()
        found.add(path)
        if path != ROOT / "autoencoder/__init__.py":
            todo |= imports(path) - found
    return found


def packages(module: Path) -> set[str]:
    """The packages of others that a module imports."""
    found = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.partition(".")[0])
    return found


def params_read(module: Path) -> set[str]:
    """The parameters that a module and its imports read, as ``params.NAME``."""
    return {
        node.attr
        for path in reachable(module)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
        and ast.unparse(node.value) in ("params", "self.params")
        and node.attr in Params.model_fields
    }


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_declares_what_shapes_its_result(stage: str) -> None:
    module, definition = ROOT / f"stages/{stage}.py", STAGES[stage]
    paths = set(re.findall(r"--\w+ (\S+)", definition["cmd"]))
    outs = {
        name for kind in ("outs", "metrics", "plots") for name in names(definition.get(kind, []))
    }
    code = {ROOT / dep for dep in set(definition["deps"]) - paths}

    modules = reachable(module)
    covered = {path: {dep for dep in code if path.is_relative_to(dep)} for path in modules}
    assert [path for path, deps in covered.items() if not deps] == [], "imported, not in deps"
    assert code == set.union(*covered.values()), "in deps, not imported"

    declared = {entry for entry in definition.get("params", []) if isinstance(entry, str)}
    assert declared == set(uses(stage)) == params_read(module)

    inputs = set(definition["deps"]) & paths
    states = set(re.findall(r"--checkpoints (\S+)", definition["cmd"]))
    assert inputs | outs == paths - states


def test_the_record_has_the_modules_that_train_depends_on(ran: Project) -> None:
    record = json.loads((ran.root / "metrics/provenance.json").read_text())
    declared = {ran.root / dep for dep in STAGES["train"]["deps"] if dep != "data/train.csv"}
    modules = {
        path.relative_to(ran.root).as_posix()
        for dep in declared
        for path in ([dep] if dep.is_file() else dep.glob("*.py"))
    }
    assert record["code"].keys() == modules


def test_a_package_that_shapes_no_result_trains_nothing(project: Project) -> None:
    for name in ("pyproject.toml", "requirements.lock"):
        path = project.root / name
        text = path.read_text()
        path.write_text(
            text.replace('    "mypy", ', '    "dvc[ssh]",\n    "mypy", ') + "\n# more\n"
        )
    assert project.run("dvc", "status").strip().endswith("up to date.")
    pyproject = project.root / "pyproject.toml"
    pyproject.write_text(pyproject.read_text().replace('"torch==', '"torch==9.'))
    stale = json.loads(project.run("dvc", "status", "--json"))
    assert list(stale) == ["train", "evaluate", "sanity_check"]


@pytest.mark.parametrize("stage", [*STAGES, "count"])
def test_a_stage_declares_the_packages_that_shape_its_result(stage: str) -> None:
    documented = documented_stage()
    file = ROOT / f"{'tests/helpers' if stage in documented else 'stages'}/{stage}.py"
    keys = [
        key
        for entry in (STAGES | documented)[stage].get("params", [])
        if isinstance(entry, dict)
        for key in entry["pyproject.toml"]
    ]
    declared = set(GROUPS) if keys == ["dependency-groups"] else {key[18:] for key in keys}
    imported = {name for path in reachable(file) for name in packages(path)}
    used = {group for group, names in GROUPS.items() if imported & names}
    # fetch moves bytes; its modules share a directory with those that read images.
    assert declared == (set() if stage == "fetch" else used)


def test_pins_are_exact() -> None:
    for pins in PROJECT["dependency-groups"].values():
        assert all(re.fullmatch(r"[a-z]+==[0-9.]+", pin) for pin in pins)


def test_every_parameter_is_used_by_a_stage_or_its_command() -> None:
    used = {
        name
        for stage in STAGES.values()
        for name in stage.get("params", [])
        if isinstance(name, str)
    }
    in_commands = re.findall(r"\$\{(\w+)\}", "".join(stage["cmd"] for stage in STAGES.values()))
    assert sorted([*used, *in_commands]) == sorted(Params.model_fields)


def test_only_the_launcher_reaches_a_shell() -> None:
    text = (ROOT / "dvc.yaml").read_text()
    assert text.count("${") == 1
    assert STAGES["train"]["cmd"].startswith("${launcher} stages.train ")


def test_layers_import_downwards_only() -> None:
    """Stages import the library; the library imports neither stages nor tools."""
    for stage in STAGES:
        packages = {path.parts[-2] for path in reachable(ROOT / f"stages/{stage}.py")}
        assert not packages & {"tools", "benchmarks"}
        # evaluate refuses models that the current train would not have made.
        checked = {"train"} if stage == "evaluate" else set()
        others = {ROOT / f"stages/{other}.py" for other in STAGES if other not in {stage} | checked}
        assert not others & reachable(ROOT / f"stages/{stage}.py")
    for module in (ROOT / "autoencoder").rglob("*.py"):
        assert {path.relative_to(ROOT).parts[0] for path in imports(module)} <= {"autoencoder"}


def test_every_module_of_the_library_is_used() -> None:
    programs = [*(ROOT / "stages").glob("*.py"), *(ROOT / "tools").glob("*.py")]
    used = set.union(*(reachable(program) for program in programs))
    assert set((ROOT / "autoencoder").rglob("*.py")) <= used


@pytest.mark.process
def test_fetch_and_convert_import_no_network() -> None:
    for stage in ("fetch", "convert"):
        code = (
            f"import sys, stages.{stage};"
            "print([name for name in sys.modules"
            " if name == 'torch' or name.startswith('autoencoder.network')])"
        )
        assert Project(ROOT).run("python", "-c", code) == "[]\n"


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


def ignored_by_git(path: str) -> bool:
    """Whether this checkout's .gitignore files, not the user's settings, ignore a path."""
    command = ["git", "-c", f"core.excludesFile={os.devnull}", "check-ignore", "--quiet", path]
    return subprocess.run(command, cwd=ROOT).returncode == 0


@pytest.mark.process
def test_outputs_are_ignored_or_tracked_by_git_as_dvc_keeps_them() -> None:
    for stage in STAGES.values():
        for kind in ("outs", "metrics", "plots"):
            for entry in stage.get(kind, []):
                (path,) = names([entry])
                options = entry[path] if isinstance(entry, dict) else {}
                assert ignored_by_git(path) == options.get("cache", True), path


@pytest.mark.process
def test_half_written_files_are_ignored_by_git_and_dvc() -> None:
    assert ignored_by_git("plots/.loss.csv.partial")
    assert ".*.partial" in (ROOT / ".dvcignore").read_text().split()


def test_the_artifact_is_an_output() -> None:
    outs = {name for stage in STAGES.values() for name in names(stage.get("outs", []))}
    assert {artifact["path"] for artifact in PIPELINE["artifacts"].values()} <= outs


def test_every_direct_dependency_is_locked() -> None:
    project = PROJECT["project"]
    locked = set(re.findall(r"^([a-z0-9-]+)==", (ROOT / "requirements.lock").read_text(), re.M))
    for group in [project["dependencies"], *project["optional-dependencies"].values()]:
        assert {canonicalize_name(Requirement(line).name) for line in group} <= locked
