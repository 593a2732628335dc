"""Sweeps through the real DVC queue."""

import pandas as pd
import pytest
from conftest import Project
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
    assert project.stages_run(logs) == []


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
