"""A user's images through the real DVC."""

from pathlib import Path

import numpy as np
import pytest
from helpers.digits import Digits, as_written, draw_digits, named, write_pictures
from helpers.project import Project
from numpy.typing import NDArray
from PIL import Image

from autoencoder.data import table


def put_user_data(project: Project, digits: Digits, kind: str) -> NDArray[np.str_]:
    """Put digits into the project as a table or pictures, by class or flat; return their labels."""
    incoming = project.root / "data/incoming"
    if kind == "table":
        table.write(incoming / "mine.csv", [named(digits)])
        project.set_params(dataset="data/incoming/mine.csv", test_fraction=0.1)
        return named(digits)[0]
    project.set_params(dataset="data/incoming/mine/", test_fraction=0.1)
    if kind == "pictures":
        write_pictures(incoming / "mine", digits)
        return as_written(digits)[0]
    (incoming / "mine").mkdir(exist_ok=True)
    for number, image in enumerate(digits[1]):
        Image.fromarray(image).save(incoming / f"mine/{number}.png")
    return np.full(len(digits[0]), "unlabelled")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["table", "pictures", "flat"])
def test_user_data_goes_through_the_pipeline_and_a_change_runs_it_again(
    fresh_project: Project, kind: str
) -> None:
    project = fresh_project
    labels = put_user_data(project, draw_digits(300, seed=3), kind)
    stages = ["fetch", "convert", "train", "evaluate", "sanity_check"]
    assert project.stages_run(project.run("dvc", "repro")) == stages
    test_labels, _ = table.read(project.root / "data/test.csv")
    assert len(test_labels) == 30
    assert set(test_labels) == set(labels)
    classes = (project.root / "plots/classes.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in classes[1:]] == sorted(set(labels))
    assert project.stages_run(project.run("dvc", "repro")) == []
    assert project.run("git", "status", "--porcelain", "data", "models") == ""

    put_user_data(project, draw_digits(310, seed=5), kind)
    assert project.stages_run(project.run("dvc", "repro")) == stages
    assert len(table.read(project.root / "data/train.csv")[0]) == 279


@pytest.mark.slow
def test_user_data_that_dvc_keeps_reaches_a_queued_experiment_and_a_clone(
    project: Project, tmp_path: Path
) -> None:
    put_user_data(project, draw_digits(300, seed=3), "table")
    project.run("dvc", "add", "data/incoming/mine.csv")
    project.commit("user data")
    assert "data/incoming/mine.csv.dvc" in project.run("git", "ls-files")
    assert "data/incoming/mine.csv\n" not in project.run("git", "ls-files")
    project.run("dvc", "repro")
    project.commit("a run on user data")

    project.run("dvc", "exp", "run", "--queue", "--name", "small-code", "-S", "z_size=8")
    project.run("dvc", "exp", "run", "--run-all")
    assert "small-code" in project.run("dvc", "exp", "show", "--csv")

    project.run("dvc", "remote", "add", "--default", "storage", str(tmp_path / "storage"))
    project.commit("a remote")
    project.run("dvc", "push", "--run-cache")
    clone = Project(tmp_path / "clone")
    project.run("git", "clone", "--quiet", str(project.root), str(clone.root))
    clone.run("dvc", "pull", "--run-cache")
    assert clone.stages_run(clone.run("dvc", "repro")) == []


def test_another_file_that_comes_in_runs_fetch_alone(project: Project) -> None:
    (project.root / "data/incoming/other.csv").write_text("not looked at\n")
    assert project.stages_run(project.run("dvc", "repro")) == ["fetch"]
