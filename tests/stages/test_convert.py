"""Raw files to tables: published ones, tables and pictures of one's own."""

import dataclasses
import gzip
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from conftest import Digits, Project, draw_digits, named, publish
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from autoencoder.data import idx, table
from autoencoder.data.datasets import DATASETS, Dataset, read_published_split
from autoencoder.data.user_data import read_user_data, split_by_class
from autoencoder.errors import UserError


def raw(root: Path, dataset: Dataset, train: Digits, test: Digits) -> None:
    folder = dataset.path(root, "")
    folder.mkdir(parents=True)
    publish(dataset, folder, train, test)


def process_group(pieces: Iterable[table.Chunk]) -> table.Chunk:
    labels, images = zip(*pieces, strict=True)
    return np.concatenate(labels), np.concatenate(images).reshape(-1, 784)


@pytest.mark.parametrize("name", DATASETS)
def test_published_files_become_named_upright_images(
    tmp_path: Path, name: str, train_digits: Digits, test_digits: Digits
) -> None:
    dataset = DATASETS[name]
    raw(tmp_path, dataset, train_digits, test_digits)
    for files, (labels, images) in ((dataset.train, train_digits), (dataset.test, test_digits)):
        found_labels, found_images = process_group(read_published_split(dataset, tmp_path, files))
        assert (found_labels == [dataset.classes[label] for label in labels]).all()
        assert (found_images == images.reshape(-1, 784)).all()


def test_pieces_keep_labels_and_images_together(
    tmp_path: Path, train_digits: Digits, test_digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idx, "_BYTES", 10_000)
    dataset = DATASETS["mnist"]
    raw(tmp_path, dataset, train_digits, test_digits)
    pieces = list(read_published_split(dataset, tmp_path, dataset.train))
    assert len(pieces) == 50
    labels, images = process_group(pieces)
    assert (labels == named(train_digits)[0]).all()
    assert (images == named(train_digits)[1]).all()


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        ((5, 28, 28), (4,), r"labels-idx1-ubyte: 4 labels, expected one for each of the 5 images"),
        ((4, 28, 28), (5,), r"labels-idx1-ubyte: 5 labels, expected one for each of the 4 images"),
        ((5, 28, 28), (5, 1), r"labels-idx1-ubyte: starts with 00 00 08 02, expected 00 00 08 01"),
        ((5,), (5, 28, 28), r"labels-idx1-ubyte: starts with 00 00 08 03, expected 00 00 08 01"),
        ((5, 32, 32), (5,), r"images-idx3-ubyte: shape \(5, 32, 32\), expected \(n, 28, 28\)"),
    ],
)
def test_what_does_not_belong_together_is_named(
    tmp_path: Path, images: tuple[int, ...], labels: tuple[int, ...], message: str
) -> None:
    dataset = DATASETS["mnist"]
    dataset.path(tmp_path, "").mkdir(parents=True)
    for name, shape in ((dataset.test.images, images), (dataset.test.labels, labels)):
        dataset.path(tmp_path, name).write_bytes(idx.encode(np.zeros(shape, np.uint8)))
    with pytest.raises(UserError, match=message):
        list(read_published_split(dataset, tmp_path, dataset.test))


def test_a_label_that_is_no_class_is_named(
    tmp_path: Path, train_digits: Digits, test_digits: Digits
) -> None:
    dataset = dataclasses.replace(DATASETS["mnist"], classes=tuple("012345678"))
    raw(tmp_path, dataset, train_digits, test_digits)
    with pytest.raises(UserError, match=r"labels-idx1-ubyte: label 10 is 9, expected 0\.\.8"):
        list(read_published_split(dataset, tmp_path, dataset.train))


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("kmnist", lambda content: content[: len(content) // 2]),
        ("kmnist", lambda content: b"<html>log in first</html>"),
        ("kmnist", lambda content: content[:100] + b"\xff" * 9 + content[109:]),
        ("kmnist", lambda content: gzip.compress(b"\0\0\x08\x03" + bytes(12))),
        ("emnist-digits", lambda content: content[:-30]),
        ("emnist-digits", lambda content: content.replace(b"digits-t", b"digitz-t")),
        ("emnist-digits", lambda content: b"<html>log in first</html>"),
    ],
)
def test_a_damaged_archive_is_named(
    tmp_path: Path, name: str, damage: object, train_digits: Digits, test_digits: Digits
) -> None:
    dataset = DATASETS[name]
    raw(tmp_path, dataset, train_digits, test_digits)
    path = dataset.path(tmp_path, dataset.train.images.partition("/")[0])
    assert callable(damage)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError, match=f"{path}: .*delete it and run `dvc repro` again"):
        list(read_published_split(dataset, tmp_path, dataset.train))


@given(
    kinds=st.lists(st.sampled_from(["0", "1", "cat", "T-shirt/top"]), min_size=2, max_size=200),
    fraction=st.floats(0.01, 0.99),
)
def test_every_class_has_its_share_to_within_a_row(kinds: list[str], fraction: float) -> None:
    labels = np.array(kinds)
    try:
        train, test = split_by_class(labels, fraction)
    except UserError:
        assert int(fraction * len(labels)) in {0, len(labels)}
        return
    assert sorted([*train, *test]) == list(range(len(labels)))
    assert (np.diff(train) > 0).all()
    assert (np.diff(test) > 0).all()
    for kind in set(kinds):
        share = fraction * (labels == kind).sum()
        assert abs((labels[test] == kind).sum() - share) < 1 + 1e-9


def test_the_split_is_drawn_not_cut(train_digits: Digits) -> None:
    labels = named(train_digits)[0]
    _, test = split_by_class(labels, 0.2)
    assert len(test) == 120
    assert len(set(np.diff(test))) > 5
    assert (split_by_class(labels, 0.2)[1] == test).all()


@pytest.mark.parametrize(("rows", "fraction"), [(1, 0.5), (5, 0.1), (1, 0.9)])
def test_too_few_images_to_split_are_refused(rows: int, fraction: float) -> None:
    with pytest.raises(UserError, match=rf"test_fraction is {fraction}, .* of {rows} images"):
        split_by_class(np.array(["a"] * rows), fraction)


@pytest.mark.parametrize("header", [True, False])
def test_own_table_is_split(tmp_path: Path, header: bool, train_digits: Digits) -> None:
    labels, images = named(train_digits)
    labels = np.char.add("class ", labels)
    table.write(tmp_path / "own.csv", [(labels, images)])
    if not header:
        path = tmp_path / "own.csv"
        path.write_text(path.read_text().partition("\n")[2])
    train, test = (process_group(pieces) for pieces in read_user_data(tmp_path / "own.csv", 0.2))
    rows = split_by_class(labels, 0.2)
    for found, expected in zip((train, test), rows, strict=True):
        assert (found[0] == labels[expected]).all()
        assert (found[1] == images[expected]).all()


def pictures(folder: Path, digits: Digits) -> None:
    for number, (label, image) in enumerate(zip(*digits, strict=True)):
        (folder / f"digit {label}").mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"digit {label}" / f"{number:04}.png")


def by_class(digits: Digits) -> table.Chunk:
    """Digits in the order of their folders."""
    labels, images = named(digits)
    order = np.argsort(labels, kind="stable")
    return np.char.add("digit ", labels[order]), images[order]


def test_own_pictures_are_split(tmp_path: Path) -> None:
    digits = draw_digits(60, seed=3)
    pictures(tmp_path / "own", digits)
    labels, images = by_class(digits)
    for found, expected in zip(
        read_user_data(tmp_path / "own", 0.2), split_by_class(labels, 0.2), strict=True
    ):
        found_labels, found_images = process_group(found)
        assert (found_labels == labels[expected]).all()
        assert (found_images == images[expected]).all()


def test_own_pictures_in_train_and_test_stay_there(tmp_path: Path) -> None:
    parts = {"train": draw_digits(30, seed=3), "test": draw_digits(20, seed=4)}
    for part, digits in parts.items():
        pictures(tmp_path / "own" / part, digits)
    for found, digits in zip(read_user_data(tmp_path / "own", 0.5), parts.values(), strict=True):
        labels, images = process_group(found)
        assert (labels == by_class(digits)[0]).all()
        assert (images == by_class(digits)[1]).all()


def own_data(project: Project, digits: Digits, kind: str) -> NDArray[np.str_]:
    """Put digits into the project as a table or as pictures, and name them; their labels."""
    incoming = project.root / "data/incoming"
    if kind == "table":
        table.write(incoming / "own.csv", [named(digits)])
        project.set_params(dataset="data/incoming/own.csv", test_fraction=0.1)
    else:
        pictures(incoming / "own", digits)
        project.set_params(dataset="data/incoming/own/", test_fraction=0.1)
    return by_class(digits)[0] if kind == "pictures" else named(digits)[0]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["table", "pictures"])
def test_own_data_goes_through_the_pipeline_and_a_change_runs_it_again(
    fresh_project: Project, kind: str
) -> None:
    project = fresh_project
    labels = own_data(project, draw_digits(300, seed=3), kind)
    stages = ["fetch", "convert", "train", "evaluate", "sanity_check"]
    assert project.stages_run(project.run("dvc", "repro")) == stages
    test_labels, _ = table.read(project.root / "data/test.csv")
    assert len(test_labels) == 30
    assert set(test_labels) == set(labels)
    classes = (project.root / "plots/classes.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in classes[1:]] == sorted(set(labels))
    assert project.stages_run(project.run("dvc", "repro")) == []
    assert project.run("git", "status", "--porcelain", "data", "models") == ""

    own_data(project, draw_digits(310, seed=5), kind)
    assert project.stages_run(project.run("dvc", "repro")) == stages
    assert len(table.read(project.root / "data/train.csv")[0]) == 279


@pytest.mark.slow
def test_own_data_that_dvc_keeps_reaches_a_queued_experiment_and_a_clone(
    project: Project, tmp_path: Path
) -> None:
    own_data(project, draw_digits(300, seed=3), "table")
    project.run("dvc", "add", "data/incoming/own.csv")
    project.commit("own data")
    assert "data/incoming/own.csv.dvc" in project.run("git", "ls-files")
    assert "data/incoming/own.csv\n" not in project.run("git", "ls-files")
    project.run("dvc", "repro")
    project.commit("a run on own data")

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
