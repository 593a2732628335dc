"""What fetch and convert make of the real MNIST."""

from pathlib import Path

import pytest
from helpers.project import ROOT, Project, copy_checkout, remove_user_data, small_params

from autoencoder.base.files import file_digest
from autoencoder.data import table
from autoencoder.data.datasets import DATASETS

pytestmark = [pytest.mark.process, pytest.mark.slow]


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The project with MNIST fetched from wherever it can be had, and converted."""
    project = copy_checkout(tmp_path_factory.mktemp("real"))
    remove_user_data(project)
    here = ROOT / "data/raw/MNIST/raw"
    project.write_params(small_params() | {"mirror": here.as_uri() if here.exists() else None})
    project.run("dvc", "repro", "convert")
    return project


@pytest.fixture(scope="module")
def raw(real: Project) -> Path:
    return real.root / "data/raw"


def test_files_have_their_published_digests(raw: Path) -> None:
    found = {path.name: file_digest(path) for path in raw.rglob("*") if path.is_file()}
    assert found == DATASETS["mnist"].digests


@pytest.mark.parametrize(("name", "rows"), [("train", 60_000), ("test", 10_000)])
def test_tables_are_what_torchvision_reads(real: Project, raw: Path, name: str, rows: int) -> None:
    from torchvision.datasets import MNIST

    theirs = MNIST(str(raw), train=name == "train")
    labels, images = table.read(real.root / f"data/{name}.csv")
    assert images.shape == (rows, 784)
    assert (labels == theirs.targets.numpy().astype(str)).all()
    assert (images.reshape(-1, 28, 28) == theirs.data.numpy()).all()
    assert table.in_order(set(labels.tolist())) == [str(digit) for digit in range(10)]
