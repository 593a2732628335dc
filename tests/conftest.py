"""Shared by tests: a small data set of drawn digits, and copies of the project that use it."""

import dataclasses
import fcntl
import gc
import gzip
import importlib
import logging
import os
import runpy
import shlex
import shutil
import signal
import subprocess
import sys
import traceback
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import torch
import yaml
from hypothesis import HealthCheck, settings
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from playwright.sync_api import Browser, sync_playwright
from torch import Tensor

from autoencoder.base import startup
from autoencoder.base.errors import UserError
from autoencoder.base.files import file_digest, sha256
from autoencoder.base.params import Params
from autoencoder.data import idx, table
from autoencoder.data.datasets import DATASETS, Dataset
from autoencoder.network.model import Autoencoder, to_unit_range

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

ROOT = Path(__file__).parents[1]
STAGES = ["fetch", "convert", "train", "evaluate", "sanity_check"]
AFTER_TABLES = STAGES[2:]
Digits = tuple[NDArray[np.uint8], NDArray[np.uint8]]


def draw_digits(count: int, seed: int) -> Digits:
    """Labels (count,) and images (count, 28, 28) of printed digits, shifted and scaled."""
    rng = np.random.default_rng(seed)
    labels = (np.arange(count) % 10).astype(np.uint8)
    images = np.zeros((count, 28, 28), np.uint8)
    for label, pixels in zip(labels, images, strict=True):
        canvas = Image.new("L", (28, 28))
        font = ImageFont.load_default(size=int(rng.integers(20, 26)))
        position = rng.integers(-2, 3, size=2) + 14
        ImageDraw.Draw(canvas).text(
            (int(position[0]), int(position[1])), str(label), fill=255, font=font, anchor="mm"
        )
        pixels[:] = np.asarray(canvas)
    return labels, images


def named(digits: Digits) -> table.Chunk:
    """The digits as in a table: labels are strings, images have 784 pixels."""
    labels, images = digits
    return labels.astype(str), images.reshape(-1, table.PIXELS)


def write_pictures(directory: Path, digits: Digits) -> None:
    """Write digits as PNG files, into a directory for each class."""
    for number, (label, image) in enumerate(zip(*digits, strict=True)):
        path = directory / f"digit {label}" / f"{number:04}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)


def as_written(digits: Digits) -> table.Chunk:
    """The labels and images of `write_pictures`, in the order of the directories."""
    labels, images = named(digits)
    order = np.argsort(labels, kind="stable")
    return np.char.add("digit ", labels[order]), images[order]


def concatenate(chunks: Iterable[table.Chunk]) -> table.Chunk:
    """The labels and images of all chunks."""
    labels, images = zip(*chunks, strict=True)
    return np.concatenate(labels), np.concatenate(images).reshape(-1, table.PIXELS)


def network(images: Tensor, z_size: int = 32, activation: str = "sigmoid") -> Autoencoder:
    """A network with initial weights for the images."""
    model = Autoencoder(z_size, activation)
    model.initialise(to_unit_range(images).mean(0), torch.Generator().manual_seed(0))
    return model


def refusal(read: Callable[[], object]) -> str:
    """The message of the UserError that `read` raises, or an empty string."""
    try:
        read()
    except UserError as error:
        return str(error)
    return ""


def parameters(**values: Any) -> Params:
    """Parameters for a `Trainer` on a few images."""
    usual: dict[str, Any] = {
        **{"seed": 0, "epochs": 3, "batch_size": 20, "patience": 0},
        **{"learning_rate": 5e-3, "weight_decay": 0.01, "noise": 0.0},
    }
    return Params.model_construct(**(usual | values))


def peak_memory(project: "Project", module: str, *arguments: str) -> int:
    """Run a module of the project; return its peak memory in KiB."""
    code = (
        "import runpy, sys; sys.argv = sys.argv[1:];"
        "runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True);"
        "print(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])"
    )
    # glibc then returns arrays to the system at once, and leaves no holes to be counted.
    exact = Project(project.root)
    exact.environment["MALLOC_MMAP_THRESHOLD_"] = "65536"
    output = exact.run(sys.executable, "-c", code, module, *arguments)
    return int(output.splitlines()[-1])


def uses(stage: str) -> list[str]:
    """The parameters that a stage declares."""
    declared: list[str] = getattr(importlib.import_module(f"stages.{stage}"), "USES", [])
    return declared


def publish(dataset: Dataset, directory: Path, train: Digits, test: Digits) -> Dataset:
    """Write digits to the files of a published data set; return the data set with their digests."""
    archives: dict[str, zipfile.ZipFile] = {}
    for files, (labels, images) in ((dataset.train, train), (dataset.test, test)):
        wide = np.column_stack([labels, *[labels * 0 + 7] * 7]).astype(">i4")
        for name, array in (
            (files.labels, wide if dataset.extended_labels else labels),
            (files.images, images.transpose(0, 2, 1) if dataset.transposed else images),
        ):
            content = idx.encode(array)
            if name.endswith(".gz"):
                content = gzip.compress(content, mtime=0)
            file, _, member = name.partition("/")
            if member:
                if file not in archives:
                    archives[file] = zipfile.ZipFile(directory / file, "w")
                archives[file].writestr(member, content)
            else:
                (directory / file).write_bytes(content)
    for archive in archives.values():
        archive.close()
    digests = {
        name: file_digest(directory / name, "md5" if len(published) == 32 else "sha256")
        for name, published in dataset.digests.items()
    }
    return dataclasses.replace(dataset, digests=digests)


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


@pytest.fixture(scope="session")
def mirror(
    tmp_path_factory: pytest.TempPathFactory, train_digits: Digits, test_digits: Digits
) -> Path:
    """A directory with the small data set, in files named like MNIST's."""
    directory = tmp_path_factory.mktemp("mirror")
    publish(DATASETS["mnist"], directory, train_digits, test_digits)
    return directory


class Project:
    """A checkout of this project in its own directory, and the commands run in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        outside = root.parent / f"{root.name}-home"
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_AUTHOR_NAME": "tester",
            "GIT_AUTHOR_EMAIL": "tester@example.com",
            "GIT_COMMITTER_NAME": "tester",
            "GIT_COMMITTER_EMAIL": "tester@example.com",
            "DVC_SITE_CACHE_DIR": str(outside / "site"),
            "DVC_GLOBAL_CONFIG_DIR": str(outside / "global"),
            "DVC_SYSTEM_CONFIG_DIR": str(outside / "system"),
        }

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Start a command; its `stdout` receives all of its output, including standard error."""
        return subprocess.Popen(
            command,
            cwd=self.root,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *command: str, status: int = 0) -> str:
        """Run a command, which must exit with `status`; return its output with standard error."""
        with self.start(*command) as process:
            try:
                output, _ = process.communicate(timeout=300)
            finally:
                process.kill()
        assert process.returncode == status, f"{' '.join(command)}: {process.returncode}\n{output}"
        return output

    def run_module(self, name: str, *arguments: str, status: int = 0) -> str:
        """Run ``python -m name`` like `run`, in a fork of this process.

        The fork has the libraries in memory, whose import takes seconds; the modules of the project
        are imported again, from its directory.
        """
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            self._become(name, arguments, writer)
        os.close(writer)
        with open(reader, encoding="utf-8", errors="replace") as stream:  # noqa: PTH123
            output = stream.read()
        found = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert found == status, f"{name} {' '.join(arguments)}: {found}\n{output}"
        return output

    def _become(self, name: str, arguments: tuple[str, ...], writer: int) -> NoReturn:
        """Run a module instead of pytest and exit."""
        status: object = 1
        try:
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            for descriptor in (1, 2):
                os.dup2(writer, descriptor)
            os.close(writer)
            sys.stdin, sys.stdout, sys.stderr = (
                os.fdopen(descriptor, mode, buffering=1)
                for descriptor, mode in ((0, "r"), (1, "w"), (2, "w"))
            )
            signal.alarm(300)  # as long as `run` waits
            logging.root.handlers.clear()
            os.chdir(self.root)
            os.environ.clear()
            os.environ.update(self.environment)
            for module in list(sys.modules):
                if module.partition(".")[0] in ("autoencoder", "benchmarks", "stages", "tools"):
                    del sys.modules[module]
            sys.path[:] = [str(self.root), *(path for path in sys.path if path != str(ROOT))]
            sys.argv = [name, *arguments]
            runpy.run_module(name, run_name="__main__", alter_sys=True)
            status = 0
        except SystemExit as error:
            status = error.code or 0
            if not isinstance(status, int):
                print(status, file=sys.stderr)
                status = 1
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status if isinstance(status, int) else 1)

    def copy(self, target: Path) -> "Project":
        """Copy the whole directory."""
        shutil.copytree(self.root, target, symlinks=True, dirs_exist_ok=True)
        return Project(target)

    def commit(self, message: str) -> None:
        self.run("git", "add", "--all")
        self.run("git", "commit", "--quiet", "--message", message)

    def params(self) -> dict[str, Any]:
        values: dict[str, Any] = yaml.safe_load((self.root / "params.yaml").read_text())
        return values

    def set_params(self, **values: object) -> None:
        (self.root / "params.yaml").write_text(yaml.safe_dump(self.params() | values))

    def command(self, stage: str) -> list[str]:
        """The words of the command with which DVC runs a stage."""
        text: str = yaml.safe_load((self.root / "dvc.yaml").read_text())["stages"][stage]["cmd"]
        return shlex.split(text.replace("${launcher}", self.params()["launcher"]))

    def stages_run(self, output: str) -> list[str]:
        """The stages that a `dvc repro` or `dvc exp run` ran, from its output."""
        return [
            line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")
        ]


# Trains on the project's table, next to DVC's outputs.
TRAIN = [
    *("-m", "stages.train", "--table", "data/train.csv", "--model", "m.safetensors"),
    *("--losses", "loss.csv", "--checkpoint", "checkpoint"),
]


def train_outputs(project: Project) -> list[bytes]:
    """The model and the losses that `TRAIN` wrote."""
    return [(project.root / name).read_bytes() for name in ("m.safetensors", "loss.csv")]


def copy_checkout(target: Path) -> Project:
    """Copy the files of the working tree that git tracks or would track; make it a repository."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    project = Project(target)
    project.run("git", "init", "--quiet", "--initial-branch=main")
    return project


def build_once(
    factory: pytest.TempPathFactory, name: str, build: Callable[[Path], str]
) -> tuple[Project, str]:
    """Build a project once for all of pytest-xdist's processes; return a copy and the output.

    Each process has its own copy, because DVC locks a project while it works on it.
    """
    shared = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    original, output = shared / name, shared / f"{name}.txt"
    with (shared / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not output.exists():
            shutil.rmtree(original, ignore_errors=True)  # of a process that failed
            output.write_text(build(original))
    return Project(original).copy(factory.mktemp(name) / "project"), output.read_text()


@pytest.fixture(scope="session")
def fresh(tmp_path_factory: pytest.TempPathFactory, mirror: Path) -> Project:
    """The project as cloned, with the small data set as MNIST: nothing has been run."""

    def build(root: Path) -> str:
        root.mkdir()
        project = copy_checkout(root)
        # The real digests are tested with the real files; here they are those of the small ones.
        module = root / "autoencoder/data/datasets.py"
        text = module.read_text()
        for name, published in DATASETS["mnist"].digests.items():
            assert published in text
            text = text.replace(published, sha256(mirror / name))
        module.write_text(text)
        project.set_params(mirror=mirror.as_uri(), epochs=8, batch_size=20)
        (root / "dvc.lock").unlink(missing_ok=True)
        for directory in ("metrics", "plots"):
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
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium on PATH (Debian: apt-get install chromium libatomic1)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that use a project or the browser: they start processes.

    The file with most of them comes first: it builds the projects, for which the others would wait.
    Then, pytest-xdist's other processes have the files without any.
    """
    startup.end_imports()
    counts: Counter[Path] = Counter()
    for item in items:
        if {"fresh", "browser"} & set(getattr(item, "fixturenames", ())):
            item.add_marker("process")
            marks = {mark.name for mark in item.iter_markers()}
            counts[item.path] += not marks & {"slow", "soak"}
    first = max(counts, key=counts.__getitem__, default=None)
    items.sort(key=lambda item: (item.path != first, item.path in counts, -counts[item.path]))


def pytest_unconfigure() -> None:
    """Undo `end_imports`: Triton complains at the end of what was not collected."""
    gc.unfreeze()


@pytest.fixture(autouse=True)
def no_processes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep tests that are not marked `process` from starting any."""
    if request.node.get_closest_marker("process") is None:

        def refuse(*arguments: object, **options: object) -> None:
            pytest.fail("starts a process: mark the test with pytest.mark.process")

        monkeypatch.setattr(subprocess, "Popen", refuse)


@pytest.fixture(autouse=True)
def usual_numerics() -> Iterator[None]:
    """Undo the settings of this process that `configure_numerics` changes."""
    yield
    torch.set_flush_denormal(False)  # hypothesis needs denormals
    torch.backends.mkldnn.matmul.fp32_precision = "ieee"  # type: ignore[attr-defined]
