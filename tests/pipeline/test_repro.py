"""The pipeline as a whole, through the real dvc, on a small data set."""

import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
from helpers.digits import Digits
from helpers.project import AFTER_TABLES, STAGES, Project
from PIL import Image

from autoencoder.data import table


def test_first_repro_runs_every_stage(ran: Project, first_output: str) -> None:
    assert ran.stages_run(first_output) == STAGES


def test_second_repro_runs_nothing(ran: Project) -> None:
    output = ran.run("dvc", "repro")
    assert ran.stages_run(output) == []
    assert "up to date" in output
    ran.run("dvc", "status", "--quiet")


def test_tables_hold_what_was_fetched(
    ran: Project, train_digits: Digits, test_digits: Digits
) -> None:
    for name, (labels, images) in (("train", train_digits), ("test", test_digits)):
        frame = pd.read_csv(ran.root / f"data/{name}.csv")
        assert list(frame.columns) == table.COLUMNS
        assert (frame["label"] == labels).all()
        assert (frame.iloc[:, 1:].to_numpy().reshape(-1, 28, 28) == images).all()


def test_metrics_and_plots_are_written(ran: Project) -> None:
    metrics = json.loads((ran.root / "metrics/test.json").read_text())
    assert metrics["bce_floor"] < metrics["bce"] < metrics["bce_mean_image"]
    losses = pd.read_csv(ran.root / "plots/loss.csv")
    assert list(losses["epoch"]) == list(range(1, 9))
    assert losses["validation"].iloc[-1] < losses["validation"].iloc[0]
    classes = pd.read_csv(ran.root / "plots/classes.csv")
    assert list(classes["label"]) == list(range(10))
    assert (classes["images"] == 10).all()
    for picture in ("sanity_check", "loss"):
        assert Image.open(ran.root / f"plots/{picture}.png").size > (400, 300)


def test_git_holds_metrics_and_plots_but_no_data_and_no_weights(ran: Project) -> None:
    tracked = set(ran.run("git", "ls-files").splitlines())
    assert {"dvc.lock", "metrics/test.json", "plots/loss.csv", "plots/sanity_check.png"} <= tracked
    outputs = {name for name in tracked if name.startswith(("data/", "models/"))}
    assert outputs == {"data/.gitignore", "data/incoming/.gitignore", "models/.gitignore"}
    assert ran.run("git", "status", "--porcelain") == ""


def test_experiment_compares_and_going_back_trains_nothing(
    small_code: tuple[Project, str], tmp_path: Path
) -> None:
    project, output = small_code
    assert project.stages_run(output) == AFTER_TABLES
    project = project.copy(tmp_path / "project")

    diff = project.run("dvc", "metrics", "diff")
    assert re.search(r"metrics/test.json +bce +0\.\d+ +0\.\d+ ", diff)
    assert "z_size" in project.run("dvc", "params", "diff")

    project.run("git", "checkout", "--quiet", "params.yaml")
    output = project.run("dvc", "repro")
    assert project.stages_run(output) == ["evaluate"], "which always checks the model"
    assert output.count("is cached - skipping run, checking out outputs") == 2
    assert project.run("git", "status", "--porcelain") == ""


@pytest.mark.slow
def test_another_revision_and_back_has_nothing_to_run(
    small_code: tuple[Project, str], tmp_path: Path
) -> None:
    project = small_code[0].copy(tmp_path / "project")
    project.commit("a smaller code")
    for revision in ("HEAD~1", "main"):
        project.run("git", "checkout", "--quiet", revision)
        project.run("dvc", "checkout")
        assert project.stages_run(project.run("dvc", "repro")) == []
        assert project.run("git", "status", "--porcelain") == ""


def test_clone_without_remote_compares_with_an_earlier_commit(
    small_code: tuple[Project, str], tmp_path: Path
) -> None:
    project = small_code[0].copy(tmp_path / "project")
    project.commit("a smaller code")
    clone = Project(tmp_path / "clone")
    project.run("git", "clone", "--quiet", str(project.root), str(clone.root))
    assert not (clone.root / "models/autoencoder.safetensors").exists()

    assert re.search(r"bce +0\.\d+ +0\.\d+ ", clone.run("dvc", "metrics", "diff", "HEAD~1", "HEAD"))
    clone.run("dvc", "plots", "diff", "HEAD~1", "HEAD")
    page = (clone.root / "dvc_plots/index.html").read_text()
    for title in ("Loss of each epoch", "Validation loss", "Test loss by class"):
        assert title in page
    assert len(list((clone.root / "dvc_plots/static").glob("*sanity_check.png"))) == 2


@pytest.mark.slow
def test_same_inputs_give_the_same_bytes(ran: Project, fresh_project: Project) -> None:
    fresh_project.run("dvc", "repro")
    assert (fresh_project.root / "dvc.lock").read_text() == (ran.root / "dvc.lock").read_text()


@pytest.mark.slow
def test_a_failed_stage_says_why_and_leaves_git_clean(project: Project) -> None:
    project.set_params(learning_rate=1e9)
    output = project.run("dvc", "repro", status=255)
    assert "error: training diverged: the loss is " in output
    assert "Traceback" not in output
    project.run("git", "checkout", "--quiet", "params.yaml")
    project.run("dvc", "repro")
    assert project.run("git", "status", "--porcelain") == ""


def test_files_put_there_by_hand_are_taken(
    fresh_project: Project, mirror: Path, first_output: str
) -> None:
    shutil.copytree(mirror, fresh_project.root / "data/raw/MNIST/raw")
    fresh_project.set_params(mirror="file:///nowhere")
    output = fresh_project.run("dvc", "repro", "fetch")
    taken = "data/raw: 4 files, each with its published digest"
    assert taken in first_output
    assert taken in output
    assert "downloading" in first_output
    assert "downloading" not in output
