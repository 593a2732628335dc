"""Data sets, IDX files and pictures, checked against torchvision's."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.digits import Digits, concatenate

from autoencoder.data import idx
from autoencoder.data.datasets import DATASETS
from autoencoder.data.downloads import torchvision_urls
from autoencoder.data.user.formats import PICTURES
from autoencoder.data.user.images import iter_images

EMNIST = [name for name in DATASETS if name.startswith("emnist-")]


@pytest.fixture(scope="module")
def torchvision() -> Any:
    """torchvision, whose import takes a second that the processes without these tests need not."""
    import torchvision

    return torchvision


@pytest.fixture
def theirs(torchvision: Any, name: str) -> Any:
    """The data set `name` of torchvision."""
    return getattr(torchvision.datasets, DATASETS[name].folder)


def resources(of: Any) -> dict[str, str]:
    """File name to MD5, as torchvision has them."""
    listed = of.resources
    if isinstance(listed, dict):
        listed = [*listed["train"], *listed["test"]]
    return {name.rpartition("/")[2]: md5 for name, md5 in listed}


@pytest.mark.parametrize("name", ["kmnist", "qmnist"])
def test_digests_of_compressed_files_are_those_of_torchvision(name: str, theirs: Any) -> None:
    assert DATASETS[name].digests == resources(theirs)


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_uncompressed_files_are_called_as_torchvision_calls_them(name: str, theirs: Any) -> None:
    assert {f"{file}.gz" for file in DATASETS[name].digests} == set(resources(theirs))


@pytest.mark.parametrize("name", ["fashion-mnist", "kmnist"])
def test_classes_are_those_of_torchvision(name: str, theirs: Any) -> None:
    assert list(DATASETS[name].classes) == theirs.classes


@pytest.mark.parametrize("name", EMNIST)
def test_emnist_is_as_torchvision_has_it(name: str, theirs: Any) -> None:
    split = name.removeprefix("emnist-")
    assert list(DATASETS[name].classes) == theirs.classes_split_dict[split]
    assert DATASETS[name].digests == {"gzip.zip": theirs.md5}
    assert {name.removeprefix("emnist-") for name in EMNIST} == set(theirs.splits)


@pytest.mark.parametrize("name", DATASETS)
def test_torchvision_knows_where_each_data_set_is(name: str) -> None:
    addresses = torchvision_urls(DATASETS[name])
    assert addresses
    for address in addresses:
        assert address.startswith(("http://", "https://"))
        assert not address.endswith(tuple(DATASETS[name].digests))


def test_torchvision_reads_what_is_encoded(
    torchvision: Any, tmp_path: Path, test_digits: Digits
) -> None:
    labels, images = test_digits
    wide = np.arange(-800, 800).astype(">i4").reshape(200, 8)
    reader = torchvision.datasets.mnist
    for read, array in (
        (reader.read_label_file, labels),
        (reader.read_image_file, images),
        (reader.read_sn3_pascalvincent_tensor, wide),
    ):
        (tmp_path / "file").write_bytes(idx.encode(array))
        assert (read(str(tmp_path / "file")).numpy() == array).all()


def test_classes_are_what_torchvision_finds_and_converts(
    torchvision: Any, classes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autoencoder.data.user.batches.BATCH_BYTES", 7 * 784)
    transforms = torchvision.transforms
    convert = transforms.Compose([transforms.Grayscale(), transforms.Resize((28, 28))])
    dataset = torchvision.datasets.ImageFolder(classes, transform=convert)
    assert len(dataset) == 30
    assert max(len(labels) for labels, _ in iter_images(classes)) <= 7
    labels, images = concatenate(iter_images(classes))
    for label, pixels, (converted, number) in zip(labels, images, dataset, strict=True):
        assert label == dataset.classes[number]
        assert (pixels.reshape(28, 28) == np.asarray(converted)).all()
    assert labels[-1] == "T-shirt"


def test_suffixes_are_those_of_torchvision(torchvision: Any) -> None:
    assert set(PICTURES) >= set(torchvision.datasets.folder.IMG_EXTENSIONS)
