"""User data: copied, read and split."""

import os
from pathlib import Path

import numpy as np
import pytest
from helpers.digits import (
    Digits,
    as_read,
    as_written,
    concatenate,
    draw_digits,
    draw_small_digits,
    named,
    write_pictures,
)
from helpers.errors import refusal
from helpers.reading import write_table
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from autoencoder.base.errors import UserError
from autoencoder.data import table
from autoencoder.data.user.decide import draw_test_rows
from autoencoder.data.user.images import iter_images, read_user_data


@given(
    kinds=st.lists(st.sampled_from(["0", "1", "cat", "T-shirt/top"]), min_size=2, max_size=200),
    fraction=st.floats(0.01, 0.99),
)
def test_every_class_has_its_share_to_within_a_row(kinds: list[str], fraction: float) -> None:
    labels = np.array(kinds)
    try:
        in_test = draw_test_rows(labels, fraction)
    except UserError:
        assert int(fraction * len(labels)) in {0, len(labels)}
        return
    for kind in set(kinds):
        share = fraction * (labels == kind).sum()
        assert abs((labels[in_test] == kind).sum() - share) < 1 + 1e-9


def test_the_split_is_drawn_not_cut(train_digits: Digits) -> None:
    labels = named(train_digits)[0]
    in_test = draw_test_rows(labels, 0.2)
    assert in_test.sum() == 120
    assert len(set(np.diff(np.flatnonzero(in_test)))) > 5
    assert (draw_test_rows(labels, 0.2) == in_test).all()


@pytest.mark.parametrize(("rows", "fraction"), [(1, 0.5), (5, 0.1), (1, 0.9)])
def test_too_few_images_to_split_are_refused(rows: int, fraction: float) -> None:
    with pytest.raises(UserError, match=rf"test_fraction is {fraction}, .* of {rows} images"):
        draw_test_rows(np.array(["a"] * rows), fraction)


@pytest.mark.parametrize("header", [True, False])
def test_user_table_is_split(tmp_path: Path, header: bool, train_digits: Digits) -> None:
    labels, images = named(train_digits)
    labels = np.char.add("class ", labels)
    table.write(tmp_path / "mine.csv", [(labels, images)])
    if not header:
        path = tmp_path / "mine.csv"
        path.write_text(path.read_text().partition("\n")[2])
    train, test = (concatenate(pieces) for pieces in read_user_data(tmp_path / "mine.csv", 0.2))
    in_test = draw_test_rows(labels, 0.2)
    for found, expected in ((train, ~in_test), (test, in_test)):
        assert (found[0] == labels[expected]).all()
        assert (found[1] == images[expected]).all()


def test_user_pictures_are_split(tmp_path: Path) -> None:
    digits = draw_digits(60, seed=3)
    write_pictures(tmp_path / "mine", digits)
    labels, images = as_written(digits)
    in_test = draw_test_rows(labels, 0.2)
    parts = read_user_data(tmp_path / "mine", 0.2)
    for found, expected in zip(parts, (~in_test, in_test), strict=True):
        found_labels, found_images = concatenate(found)
        assert (found_labels == labels[expected]).all()
        assert (found_images == images[expected]).all()


DIGITS = {
    name: draw_small_digits(count, seed=count)
    for name, count in (("train", 30), ("val", 20), ("test", 10))
}


def check_split(path: Path, parts: list[str]) -> None:
    """Check that the training images are those of `parts`, in this order, and the rest as drawn."""
    train, test = (concatenate(part) for part in read_user_data(path, 0.5))
    expected = [as_written(DIGITS[part]) for part in parts]
    assert train[0].tolist() == np.concatenate([labels for labels, _ in expected]).tolist()
    assert (train[1] == np.concatenate([images for _, images in expected])).all()
    assert test[0].tolist() == as_written(DIGITS["test"])[0].tolist()
    assert (test[1] == as_written(DIGITS["test"])[1]).all()


@pytest.mark.parametrize(
    ("names", "parts"),
    [
        ({"train": "train", "test": "test"}, ["train"]),
        ({"mnist_train": "train", "mnist_test": "test"}, ["train"]),
        ({"training": "train", "testing": "test"}, ["train"]),
        ({"Train": "train", "Test": "test", "Valid": "val"}, ["train", "val"]),
        ({"trainingSet/trainingSet": "train", "testSet/testSet": "test"}, ["train"]),
        ({"digits/archive/train": "train", "digits/archive/test": "test"}, ["train"]),
    ],
)
def test_splits_of_any_spelling(tmp_path: Path, names: dict[str, str], parts: list[str]) -> None:
    for name, part in names.items():
        write_pictures(tmp_path / "mine" / name, DIGITS[part])
    (tmp_path / "mine/__MACOSX").mkdir()
    (tmp_path / "mine/__MACOSX/x.png").write_text("junk")
    check_split(tmp_path / "mine", parts)


def test_training_alone_is_split(tmp_path: Path) -> None:
    write_pictures(tmp_path / "mine/train", DIGITS["train"])
    train, test = (concatenate(part) for part in read_user_data(tmp_path / "mine", 0.2))
    assert (len(train[0]), len(test[0])) == (24, 6)
    assert {label[:6] for label in train[0]} == {"digit "}


def test_a_class_called_train_is_a_class(tmp_path: Path) -> None:
    for name in ("bus", "train"):
        (tmp_path / "mine" / name).mkdir(parents=True)
        for row, pixels in enumerate(DIGITS["test"][1]):
            Image.fromarray(pixels).save(tmp_path / "mine" / name / f"{row}.png")
    assert set(concatenate(iter_images(tmp_path / "mine"))[0]) == {"bus", "train"}


def test_a_file_or_class_next_to_splits_is_refused(tmp_path: Path) -> None:
    for name in ("train", "test"):
        write_pictures(tmp_path / "mine" / name, DIGITS["test"])
    write_pictures(tmp_path / "mine/other", DIGITS["val"])
    assert "other next to splits" in refusal(lambda: read_user_data(tmp_path / "mine", 0.2))


def test_a_flat_directory_has_no_labels_but_file_names_in_tools(tmp_path: Path) -> None:
    for row, pixels in enumerate(DIGITS["test"][1]):
        Image.fromarray(pixels).save(tmp_path / f"{row}.png")
    train, test = (concatenate(part) for part in read_user_data(tmp_path, 0.2))
    assert set(train[0]) | set(test[0]) == {"unlabelled"}
    labels, images = concatenate(iter_images(tmp_path))
    assert labels.tolist() == [f"{row}.png" for row in range(10)]
    assert (images == as_read(DIGITS["test"][1])).all()
    (tmp_path / "0.png").rename(tmp_path / "0,5.png")
    assert len(concatenate(read_user_data(tmp_path, 0.2)[0])[0]) == 8
    assert "'0,5.png' cannot be a label" in refusal(lambda: list(iter_images(tmp_path)))


def test_tables_of_splits(tmp_path: Path) -> None:
    for name, part in (
        ("a_Training.csv", "train"),
        ("b-valid.csv", "val"),
        ("mnist.test.csv", "test"),
    ):
        labels, images = DIGITS[part]
        order = np.argsort(labels, kind="stable")
        names = np.char.add("digit ", labels[order].astype(str))
        write_table(tmp_path / name, (names, images[order]))
    check_split(tmp_path, ["train", "val"])
    (tmp_path / "mnist.test.csv").rename(tmp_path / "other.csv")
    assert "other.csv" in refusal(lambda: read_user_data(tmp_path, 0.2))


def test_a_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "t.csv")
    assert "t.csv: a pipe, " in refusal(lambda: list(iter_images(tmp_path / "t.csv")))
    assert "t.csv: a pipe, " in refusal(lambda: list(iter_images(tmp_path)))


def test_thin_strokes_and_dim_pictures_are_kept_but_no_masks(tmp_path: Path) -> None:
    stroke = np.zeros((560, 560), np.uint8)
    stroke[:, 280:284] = stroke[100:104] = 255
    for row in range(4):
        Image.fromarray(np.roll(stroke, row * 40)).save(tmp_path / f"{row}.png")
    train, _ = (concatenate(part) for part in read_user_data(tmp_path, 0.5))
    assert 16 < train[1].max() < 128
    Image.fromarray(np.zeros_like(stroke)).save(tmp_path / "blank.png")
    assert concatenate(iter_images(tmp_path / "blank.png"))[1].max() == 0
    (tmp_path / "masks").mkdir()
    Image.fromarray(stroke // 255).resize((28, 28), 0).save(tmp_path / "masks/1.png")
    Image.fromarray(np.tri(28, dtype=np.uint8)).save(tmp_path / "masks/2.png")
    assert "brighten the pictures" in refusal(lambda: list(iter_images(tmp_path / "masks")))


def test_fractions_that_are_nearly_all_0_or_1_have_a_border(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    images = np.ones((1100, 784))
    images[:, 300:310] = 0
    images[1099, 300] = 0.5
    np.save(tmp_path / "a.npy", images)
    read_user_data(tmp_path / "a.npy", 0.5)
    assert "mostly bright borders" in caplog.text


def test_errors_name_the_original(tmp_path: Path) -> None:
    (tmp_path / "copy.csv").write_text("label,1\n")
    message = refusal(
        lambda: read_user_data(tmp_path / "copy.csv", 0.2, shown_as=Path("data/incoming/mine.csv"))
    )
    assert message.startswith("data/incoming/mine.csv: ")


def test_constant_images_are_counted_and_refused_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    labels, images = DIGITS["train"]
    images = images.copy()
    images[:3] = 7
    write_table(tmp_path / "some.csv", (labels, images))
    list(iter_images(tmp_path / "some.csv"))
    assert "3 of 30 images are constant" in caplog.text
    write_table(tmp_path / "all.csv", (labels, images * 0 + 200))
    assert "all pixels are equal" in refusal(lambda: read_user_data(tmp_path / "all.csv", 0.5))
    # Tools may encode and score them.
    assert len(concatenate(iter_images(tmp_path / "all.csv"))[0]) == 30


def test_black_on_white_is_reported_and_inverted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    labels, images = DIGITS["train"]
    write_table(tmp_path / "t.csv", (labels, 255 - images))
    read_user_data(tmp_path / "t.csv", 0.5)
    assert "`invert: true`" in caplog.text
    caplog.clear()
    train, test = (concatenate(part) for part in read_user_data(tmp_path / "t.csv", 0.5, True))
    inverted = 255 - as_read(255 - images)
    in_test = draw_test_rows(labels.astype(str), 0.5)
    assert (train[1] == inverted[~in_test]).all()
    assert (test[1] == inverted[in_test]).all()
    assert (concatenate(iter_images(tmp_path / "t.csv", invert=True))[1] == inverted).all()
    assert caplog.text == ""


def test_fractions_in_one_file_and_grey_values_in_another_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "x_train.npy", DIGITS["train"][1] / 255)
    np.save(tmp_path / "x_test.npy", DIGITS["test"][1])
    assert "some images have fractions" in refusal(lambda: read_user_data(tmp_path, 0.2))
