"""The published data sets."""

from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.digits import Digits, concatenate, named, publish

from autoencoder.base.errors import UserError
from autoencoder.data import idx
from autoencoder.data.datasets import DATASETS, Dataset, read_published


@pytest.mark.parametrize("name", DATASETS)
def test_files_and_classes_are_consistent(name: str) -> None:
    dataset = DATASETS[name]
    assert len(set(dataset.classes)) == len(dataset.classes)
    files = [*dataset.train, *dataset.test]
    assert {file.partition("/")[0] for file in files} == set(dataset.digests)
    for file, digest in dataset.digests.items():
        assert len(digest) == (32 if file.endswith((".gz", ".zip")) else 64)


def raw(root: Path, name: str, train: Digits, test: Digits) -> Dataset:
    """Write digits as a published data set."""
    directory = DATASETS[name].path(root, "")
    directory.mkdir(parents=True)
    return publish(DATASETS[name], directory, train, test)


@pytest.mark.parametrize("name", DATASETS)
def test_published_files_become_named_upright_images(
    tmp_path: Path, name: str, train_digits: Digits, test_digits: Digits
) -> None:
    dataset = raw(tmp_path, name, train_digits, test_digits)
    splits = read_published(dataset, tmp_path)
    for chunks, (labels, images) in zip(splits, (train_digits, test_digits), strict=True):
        found_labels, found_images = concatenate(chunks)
        assert (found_labels == [dataset.classes[label] for label in labels]).all()
        assert (found_images == images.reshape(-1, 784)).all()


def test_pieces_keep_labels_and_images_together(
    tmp_path: Path, train_digits: Digits, test_digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idx, "_CHUNK_BYTES", 10_000)
    dataset = raw(tmp_path, "mnist", train_digits, test_digits)
    pieces = list(read_published(dataset, tmp_path)[0])
    assert len(pieces) == 50
    labels, images = concatenate(pieces)
    assert (labels == named(train_digits).labels).all()
    assert (images == named(train_digits).images).all()


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("mnist", "t10k-labels-idx1-ubyte"),
        ("kmnist", "train-images-idx3-ubyte.gz"),
        ("emnist-digits", "gzip.zip"),
    ],
)
@pytest.mark.parametrize(
    "damage",
    [
        Path.unlink,
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: path.write_bytes(path.read_bytes() + b"x"),
        lambda path: path.write_bytes(b"\1" + path.read_bytes()[1:]),
        lambda path: path.write_bytes(b"<html>log in first</html>"),
    ],
)
def test_a_damaged_file_is_named(
    tmp_path: Path,
    name: str,
    file: str,
    damage: Callable[[Path], object],
    train_digits: Digits,
    test_digits: Digits,
) -> None:
    dataset = raw(tmp_path, name, train_digits, test_digits)
    path = dataset.path(tmp_path, file)
    damage(path)
    with pytest.raises(UserError, match=f"^{path}: missing or damaged, .*; let `dvc repro`"):
        read_published(dataset, tmp_path)
