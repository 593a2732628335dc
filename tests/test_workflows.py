"""What runs by itself: GitHub's workflows and the hooks before a commit."""

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers.project import ROOT, Project

MAKEFILE = (ROOT / "Makefile").read_text()
WORKFLOWS = sorted((ROOT / ".github/workflows").iterdir())
PARSED = {path.name: yaml.safe_load(path.read_text()) for path in WORKFLOWS}
JOBS = {
    f"{name}: {job}": definition
    for name, workflow in PARSED.items()
    for job, definition in workflow["jobs"].items()
}
STEPS = [step for job in JOBS.values() for step in job["steps"]]
RUNS = [step["run"] for step in STEPS if "run" in step]

# A person can type these too, after `make setup`.
COMMANDS = ("make ", ".venv/bin/python -m tools.review ", "cat review/review.md ", "gh pr comment ")


def test_there_are_workflows() -> None:
    assert list(PARSED) == ["checks.yml", "review.yml"]
    for essential in ("make lint", "make test", "make repro"):
        assert essential in RUNS


@pytest.mark.process
@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_is_valid(path: Path) -> None:
    checker = Path(sys.executable).with_name("check-jsonschema")
    subprocess.run([checker, "--builtin-schema", "vendor.github-workflows", path], check=True)


@pytest.mark.parametrize("run", RUNS)
def test_a_run_line_is_one_command_of_those_allowed(run: str) -> None:
    assert run.startswith(COMMANDS)
    assert not re.search(r"[\n;&|]|\$[({]", run), "more than one command, or one made by GitHub"
    command, target, *_ = shlex.split(run)
    if command == "make":
        assert re.search(rf"^{target}:", MAKEFILE, re.MULTILINE)


@pytest.mark.parametrize("name", JOBS)
def test_a_job_ends_in_time_and_has_no_right_that_it_does_not_name(name: str) -> None:
    job = JOBS[name]
    workflow = PARSED[name.split(":")[0]]
    assert job["timeout-minutes"] <= 60
    assert workflow["concurrency"]["cancel-in-progress"] is True
    granted: dict[str, str] = job.get("permissions", workflow["permissions"])
    # Who may write runs nothing of what was checked out.
    writes = "write" in granted.values()
    runs_code = any(re.match(r"make |.venv/", step.get("run", "")) for step in job["steps"])
    assert not (writes and runs_code)


@pytest.mark.parametrize("action", sorted({step["uses"] for step in STEPS if "uses" in step}))
def test_an_action_is_pinned(action: str) -> None:
    assert re.fullmatch(r"actions/[a-z-]+@(v\d+|[0-9a-f]{40})", action)


def test_the_review_report_is_kept_when_the_gate_fails() -> None:
    steps = JOBS["review.yml: review"]["steps"]
    gate = next(i for i, step in enumerate(steps) if "tools.review" in step.get("run", ""))
    assert "if" not in steps[gate]
    assert "continue-on-error" not in steps[gate]
    after = steps[gate + 1 :]
    assert all("!cancelled()" in step["if"] for step in after)
    assert [step["with"]["path"] for step in after if "upload" in step.get("uses", "")] == [
        "review/"
    ]


def test_the_hooks_before_a_commit_run_what_make_lint_runs() -> None:
    config: dict[str, Any] = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    hooks = [hook for repository in config["repos"] for hook in repository["hooks"]]
    recipe = re.search(r"^lint:.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)
    assert recipe
    assert [hook["entry"] for hook in hooks] == [
        f"""sh -c 'PATH="${{VIRTUAL_ENV:-.venv}}/bin:$PATH" {command}'"""
        for command in re.findall(r"\$\(BIN\)/(.*)", recipe[1])
    ]
    assert {hook["language"] for hook in hooks} == {"system"}
    assert not any(hook["pass_filenames"] for hook in hooks)


def test_the_hooks_find_their_commands_outside_the_environment(fresh_project: Project) -> None:
    (fresh_project.root / ".venv").symlink_to(sys.prefix)
    fresh_project.environment |= {"PATH": "/usr/bin:/bin", "SKIP": "types"}
    fresh_project.environment["PRE_COMMIT_HOME"] = str(fresh_project.root / "out")
    fresh_project.environment.pop("VIRTUAL_ENV", None)
    output = fresh_project.run(".venv/bin/pre-commit", "run", "--all-files")
    assert output.count("Passed") == 2
