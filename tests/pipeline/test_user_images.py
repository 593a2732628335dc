"""A user's images through the real DVC."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers.digits import Digits, as_written, draw_digits, named, write_pictures
from helpers.project import ROOT, Project
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
    assert len(table.read(project.root / "data/train.csv").labels) == 279


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


def raw_files(project: Project) -> dict[str, str]:
    raw = project.root / "data/raw"
    return {path.name: path.read_text() for path in raw.rglob("*") if path.is_file()}


OTHER = "dataset=data/incoming/other.csv"


@pytest.fixture
def two(project: Project, tmp_path: Path) -> Project:
    """The small project with two data sets of the user's, fetched and committed one by one."""
    project.run("dvc", "remote", "add", "--default", "storage", str(tmp_path / "storage"))
    for name in ("other", "mine"):
        (project.root / f"data/incoming/{name}.csv").write_text(f"{name}\n")
        project.run("dvc", "add", f"data/incoming/{name}.csv")
        project.set_params(dataset=f"data/incoming/{name}.csv")
        project.run("dvc", "repro", "fetch")
        project.commit(name)
    return project


def clone(project: Project, target: Path) -> Project:
    project.run("git", "clone", "--quiet", str(project.root), str(target))
    return Project(target)


def queued(project: Project, _: Path) -> Project:
    project.run("dvc", "exp", "run", "--queue", "--name", "next", "-S", OTHER, "fetch")
    project.run("dvc", "exp", "run", "--run-all")
    project.run("dvc", "exp", "apply", "next")
    return project


def temporary(project: Project, _: Path) -> Project:
    project.run("dvc", "exp", "run", "--temp", "--name", "next", "-S", OTHER, "fetch")
    project.run("dvc", "exp", "apply", "next")
    return project


def without_cache(project: Project, _: Path) -> Project:
    project.run("dvc", "remove", "data/incoming/mine.csv.dvc")
    (project.root / "data/incoming/mine.csv").unlink()
    shutil.rmtree(project.root / ".dvc/cache")
    project.run("dvc", "exp", "run", "-S", OTHER, "fetch")
    return project


def pulled(project: Project, target: Path) -> Project:
    project.run("dvc", "push")
    colleague = clone(project, target)
    colleague.run("dvc", "pull", "data/raw", "data/incoming/other.csv")
    colleague.run("dvc", "exp", "run", "-S", OTHER, "fetch")
    return colleague


def pulled_experiment(project: Project, target: Path) -> Project:
    project.run("dvc", "exp", "run", "--name", "next", "-S", OTHER, "fetch")
    project.run("git", "clone", "--quiet", "--bare", ".", "../origin")
    project.run("git", "remote", "add", "origin", "../origin")
    project.run("dvc", "exp", "push", "origin", "next")
    colleague = clone(project, target)
    colleague.run("git", "remote", "set-url", "origin", str(target.with_name("origin")))
    colleague.run("dvc", "exp", "pull", "origin", "next")
    colleague.run("dvc", "exp", "apply", "next")
    # To a third data set, the first experiment's neither in incoming nor written there.
    (colleague.root / "data/incoming/third.csv").write_text("other.\n")
    (colleague.root / "data/incoming/other.csv").unlink()
    colleague.run("dvc", "exp", "run", "-S", "dataset=data/incoming/third.csv", "fetch")
    (colleague.root / "data/incoming/other.csv").write_text("other\n")
    colleague.run("dvc", "exp", "run", "-S", OTHER, "fetch")
    return colleague


def checked_out(project: Project, _: Path) -> Project:
    project.run("git", "checkout", "--quiet", "HEAD~1")
    (project.root / "data/incoming/mine.csv").unlink()  # what is in data/raw is of another commit
    project.run("dvc", "repro", "fetch")
    return project


def linked_to_the_cache(project: Project, _: Path) -> Project:
    project.run("dvc", "config", "--local", "cache.type", "symlink")
    project.run("dvc", "checkout", "--relink")
    assert (project.root / "data/raw/mine.csv").is_symlink()
    project.run("dvc", "exp", "run", "-S", OTHER, "fetch")
    return project


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [
        queued,
        temporary,
        without_cache,
        pulled,
        pulled_experiment,
        checked_out,
        linked_to_the_cache,
    ],
)
def test_one_data_set_of_the_user_takes_the_place_of_another(
    two: Project, tmp_path: Path, change: Callable[[Project, Path], Project]
) -> None:
    assert raw_files(change(two, tmp_path / "clone")) == {"other.csv": "other\n"}


@pytest.mark.slow
def test_what_only_the_raw_directory_has_is_never_deleted(two: Project) -> None:
    (two.root / "data/raw/notes.txt").write_text("mine alone\n")
    two.set_params(dataset="data/incoming/other.csv")
    message = "error: data/raw/notes.txt: neither published nor in data/incoming or DVC's cache"
    assert message in two.run("dvc", "repro", "fetch", status=255)
    assert raw_files(two) == {"notes.txt": "mine alone\n", "mine.csv": "mine\n"}


# Names as people have them, and how a shell and DVC are told: quoted twice.
NAMES = {
    "archive (1)/train.csv": """-S "dataset='data/incoming/archive (1)/train.csv'" """,
    "a,b.csv": """-S "dataset='data/incoming/a,b.csv'" """,
    "größe.csv": """-S "dataset='data/incoming/größe.csv'" """,
    "#1.csv": """-S "dataset='data/incoming/#1.csv'" """,
    "it's.csv": r"""-S "dataset=\"data/incoming/it's.csv\"" """,
}


def test_the_page_quotes_names_as_they_are_tried_here() -> None:
    page = (ROOT / "docs/data.md").read_text()
    for name in ("archive (1)/train.csv", "it's.csv"):
        assert f"dvc exp run {NAMES[name].strip()}\n" in page


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_any_name_of_the_user_s_data_can_be_given(fresh_project: Project, name: str) -> None:
    path = fresh_project.root / "data/incoming" / name
    path.parent.mkdir(exist_ok=True)
    table.write(path, [named(draw_digits(50, seed=3))])
    fresh_project.run("dvc", "add", str(path))
    fresh_project.commit("user data")
    assert f"data/incoming/{name}.dvc\0" in fresh_project.run("git", "ls-files", "-z")
    fresh_project.run("sh", "-c", f"dvc exp run {NAMES[name]} convert")
    assert fresh_project.params()["dataset"] == f"data/incoming/{name}"
    assert len(table.read(fresh_project.root / "data/train.csv").labels) == 40


def test_all_of_the_user_s_data_can_be_added_as_dvc_says(fresh_project: Project) -> None:
    (fresh_project.root / "data/incoming/mine.csv").write_text("1\n")
    advice = fresh_project.run("dvc", "add", "data/incoming", status=1)
    assert "git rm -r --cached 'data/incoming'" in advice
    fresh_project.run("git", "rm", "-r", "--quiet", "--cached", "data/incoming")
    fresh_project.run("git", "commit", "--quiet", "--message", "stop tracking data/incoming")
    fresh_project.run("dvc", "add", "data/incoming")
    fresh_project.commit("all user data")
    files = fresh_project.run("git", "ls-files", "data").split()
    assert files == ["data/.gitignore", "data/incoming.dvc"]
    fresh_project.set_params(dataset="data/incoming/mine.csv")
    assert fresh_project.stages_run(fresh_project.run("dvc", "repro", "fetch")) == ["fetch"]


def test_what_a_user_ignores_everywhere_stops_neither_dvc_nor_git(
    fresh_project: Project, tmp_path: Path
) -> None:
    ignored = ["data/", "models/", "metrics/", "plots/", "sweeps/", "*.csv", "*.dvc", "*.json"]
    (tmp_path / "ignore").write_text("\n".join([*ignored, "*.lock", "*.png", "*.yaml", ""]))
    (tmp_path / "config").write_text(f"[core]\nexcludesFile = {tmp_path / 'ignore'}\n")
    fresh_project.environment["GIT_CONFIG_GLOBAL"] = str(tmp_path / "config")
    path = fresh_project.root / "data/incoming/digits/by hand/mine.csv"
    path.parent.mkdir(parents=True)
    path.write_text("1\n")
    fresh_project.run("dvc", "add", str(path))
    fresh_project.run("dvc", "repro", "fetch")
    for name in ("metrics/test.json", "plots/loss.csv", "plots/loss.png", "sweeps/new.csv"):
        (fresh_project.root / name).parent.mkdir(exist_ok=True)
        (fresh_project.root / name).touch()
    fresh_project.commit("what is for git")
    added = fresh_project.run("git", "show", "--name-only", "--format=", "-z").split("\0")
    assert sorted(filter(None, added)) == [
        "data/incoming/digits/by hand/mine.csv.dvc",
        "dvc.lock",
        "metrics/test.json",
        "plots/loss.csv",
        "plots/loss.png",
        "sweeps/new.csv",
    ]
