"""What names of files, directories and arrays tell."""

from pathlib import Path

import pytest

from autoencoder.data.names import is_visible, split_of, split_of_directory


@pytest.mark.parametrize(
    ("name", "split"),
    [
        *((name, "train") for name in ("train", "Training", "TRAIN", "trainingSet", "val")),
        *((name, "train") for name in ("valid", "validation", "train_images", "Train Data")),
        *((name, "test") for name in ("test", "Testing", "TEST", "testSet", "test-images")),
        *((name, None) for name in ("trains", "contest", "7", "train test", "test tube", "cat")),
    ],
)
def test_split_of_a_directory(name: str, split: str | None) -> None:
    assert split_of_directory(name) == split


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("mnist_train.csv", "train"),
        ("mnist-TEST.csv.gz", "test"),
        ("t10k-images-idx3-ubyte", "test"),
        ("T10K-images.idx3-ubyte", "test"),
        ("x_train", "train"),
        ("val_labels", "train"),
        ("emnistTest.csv", "test"),
        ("latest.csv", None),
        ("train_test.csv", None),
    ],
)
def test_split_of_a_file_or_array(name: str, split: str | None) -> None:
    assert split_of(name) == split


def test_junk_is_not_visible(tmp_path: Path) -> None:
    for name in (".git/x", "a/.DS_Store", "__MACOSX/a.csv", "a/Thumbs.db", "desktop.ini"):
        assert not is_visible(tmp_path / name, tmp_path)
    assert is_visible(tmp_path / "a/b.png", tmp_path)
