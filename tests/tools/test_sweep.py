"""Sweeps through the real DVC queue."""

import json
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest
from helpers.errors import refusal
from helpers.project import Project
from helpers.stages import add_documented_stage
from PIL import Image

from tools.sweep import has_more_values, parse_values


@pytest.fixture(scope="module")
def swept(ran: Project, tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, str]:
    """The small project, with another metrics file, after a sweep; and what that printed."""
    project = ran.copy(tmp_path_factory.mktemp("swept"))
    add_documented_stage(project, metric="mse")
    project.commit("another metric of the same name")
    return project, project.run("python", "-m", "tools.sweep", "epochs", "1, 2, 2.0, 1")


@pytest.mark.slow
def test_a_sweep_has_a_row_for_each_value(swept: tuple[Project, str]) -> None:
    project, output = swept
    table = pd.read_csv(project.root / "sweeps/epochs.csv")
    metrics = list(json.loads((project.root / "metrics/test.json").read_text()))
    record = json.loads((project.root / "metrics/provenance.json").read_text())
    others = [name for name in record["parameters"] if name not in ("seed", "epochs")]
    made_with = [*others, "dataset", "train_md5", "test_md5"]
    assert list(table) == ["epochs", *metrics, *made_with]
    assert list(table["epochs"]) == [1, 2]
    assert table["bce"][1] < table["bce"][0]
    assert table[["epochs", *metrics]].to_string(index=False) in output
    assert set(table["batch_size"]) == {project.params()["batch_size"]}
    assert set(table["train_md5"]) == {record["train_md5"]}
    assert Image.open(project.root / "sweeps/epochs.png").size > (400, 300)
    shown = project.run("dvc", "exp", "show", "--csv")
    assert shown.count("Success") == 2


@pytest.mark.slow
def test_a_sweep_done_before_trains_nothing(swept: tuple[Project, str]) -> None:
    project, _ = swept
    before = (project.root / "sweeps/epochs.csv").read_text()
    project.run("python", "-m", "tools.sweep", "epochs", "range(2,0,-1)")
    after = pd.read_csv(project.root / "sweeps/epochs.csv")
    assert after.iloc[::-1].to_csv(index=False) == before
    name = next(
        line.split(",")[0]
        for line in project.run("dvc", "exp", "show", "--csv").splitlines()
        if "Success" in line
    )
    logs = project.run("dvc", "queue", "logs", name)
    assert project.stages_run(logs) == ["evaluate"]

    # Fewer values do not replace more of them, unless these were measured with other parameters.
    table, plot = (project.root / f"sweeps/epochs.{suffix}" for suffix in ("csv", "png"))
    committed = (table.read_text(), plot.read_bytes())
    output = project.run("python", "-m", "tools.sweep", "epochs", "1", status=1)
    assert "error: sweeps/epochs.csv stays as it is, because it has more values: " in output
    assert f" {after['bce'][1]:.6f} " in output
    assert (table.read_text(), plot.read_bytes()) == committed
    values = project.params() | {"seed": 5, "weight_decay": 0.03}
    project.write_params(values)
    project.commit("other parameters")
    project.run("python", "-m", "tools.sweep", "epochs", "1")
    assert list(pd.read_csv(table)["weight_decay"]) == [0.03]


@pytest.mark.slow
def test_a_value_that_fails_is_named_and_the_others_are_kept(project: Project) -> None:
    values = "mnist, 'data/incoming/it''s, not there.csv'"
    output = project.run("python", "-m", "tools.sweep", "dataset", values, status=1)
    assert re.search(
        r"^error: dataset=data/incoming/it's, not there.csv failed, see `dvc queue logs \S+`$",
        output,
        re.MULTILINE,
    )
    table = pd.read_csv(project.root / "sweeps/dataset.csv")
    assert list(table["dataset"]) == ["mnist"]
    assert table.notna().all(axis=None)
    assert (project.root / "sweeps/dataset.png").exists()


@pytest.mark.slow
def test_swept_seeds_are_the_seed_noise_of_the_review(project: Project) -> None:
    output = project.run_module("tools.review", status=2)
    assert "seed noise has not been measured with the parameters and data of main" in output
    project.run("python", "-m", "tools.sweep", "seed", "0, 1")
    project.commit("seed noise")
    assert "No difference: bce" in project.run_module("tools.review")


@pytest.mark.parametrize(
    ("name", "text", "values"),
    [
        ("z_size", "8,16", [8, 16]),
        ("z_size", "8, 16, 8.0, 010, 8", [8, 16, 10]),
        ("z_size", "range(8,17,8)", [8, 16]),
        ("seed", "range(0, 3), 7", [0, 1, 2, 7]),
        ("learning_rate", "1e-3, 0.001, .00001", [0.001, 0.00001]),
        ("activation", "tanh, 'sigmoid', tanh", ["tanh", "sigmoid"]),
        ("invert", "true, false", [True, False]),
        ("mirror", "null, file:///x", [None, "file:///x"]),
        ("dataset", "'data/a, b''s (1).csv'", ["data/a, b's (1).csv"]),
        ("dataset", "data/range(1).csv", ["data/range(1).csv"]),
    ],
)
def test_values_are_those_of_params_yaml_each_once(name: str, text: str, values: list[Any]) -> None:
    assert parse_values(name, text) == values


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("seed", "1,2,-1", "params.yaml with seed: -1: seed is -1, expected greater than or equal"),
        ("z_size", "8 16", "params.yaml with z_size: 8 16: z_size is '8 16', expected a valid int"),
        ("z_size", "8.5", "params.yaml with z_size: 8.5: z_size is 8.5, expected a valid integer"),
        ("z_size", "choice(8,16)", "params.yaml with z_size: choice(8: z_size is 'choice(8', expe"),
        ("z_size", "2026-11-26", 'params.yaml with z_size: "2026-11-26": z_size is datetime.date('),
        ("z_size", "", "z_size: no values, expected values separated by commas, such as 8,16,32"),
        ("z_size", "range(5,5)", "z_size: no values, expected values separated by commas"),
        ("z_size", "8,,16", "z_size: while parsing a flow node expected the node content"),
        ("z_size", "8],[9", "z_size: "),
        ("z_size", "range(1,9,0)", "z_size: range() arg 3 must not be zero, expected values sep"),
        ("z_size", "range(a,b)", "z_size: invalid literal for int()"),
        ("activation", "relu,step", "params.yaml with activation: step: activation is 'step', ex"),
        ("z_size", "[" * 500, "z_size: "),
    ],
)
def test_values_that_are_not_valid_are_refused(name: str, text: str, message: str) -> None:
    found = refusal(lambda: parse_values(name, text))
    assert found.startswith(message)
    assert "\n" not in found


def test_an_invalid_value_is_refused_before_anything_is_queued(project: Project) -> None:
    output = project.run_module("tools.sweep", "seed", "1,-1", status=1)
    assert "error: params.yaml with seed: -1: seed is -1, expected greater" in output
    assert "No experiment tasks in the queue" in project.run("dvc", "queue", "status")


def sweep_table(values: list[int], **columns: str) -> pd.DataFrame:
    made_with = {"activation": "sigmoid", "hidden_sizes": "[512, 256]", "noise": "0.0"} | columns
    return pd.DataFrame([{"z_size": value, "bce": 1 / value, **made_with} for value in values])


@pytest.mark.parametrize(
    ("old", "kept"),
    [
        (sweep_table([8, 16, 32]), True),
        (sweep_table([8, 16]), False),
        (sweep_table([8]), False),
        (sweep_table([8, 16, 32], activation="tanh"), False),
        (sweep_table([8, 16, 32], noise="0.5"), False),
        (sweep_table([8, 16, 32]).drop(columns="hidden_sizes"), False),
        (pd.DataFrame(), False),
    ],
)
def test_a_table_with_more_values_is_kept_if_it_is_of_the_same(
    tmp_path: Path, old: pd.DataFrame, kept: bool
) -> None:
    path = tmp_path / "z_size.csv"
    assert not has_more_values(path, sweep_table([8, 64]))
    old.to_csv(path, index=False)
    assert has_more_values(path, sweep_table([8, 64])) == kept


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
