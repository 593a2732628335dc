"""User data: copied, read and split."""

from pathlib import Path

import numpy as np
import pytest
from conftest import Digits, as_written, concatenate, draw_digits, named, write_pictures
from hypothesis import given
from hypothesis import strategies as st

from autoencoder.data import table
from autoencoder.data.raw_directory import RawDirectory
from autoencoder.data.user_data import copy_user_data, read_user_data, split_by_class
from autoencoder.errors import UserError


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
def test_user_table_is_split(tmp_path: Path, header: bool, train_digits: Digits) -> None:
    labels, images = named(train_digits)
    labels = np.char.add("class ", labels)
    table.write(tmp_path / "mine.csv", [(labels, images)])
    if not header:
        path = tmp_path / "mine.csv"
        path.write_text(path.read_text().partition("\n")[2])
    train, test = (concatenate(pieces) for pieces in read_user_data(tmp_path / "mine.csv", 0.2))
    rows = split_by_class(labels, 0.2)
    for found, expected in zip((train, test), rows, strict=True):
        assert (found[0] == labels[expected]).all()
        assert (found[1] == images[expected]).all()


def test_user_pictures_are_split(tmp_path: Path) -> None:
    digits = draw_digits(60, seed=3)
    write_pictures(tmp_path / "mine", digits)
    labels, images = as_written(digits)
    for found, expected in zip(
        read_user_data(tmp_path / "mine", 0.2), split_by_class(labels, 0.2), strict=True
    ):
        found_labels, found_images = concatenate(found)
        assert (found_labels == labels[expected]).all()
        assert (found_images == images[expected]).all()


def test_user_pictures_in_train_and_test_stay_there(tmp_path: Path) -> None:
    parts = {"train": draw_digits(30, seed=3), "test": draw_digits(20, seed=4)}
    for part, digits in parts.items():
        write_pictures(tmp_path / "mine" / part, digits)
    for found, digits in zip(read_user_data(tmp_path / "mine", 0.5), parts.values(), strict=True):
        labels, images = concatenate(found)
        assert (labels == as_written(digits)[0]).all()
        assert (images == as_written(digits)[1]).all()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "raw"


def test_user_file_is_copied(root: Path, tmp_path: Path) -> None:
    source = tmp_path / "mine.csv"
    source.write_bytes(b"first")
    for content in (b"first", b"other"):
        source.write_bytes(content)
        copy_user_data(source, RawDirectory(root, tmp_path / "record"))
        assert {path.name: path.read_bytes() for path in root.iterdir()} == {"mine.csv": content}


def test_user_folder_is_copied_without_what_is_hidden(root: Path, tmp_path: Path) -> None:
    source = tmp_path / "mine"
    for name in ("a/1.png", "a/2.png", "b/.DS_Store", "b/1.png", ".git/config"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text(name)
    copy_user_data(source, RawDirectory(root, tmp_path / "record"))
    kept = root / "mine/a/1.png"
    before = kept.stat().st_mtime_ns
    (source / "a/2.png").unlink()
    copy_user_data(source, RawDirectory(root, tmp_path / "record"))
    found = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    assert found == {"mine/a/1.png", "mine/b/1.png"}
    assert kept.stat().st_mtime_ns == before


def test_a_linked_folder_is_named(root: Path, tmp_path: Path) -> None:
    (tmp_path / "mine/a").mkdir(parents=True)
    (tmp_path / "mine/a/b").symlink_to(tmp_path / "mine")
    with pytest.raises(UserError, match="mine/a/b: a link to a directory"):
        copy_user_data(tmp_path / "mine", RawDirectory(root, tmp_path / "record"))
