"""What names of files, directories and arrays tell."""

from pathlib import Path

import pytest

from autoencoder.data.names import is_visible
from autoencoder.data.user.roles import role_of, split_of, splits_of_directories


@pytest.mark.parametrize(
    ("split", "names"),
    [
        ("train", ["train", "Training", "TRAIN", "trainingSet", "trainset"]),
        ("train", ["train_images", "Train Data"]),
        ("validation", ["val", "valid", "validation", "Dev set"]),
        ("test", ["test", "Testing", "TEST", "testSet", "test-images"]),
        (
            None,
            [
                "trains",
                "contest",
                "trainer",
                "oval",
                "carnival",
                "device",
                "testy",
                "7",
                "train test",
                "test tube",
                "cat",
            ],
        ),
    ],
)
def test_split_of_a_directory(split: str | None, names: list[str]) -> None:
    assert {name: splits_of_directories([name])[0] for name in names} == dict.fromkeys(names, split)


def test_words_that_all_directories_have_do_not_count() -> None:
    assert splits_of_directories(["mnist_test", "mnist-Train"]) == ["test", "train"]
    assert splits_of_directories(["mnist_test", "mnist_val", "mnist_train"]) == [
        "test",
        "validation",
        "train",
    ]
    assert splits_of_directories(["test tube", "train station"]) == [None, None]
    assert splits_of_directories(["train", "test"]) == ["train", "test"]
    assert splits_of_directories([]) == []


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("mnist_train.csv", "train"),
        ("mnist-TEST.csv.gz", "test"),
        ("t10k-images-idx3-ubyte", "test"),
        ("T10K-images.idx3-ubyte", "test"),
        ("x_train", "train"),
        ("val_labels", "validation"),
        ("train_val.npz", "train"),
        ("emnistTest.csv", "test"),
        ("Xtrain", "train"),
        ("ytest.npy", "test"),
        ("traindata", "train"),
        ("testlabels", "test"),
        ("csvTrainLabel 60000x1.csv", "train"),
        ("latest.csv", None),
        ("strain", None),
        ("interval data", None),
        ("train_test.csv", None),
    ],
)
def test_split_of_a_file_or_array(name: str, split: str | None) -> None:
    assert split_of(name) == split


@pytest.mark.parametrize(
    ("role", "names"),
    [
        ("labels", ["ytrain", "testlabels", "labels_v1", "labels-idx1-int", "y_2", "digits"]),
        ("labels", ["csvTrainLabel 60000x1", "train-labels-idx1-ubyte"]),
        ("images", ["Xtrain", "testdata", "csvTestImages 10000x784", "image_1"]),
        (None, ["digit_3", "class 7", "cat", "strain"]),
    ],
)
def test_role_of_a_file_or_array(role: str | None, names: list[str]) -> None:
    assert {name: role_of(name) for name in names} == dict.fromkeys(names, role)


def test_junk_is_not_visible(tmp_path: Path) -> None:
    for name in (".git/x", "a/.DS_Store", "__MACOSX/a.csv", "a/Thumbs.db", "desktop.ini"):
        assert not is_visible(tmp_path / name, tmp_path)
    assert is_visible(tmp_path / "a/b.png", tmp_path)
