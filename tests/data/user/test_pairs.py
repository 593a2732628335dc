"""Tables and arrays: what belongs together by their names and ids, and what is unclear."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers.digits import concatenate, draw_digits, draw_small_digits, named
from helpers.reading import check_split, read_split, refused

from autoencoder.data import idx
from autoencoder.data.user.images import iter_images, read_user_data

DIGITS = draw_digits(60, seed=3)
OTHERS = draw_digits(40, seed=11)
LABELS, IMAGES = named(DIGITS)


@pytest.mark.parametrize(
    "names",
    [
        ("Xtrain", "ytrain", "Xtest", "ytest"),
        ("traindata", "trainlabels", "testdata", "testlabels"),
        (
            "csvTrainImages 60x784",
            "csvTrainLabel 60x1",
            "csvTestImages 40x784",
            "csvTestLabel 40x1",
        ),
    ],
)
@pytest.mark.parametrize("is_archive", [True, False])
def test_joined_words_are_splits(tmp_path: Path, names: list[str], is_archive: bool) -> None:
    labels, images = DIGITS
    arrays: dict[str, Any] = dict(zip(names, (images, labels, OTHERS[1], OTHERS[0]), strict=True))
    if is_archive:
        np.savez(tmp_path / "a.npz", **arrays)
    else:
        for name, values in arrays.items():
            np.save(tmp_path / f"{name}.npy", values)
    check_split(tmp_path, DIGITS, OTHERS)


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("form", ["array", "table", "table without ids"])
def test_labels_are_joined_by_their_ids(tmp_path: Path, first: int, form: str) -> None:
    ids = np.arange(60) + first
    if form == "array":
        np.save(tmp_path / "images.npy", DIGITS[1])
    else:
        pixels = draw_small_digits(60, seed=3)[1].reshape(60, 64)
        frame = pd.DataFrame(pixels).add_prefix("pixel")
        if form == "table":
            ids = np.random.default_rng(0).permutation(1000)[:60]
            frame.insert(0, "id", ids)
        frame.to_csv(tmp_path / "images.csv", index=False)
    order = np.random.default_rng(first).permutation(60)
    rows = pd.DataFrame({"id": ids[order], "label": LABELS[order]})
    rows.to_csv(tmp_path / "labels.csv", index=False)
    assert (concatenate(iter_images(tmp_path))[0] == LABELS).all()
    rows["id"] = rows["id"].where(rows.index != 3, ids[order[4]])
    rows.to_csv(tmp_path / "labels.csv", index=False)
    assert "labels.csv: no label with the id " in refused(tmp_path)
    rows.assign(id=[f"img_{n}.png" for n in range(60)]).to_csv(tmp_path / "labels.csv", index=False)
    assert "labels.csv: no label with the id " in refused(tmp_path)


@pytest.mark.parametrize(
    "names",
    [{}, {"header": ["digit is"]}, {"index_label": "Id"}, {"index": False, "header": False}],
)
def test_a_series_of_labels_is_read_with_or_without_its_index(
    tmp_path: Path, names: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    np.save(tmp_path / "x_train.npy", DIGITS[1])
    pd.Series(DIGITS[0]).to_csv(tmp_path / "y_train.csv", **names)
    assert (concatenate(iter_images(tmp_path))[0] == LABELS).all()
    caplog.set_level(logging.INFO)
    read_user_data(tmp_path, 0.2)
    assert "uint8 of shape (60, 28, 28), labels in y_train.csv; 60 of 28x28" in caplog.text


def test_a_header_that_is_a_number_is_suspected(tmp_path: Path) -> None:
    np.save(tmp_path / "x_train.npy", DIGITS[1])
    pd.Series(DIGITS[0]).to_csv(tmp_path / "y_train.csv", index=False)
    message = refused(tmp_path)
    assert "y_train.csv: 61 labels in y_train.csv, expected one for each of 60 images" in message
    assert message.endswith("if its first line is a header, write `label` there")


@pytest.mark.parametrize("count", [2, 4])
def test_arrays_by_position_are_refused_unless_all_are_images(tmp_path: Path, count: int) -> None:
    arrays = (DIGITS[1], DIGITS[0], OTHERS[1], OTHERS[0])
    np.savez(tmp_path / "a.npz", *arrays[:count])
    assert "a.npz: arrays without names, not all of images" in refused(tmp_path / "a.npz")


def test_arrays_of_numbers_in_splits_are_classes_in_directories(tmp_path: Path) -> None:
    parts = {f"{split}{n}": IMAGES[n::10] for split in ("train", "test") for n in range(10)}
    np.savez(tmp_path / "a.npz", **parts)  # type: ignore[arg-type]
    assert "classes or parts? Save classes as train/0.npy" in refused(tmp_path / "a.npz")


@pytest.mark.parametrize("names", [("cat", "dog"), ("0", "1"), ("digit_0", "cat")])
def test_arrays_in_splits_are_classes(tmp_path: Path, names: tuple[str, str]) -> None:
    for split, images in {"train": IMAGES, "test": named(OTHERS)[1]}.items():
        (tmp_path / split).mkdir()
        for row, name in enumerate(names):
            np.save(tmp_path / split / f"{name}.npy", images[row::2])
    train, test = read_split(tmp_path)
    for labels, images, expected in ((*train, IMAGES), (*test, named(OTHERS)[1])):
        assert (images[labels == names[0]] == expected[::2]).all()
        assert (images[labels == names[1]] == expected[1::2]).all()


def test_arrays_of_one_name_in_directories_are_classes(tmp_path: Path) -> None:
    for row, name in enumerate(("cat", "dog")):
        (tmp_path / name).mkdir()
        np.save(tmp_path / name / "images.npy", IMAGES[row::2])
    labels, images = concatenate(iter_images(tmp_path))
    assert (images[labels == "dog"] == IMAGES[1::2]).all()
    assert (labels == "cat").sum() == 30


def test_numbered_digits_are_classes(tmp_path: Path) -> None:
    for n in range(10):
        np.save(tmp_path / f"digit_{n}.npy", IMAGES[n::10])
    labels, _ = concatenate(iter_images(tmp_path))
    assert (labels == "digit_4").sum() == 6


def test_why_images_are_none_is_said(tmp_path: Path) -> None:
    for values in (DIGITS[1].astype(complex), DIGITS[1].astype(str)):
        np.savez(tmp_path / "a.npz", x=values, y=DIGITS[0])
        message = refused(tmp_path / "a.npz")
        assert "array x is not of images (" in message
        assert "labels in y, expected their images next to them" in message


def test_qmnist_has_a_parameter(tmp_path: Path) -> None:
    (tmp_path / "qmnist-train-images-idx3-ubyte").write_bytes(idx.encode(DIGITS[1]))
    labels = np.repeat(DIGITS[0][:, None], 8, 1).astype(">i4")
    (tmp_path / "qmnist-train-labels-idx2-int").write_bytes(idx.encode(labels))
    message = refused(tmp_path)
    assert message.startswith(f"{tmp_path}/qmnist-train-labels-idx2-int: QMNIST; set `dataset: q")
