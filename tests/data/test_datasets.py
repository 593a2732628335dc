"""The published data sets, held against torchvision's knowledge of them."""

from typing import Any

import pytest
from torchvision import datasets as theirs

from autoencoder.data.datasets import DATASETS

EMNIST = [name for name in DATASETS if name.startswith("emnist-")]


@pytest.mark.parametrize("name", DATASETS)
def test_files_and_classes_are_consistent(name: str) -> None:
    dataset = DATASETS[name]
    assert len(set(dataset.classes)) == len(dataset.classes)
    files = [dataset.train.images, dataset.train.labels, dataset.test.images, dataset.test.labels]
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
