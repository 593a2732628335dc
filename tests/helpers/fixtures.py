"""Fixtures: the small data set, projects before and after a run, a browser; and guards."""

import atexit
import gc
import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import matplotlib.font_manager  # noqa: F401  starts fc-list, at its first import on a machine
import pytest
import torch
from hypothesis import HealthCheck, settings
from PIL import Image
from playwright.sync_api import Browser
from torch import Tensor

from autoencoder.base import startup
from autoencoder.base.errors import UserError
from autoencoder.base.files import file_digest
from autoencoder.data.datasets import DATASETS
from autoencoder.network.step import can_compute
from helpers.digits import Digits, draw_digits, publish
from helpers.networks import network
from helpers.pages import Opener
from helpers.project import (
    Project,
    build_once,
    copy_checkout,
    remove_user_data,
    small_params,
)

# The same examples in every run, however slow the machine.
settings.register_profile(
    "tests",
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("tests")

# Two threads in each of two processes would wait for each other most of the time.
os.environ["OMP_NUM_THREADS"] = "1"
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def train_digits() -> Digits:
    return draw_digits(600, seed=1)


@pytest.fixture(scope="session")
def test_digits() -> Digits:
    return draw_digits(100, seed=2)


@pytest.fixture(scope="session")
def images(train_digits: Digits) -> Tensor:
    """The training images, uint8 (600, 784)."""
    return torch.from_numpy(train_digits[1].reshape(-1, 784))


@pytest.fixture
def only_linear_layers(images: Tensor) -> None:
    """Skip the test if the network of model.py does not consist of linear layers alone."""
    if not can_compute(network(images)):
        pytest.skip("model.py has layers that step.py does not know: see docs/development.md")


@pytest.fixture(scope="session")
def mirror(
    tmp_path_factory: pytest.TempPathFactory, train_digits: Digits, test_digits: Digits
) -> Path:
    """A directory with the small data set, in files named like MNIST's."""
    directory = tmp_path_factory.mktemp("mirror")
    publish(DATASETS["mnist"], directory, train_digits, test_digits)
    return directory


@pytest.fixture
def classes(tmp_path: Path, test_digits: Digits) -> Path:
    """A directory of 30 digits in a directory for each class, in several formats."""
    directory = tmp_path / "digits"
    for row, (label, pixels) in enumerate(zip(*test_digits, strict=True)):
        if row < 30:
            inside = ["T-shirt"] if label == 9 else ["1", "more"] if row == 11 else [str(label)]
            path = directory.joinpath(*inside, f"{30 - row}.{['png', 'BMP', 'tiff'][row // 10]}")
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    return directory


@pytest.fixture(scope="session")
def fresh(tmp_path_factory: pytest.TempPathFactory, mirror: Path) -> Project:
    """This code with the tests' own parameters and the small data set as MNIST; nothing is run."""

    def build(root: Path) -> str:
        root.mkdir()
        project = copy_checkout(root)
        # The real digests are tested with the real files; here they are those of the small ones.
        module = root / "autoencoder/data/datasets.py"
        text = module.read_text()
        for name, published in DATASETS["mnist"].digests.items():
            assert published in text
            text = text.replace(published, file_digest(mirror / name))
        module.write_text(text)
        remove_user_data(project)
        project.write_params(small_params() | {"mirror": mirror.as_uri()})
        (root / "dvc.lock").unlink(missing_ok=True)
        for directory in ("metrics", "plots", "sweeps"):
            shutil.rmtree(root / directory, ignore_errors=True)
        project.commit("the project, on a small data set")
        return ""

    return build_once(tmp_path_factory, "fresh", build)[0]


@pytest.fixture(scope="session")
def _ran(fresh: Project, tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, str]:
    def build(root: Path) -> str:
        project = fresh.copy(root)
        output = project.run("dvc", "repro")
        project.commit("a run")
        return output

    return build_once(tmp_path_factory, "ran", build)


@pytest.fixture(scope="session")
def first_output(_ran: tuple[Project, str]) -> str:
    """The output of the first `dvc repro` of the small project."""
    return _ran[1]


@pytest.fixture(scope="session")
def ran(_ran: tuple[Project, str]) -> Project:
    """The small project after a committed `dvc repro`; tests must not change it."""
    return _ran[0]


@pytest.fixture(scope="session")
def small_code(ran: Project, tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, str]:
    """The small project after an experiment with a smaller code, and its output."""

    def build(root: Path) -> str:
        return ran.copy(root).run("dvc", "exp", "run", "--name", "small-code", "-S", "z_size=16")

    return build_once(tmp_path_factory, "small-code", build)


@pytest.fixture
def project(ran: Project, tmp_path: Path) -> Project:
    """The small project after a committed `dvc repro`, in a copy that a test may change."""
    return ran.copy(tmp_path / "project")


@pytest.fixture
def fresh_project(fresh: Project, tmp_path: Path) -> Project:
    """The small project before any run, in a copy that a test may change."""
    return fresh.copy(tmp_path / "project")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A real Chromium, without a window."""
    from tools.screenshots import chromium, chromium_path

    try:
        chromium_path()
    except UserError as error:
        pytest.skip(str(error))
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def _opener(browser: Browser) -> Iterator[Opener]:
    opener = Opener(browser)
    yield opener
    opener.close()


@pytest.fixture
def open_page(_opener: Opener) -> Iterator[Opener]:
    """Opens pages from disk, without a network; nothing may be missing or complain."""
    yield _opener
    _opener.check()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that use a project or the browser: they start processes.

    The file with most of them comes first: it builds the projects, for which the others would wait.
    Then, pytest-xdist's other processes have the files without any.
    """
    startup.end_imports()
    if "PYTEST_XDIST_WORKER" in os.environ:
        # All is reported by then. Collecting what PyTorch has in memory would take two seconds.
        atexit.register(os._exit, 0)
    else:
        # Triton complains at the end of what was not collected.
        atexit.register(gc.unfreeze)
    counts: Counter[Path] = Counter()
    for item in items:
        if {"fresh", "browser"} & set(getattr(item, "fixturenames", ())):
            item.add_marker("process")
            marks = {mark.name for mark in item.iter_markers()}
            counts[item.path] += not marks & {"slow", "soak"}
    first = max(counts, key=counts.__getitem__, default=None)
    items.sort(key=lambda item: (item.path != first, item.path in counts, -counts[item.path]))


@pytest.fixture(autouse=True)
def no_processes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep tests that are not marked `process` from starting any."""
    if request.node.get_closest_marker("process") is None:

        def refuse(*arguments: object, **options: object) -> None:
            pytest.fail("starts a process: mark the test with pytest.mark.process")

        monkeypatch.setattr(subprocess.Popen, "__init__", refuse)


@pytest.fixture(autouse=True)
def usual_numerics() -> Iterator[None]:
    """Undo the settings of this process that `configure_numerics` changes."""
    yield
    torch.set_flush_denormal(False)  # hypothesis needs denormals
    torch.backends.mkldnn.matmul.fp32_precision = "ieee"  # type: ignore[attr-defined]
