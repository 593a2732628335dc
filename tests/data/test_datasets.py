"""The published data sets, checked against torchvision's."""

import dataclasses
import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.digits import Digits, concatenate, named, publish
from torchvision import datasets as theirs

from autoencoder.base.errors import UserError
from autoencoder.data import idx
from autoencoder.data.datasets import DATASETS, Dataset, read_published_split

EMNIST = [name for name in DATASETS if name.startswith("emnist-")]


@pytest.mark.parametrize("name", DATASETS)
def test_files_and_classes_are_consistent(name: str) -> None:
    dataset = DATASETS[name]
    assert len(set(dataset.classes)) == len(dataset.classes)
    files = [*dataset.train, *dataset.test]
    assert {file.partition("/")[0] for file in files} == set(dataset.digests)
    assert hasattr(theirs, dataset.folder)
    for file, digest in dataset.digests.items():
        assert len(digest) == (32 if file.endswith((".gz", ".zip")) else 64)


def resources(of: Any) -> dict[str, str]:
    """File name to MD5, as torchvision has them."""
    listed = of.resources
    if isinstance(listed, dict):
        listed = [*listed["train"], *listed["test"]]
    return {name.rpartition("/")[2]: md5 for name, md5 in listed}


@pytest.mark.parametrize(("name", "of"), [("kmnist", theirs.KMNIST), ("qmnist", theirs.QMNIST)])
def test_digests_of_compressed_files_are_those_of_torchvision(name: str, of: Any) -> None:
    assert DATASETS[name].digests == resources(of)


@pytest.mark.parametrize(
    ("name", "of"), [("mnist", theirs.MNIST), ("fashion-mnist", theirs.FashionMNIST)]
)
def test_uncompressed_files_are_called_as_torchvision_calls_them(name: str, of: Any) -> None:
    assert {f"{file}.gz" for file in DATASETS[name].digests} == set(resources(of))


@pytest.mark.parametrize(
    ("name", "of"), [("fashion-mnist", theirs.FashionMNIST), ("kmnist", theirs.KMNIST)]
)
def test_classes_are_those_of_torchvision(name: str, of: Any) -> None:
    assert list(DATASETS[name].classes) == of.classes


@pytest.mark.parametrize("name", EMNIST)
def test_emnist_is_as_torchvision_has_it(name: str) -> None:
    split = name.removeprefix("emnist-")
    assert list(DATASETS[name].classes) == theirs.EMNIST.classes_split_dict[split]
    assert DATASETS[name].digests == {"gzip.zip": theirs.EMNIST.md5}
    assert {name.removeprefix("emnist-") for name in EMNIST} == set(theirs.EMNIST.splits)


def raw(root: Path, dataset: Dataset, train: Digits, test: Digits) -> None:
    directory = dataset.path(root, "")
    directory.mkdir(parents=True)
    publish(dataset, directory, train, test)


@pytest.mark.parametrize("name", DATASETS)
def test_published_files_become_named_upright_images(
    tmp_path: Path, name: str, train_digits: Digits, test_digits: Digits
) -> None:
    dataset = DATASETS[name]
    raw(tmp_path, dataset, train_digits, test_digits)
    for files, (labels, images) in ((dataset.train, train_digits), (dataset.test, test_digits)):
        found_labels, found_images = concatenate(read_published_split(dataset, tmp_path, files))
        assert (found_labels == [dataset.classes[label] for label in labels]).all()
        assert (found_images == images.reshape(-1, 784)).all()


def test_pieces_keep_labels_and_images_together(
    tmp_path: Path, train_digits: Digits, test_digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idx, "_CHUNK_BYTES", 10_000)
    dataset = DATASETS["mnist"]
    raw(tmp_path, dataset, train_digits, test_digits)
    pieces = list(read_published_split(dataset, tmp_path, dataset.train))
    assert len(pieces) == 50
    labels, images = concatenate(pieces)
    assert (labels == named(train_digits).labels).all()
    assert (images == named(train_digits).images).all()


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
