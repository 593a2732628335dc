"""Sweeps through the real DVC queue."""

import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pandas as pd
import psutil
import pytest
from helpers.project import Project
from PIL import Image


@pytest.fixture(scope="module")
def swept(ran: Project, tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, str]:
    """The small project after a sweep over two values, and what that printed."""
    project = ran.copy(tmp_path_factory.mktemp("swept"))
    return project, project.run("python", "-m", "tools.sweep", "epochs", "1,2")


@pytest.mark.slow
def test_a_sweep_has_a_row_for_each_value(swept: tuple[Project, str]) -> None:
    project, output = swept
    table = pd.read_csv(project.root / "sweeps/epochs.csv")
    assert list(table["epochs"]) == [1, 2]
    assert table["bce"][1] < table["bce"][0]
    assert table.to_string(index=False) in output
    assert Image.open(project.root / "sweeps/epochs.png").size > (400, 300)
    shown = project.run("dvc", "exp", "show", "--csv")
    assert shown.count("Success") == 2


@pytest.mark.slow
def test_a_sweep_done_before_trains_nothing(swept: tuple[Project, str]) -> None:
    project, _ = swept
    before = (project.root / "sweeps/epochs.csv").read_text()
    project.run("python", "-m", "tools.sweep", "epochs", "2,1")
    after = pd.read_csv(project.root / "sweeps/epochs.csv")
    assert after.iloc[::-1].to_csv(index=False) == before
    name = next(
        line.split(",")[0]
        for line in project.run("dvc", "exp", "show", "--csv").splitlines()
        if "Success" in line
    )
    logs = project.run("dvc", "queue", "logs", name)
    assert project.stages_run(logs) == ["evaluate"]


@pytest.mark.slow
def test_a_value_that_fails_is_named(project: Project) -> None:
    before = (project.root / "sweeps/seed.csv").read_text()
    output = project.run_module("tools.sweep", "seed", "-1", status=1)
    assert "error: experiment " in output
    assert "failed; see `dvc queue logs " in output
    assert (project.root / "sweeps/seed.csv").read_text() == before


def test_an_unknown_parameter_is_refused(ran: Project) -> None:
    output = ran.run_module("tools.sweep", "z-size", "8", status=2)
    assert "invalid choice: 'z-size'" in output


def test_a_shallow_clone_is_refused_before_anything_is_queued(ran: Project, tmp_path: Path) -> None:
    shallow = Project(tmp_path / "shallow")
    ran.run("git", "clone", "--quiet", "--depth=1", ran.root.as_uri(), str(shallow.root))
    assert "`git fetch --unshallow` first" in shallow.run_module(
        "tools.sweep", "seed", "1", status=1
    )
    assert "No experiment tasks in the queue" in shallow.run("dvc", "queue", "status")


def kill_workers(project: Project) -> None:
    """Kill the workers of a project's queue with all that they started."""
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            work = {"queue-worker", "exec-run", "stages.train"} & set(process.cmdline())
            if work and Path(process.cwd()).is_relative_to(project.root):
                process.kill()


@pytest.fixture
def endless(project: Project) -> Iterator[tuple[Project, subprocess.Popen[str]]]:
    """A sweep whose two trainings run, and would not end."""
    project.set_params(epochs=1_000_000, patience=0)
    project.commit("an endless training")
    with project.start("python", "-m", "tools.sweep", "seed", "1,2") as sweep:
        while project.run("dvc", "queue", "status").count("Running") < 2:
            assert sweep.poll() is None
        yield project, sweep
        kill_workers(project)


@pytest.mark.slow
def test_an_interrupted_sweep_says_what_continues(
    endless: tuple[Project, subprocess.Popen[str]],
) -> None:
    project, sweep = endless
    sweep.send_signal(signal.SIGINT)
    line = sweep.communicate(timeout=250)[0].splitlines()[-1]
    assert sweep.returncode == 1
    match = re.search(
        r"interrupted; (\S+), (\S+) continue .* `dvc queue kill (\S+) (\S+)` stops", line
    )
    assert match
    refused = project.run_module("tools.sweep", "seed", "3", status=1)
    assert f"error: other experiments are queued or running: {match[1]}, {match[2]};" in refused
    project.run("dvc", "queue", "kill", match[3], match[4])


@pytest.mark.slow
def test_a_sweep_whose_workers_died_ends(endless: tuple[Project, subprocess.Popen[str]]) -> None:
    project, sweep = endless
    kill_workers(project)
    output = sweep.communicate(timeout=250)[0]
    assert sweep.returncode == 1
    assert "error: the workers of the queue have died, " in output.splitlines()[-1]
