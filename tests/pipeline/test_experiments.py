"""The commands of everyday experiments, through the real dvc, on a small data set."""

import csv
import difflib
import io
import json
import re
import subprocess
import time
from pathlib import Path

import pytest
import yaml
from dvc.utils.hydra import apply_overrides
from helpers.project import AFTER_TABLES, ROOT, STAGES, Project, uses

from autoencoder.base.params import Params

TITLES = ["Loss of each epoch", "Validation loss", "Test loss by class"]


def test_a_parameter_changes_the_stages_that_use_it(project: Project) -> None:
    """Only those; later stages run if the outputs of earlier ones change."""
    before = project.params()
    for name in ("mirror", "dataset", "invert", "z_size"):
        project.set_params(**{**before, name: "another value"})
        status = json.loads(project.run("dvc", "status", "--json"))
        change = [{"changed deps": {"params.yaml": {name: "modified"}}}]
        assert status == {stage: change for stage in STAGES if name in uses(stage)} != {}
    project.set_params(**{**before, "launcher": "another value"})
    assert json.loads(project.run("dvc", "status", "--json")) == {"train": ["changed command"]}


@pytest.mark.parametrize("name", Params.model_fields)
def test_an_experiment_changes_the_line_of_its_parameter_alone(tmp_path: Path, name: str) -> None:
    """As DVC writes params.yaml back, with its comments; a list has a line for each item."""
    path = tmp_path / "params.yaml"
    before = (ROOT / "params.yaml").read_text().splitlines()
    path.write_text("\n".join([*before, ""]))
    is_list = isinstance(yaml.safe_load(path.read_text())[name], list)
    apply_overrides(path, [f"{name}=[7,9]" if is_list else f"{name}=7"])
    lines = list(difflib.ndiff(before, path.read_text().splitlines()))
    removed = [line[2:] for line in lines if line.startswith("- ")]
    added = [line[2:] for line in lines if line.startswith("+ ")]
    if is_list:
        assert added == ["- 7", "- 9"]
        assert all(line.startswith("- ") for line in removed)
    else:
        (old,), (new,) = removed, added
        comment = old.partition(" # ")[2]
        assert re.fullmatch(rf"{name}: 7 *# {re.escape(comment)}", new)


@pytest.mark.slow
def test_a_change_to_the_pictures_code_trains_nothing(project: Project) -> None:
    module = project.root / "stages/sanity_check.py"
    module.write_text(module.read_text() + "# a comment\n")
    assert project.stages_run(project.run("dvc", "repro")) == ["sanity_check"]
    project.run("git", "checkout", "--quiet", "stages")
    assert project.stages_run(project.run("dvc", "repro")) == []
    assert project.run("git", "status", "--porcelain") == ""


@pytest.fixture
def with_experiment(small_code: tuple[Project, str], tmp_path: Path) -> Project:
    """The small project with an experiment `small-code`, of z_size 16, that is not applied."""
    project = small_code[0].copy(tmp_path / "project")
    project.run("git", "checkout", "--quiet", ".")
    project.run("dvc", "checkout", "--quiet")
    return project


def z_sizes(project: Project) -> dict[str, int]:
    """z_size of each experiment that `dvc exp show` lists; that of commits by their branch."""
    shown = csv.DictReader(io.StringIO(project.run("dvc", "exp", "show", "--csv")))
    return {row["Experiment"] or row["rev"]: int(row["z_size"]) for row in shown}


def test_experiments_are_shown_and_compared(with_experiment: Project) -> None:
    project = with_experiment
    assert z_sizes(project) == {"workspace": 32, "main": 32, "small-code": 16}

    diff = json.loads(project.run("dvc", "exp", "diff", "--json", "HEAD", "small-code"))
    assert diff["params"] == {"params.yaml": {"z_size": {"old": 32, "new": 16, "diff": -16}}}
    bce = diff["metrics"]["metrics/test.json"]["bce"]
    assert bce["diff"] == pytest.approx(bce["new"] - bce["old"]) != 0

    project.run("dvc", "plots", "diff", "HEAD", "small-code")
    page = (project.root / "dvc_plots/index.html").read_text()
    for text in (*TITLES, '"rev": "small-code"'):
        assert text in page
    assert len(list((project.root / "dvc_plots/static").glob("*sanity_check.png"))) == 2


def test_an_experiment_is_applied(with_experiment: Project) -> None:
    with_experiment.run("dvc", "exp", "apply", "small-code")
    assert with_experiment.params()["z_size"] == 16
    assert with_experiment.stages_run(with_experiment.run("dvc", "repro")) == []
    with_experiment.run("dvc", "status", "--quiet")


@pytest.mark.slow
def test_an_experiment_becomes_a_branch(with_experiment: Project) -> None:
    project = with_experiment
    project.run("dvc", "exp", "branch", "small-code", "smaller")
    project.run("git", "checkout", "--quiet", "smaller")
    project.run("dvc", "checkout")
    assert project.params()["z_size"] == 16
    assert project.stages_run(project.run("dvc", "repro")) == []
    assert project.run("git", "status", "--porcelain") == ""
    assert project.run("git", "rev-parse", "HEAD~1") == project.run("git", "rev-parse", "main")


@pytest.mark.slow
def test_an_experiment_is_removed_but_not_its_run(with_experiment: Project) -> None:
    project = with_experiment
    project.run("dvc", "exp", "remove", "small-code")
    assert "small-code" not in z_sizes(project)
    output = project.run("dvc", "exp", "run", "-S", "z_size=16")
    assert project.stages_run(output) == ["evaluate"]


@pytest.mark.slow
def test_an_experiment_in_a_directory_of_its_own(project: Project) -> None:
    output = project.run("dvc", "exp", "run", "--temp", "--name", "aside", "-S", "z_size=8")
    assert project.stages_run(output) == AFTER_TABLES
    assert project.run("git", "status", "--porcelain") == ""
    assert z_sizes(project) == {"workspace": 32, "main": 32, "aside": 8}
    project.run("dvc", "exp", "apply", "aside")
    assert project.stages_run(project.run("dvc", "repro")) == []


def queue_two(project: Project) -> None:
    project.run("dvc", "exp", "run", "--queue", "--name", "code", "-S", "z_size=8,16")
    assert project.run("dvc", "queue", "status").count("Queued") == 2
    assert project.run("git", "status", "--porcelain") == ""


def check_the_two(project: Project) -> None:
    assert project.run("dvc", "queue", "status").count("Success") == 2
    for name in ("code-1", "code-2"):
        assert project.stages_run(project.run("dvc", "queue", "logs", name)) == AFTER_TABLES
    assert z_sizes(project) == {"workspace": 32, "main": 32, "code-1": 8, "code-2": 16}
    assert project.run("git", "status", "--porcelain") == ""
    project.run("dvc", "exp", "apply", "code-2")
    assert project.stages_run(project.run("dvc", "repro")) == []


@pytest.mark.slow
def test_queued_experiments_run_and_are_waited_for(project: Project) -> None:
    queue_two(project)
    output = project.run("dvc", "exp", "run", "--run-all", "--jobs", "2")
    assert sorted(project.stages_run(output)) == sorted(2 * AFTER_TABLES)
    check_the_two(project)


@pytest.mark.slow
def test_queued_experiments_run_in_the_background(project: Project) -> None:
    queue_two(project)
    project.run("dvc", "queue", "start", "--jobs", "2")
    try:
        limit = time.monotonic() + 300
        while (status := project.run("dvc", "queue", "status")).count("Success") != 2:
            assert "Failed" not in status
            assert time.monotonic() < limit, status
            time.sleep(1)
        check_the_two(project)
    finally:
        project.run("dvc", "queue", "stop", "--kill")


@pytest.mark.slow
def test_losses_are_whole_whenever_they_are_read(project: Project) -> None:
    epochs = 40
    project.set_params(epochs=epochs, patience=0, validation_fraction=0.9)
    losses = project.root / "plots/loss.csv"
    losses.unlink()
    seen = [0]
    with subprocess.Popen(
        ["dvc", "repro", "--quiet", "train"], cwd=project.root, env=project.environment
    ) as process:
        while process.poll() is None:
            try:
                text = losses.read_text()
            except FileNotFoundError:
                assert seen == [0], "the file was there, and is gone"
                continue
            assert text.endswith("\n")
            header, *rows = csv.reader(text.splitlines())
            assert header == ["epoch", "train", "validation"]
            assert [int(epoch) for epoch, *_ in rows] == list(range(1, len(rows) + 1))
            assert all(
                0 < float(bce) < 1 for _, train, validation in rows for bce in (train, validation)
            )
            assert len(rows) >= seen[-1]
            seen.append(len(rows))
    assert process.returncode == 0
    assert seen[-1] == epochs
    assert len(set(seen)) > epochs / 2


@pytest.mark.slow
def test_a_comment_is_committed_without_a_run(project: Project) -> None:
    """What docs/experiments.md says to do; evaluate takes the model for one of the same code."""
    module = project.root / "autoencoder/network/step.py"
    module.write_text("# a comment\n" + module.read_text())
    project.run("dvc", "commit", "--force")
    assert project.stages_run(project.run("dvc", "repro")) == []
    output = project.run("dvc", "repro", "--force", "--single-item", "evaluate")
    assert project.stages_run(output) == ["evaluate"]


@pytest.mark.slow
def test_a_model_that_was_committed_after_an_edit_is_refused(project: Project) -> None:
    """`dvc commit` puts it into the run cache, from where it would come back later."""
    project.set_params(seed=5)
    project.run("dvc", "commit", "--force")
    project.run("git", "checkout", "--quiet", ".")
    assert project.stages_run(project.run("dvc", "repro")) == []
    output = project.run("dvc", "exp", "run", "-S", "seed=5", status=255)
    assert project.stages_run(output) == ["evaluate"]
    assert (
        "autoencoder.safetensors: was trained with other inputs: seed was 0, is 5; train" in output
    )
    project.set_params(seed=5)
    project.run("dvc", "repro", "--force", "--single-item", "train")
    project.run("dvc", "repro")
    assert (
        json.loads((project.root / "metrics/provenance.json").read_text())["parameters"]["seed"]
        == 5
    )
