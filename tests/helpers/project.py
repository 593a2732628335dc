"""Copies of this project that tests may run and change, and the commands run in them."""

import fcntl
import importlib
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks.measuring import peak_command
from helpers.fork import TIMEOUT_S, run_in_fork

ROOT = Path(__file__).parents[2]
STAGES = ["fetch", "convert", "train", "evaluate", "sanity_check"]
AFTER_TABLES = STAGES[2:]

# Every parameter of the small project, so that tests do not depend on the committed values.
PARAMS: dict[str, Any] = {
    "dataset": "mnist",
    "mirror": None,  # the fixture `mirror`
    "test_fraction": 0.2,
    "invert": False,
    "fit": "stretch",
    "hidden_sizes": [512, 256],
    "z_size": 32,
    "activation": "sigmoid",
    "seed": 0,
    "epochs": 8,
    "batch_size": 20,
    "learning_rate": 0.007,
    "weight_decay": 0.02,
    "noise": 0,
    "validation_fraction": 0.05,
    "patience": 5,
    "device": "cpu",
    "launcher": "python -m",
}

# No remote and no cache directory but its own.
DVC_CONFIG = """\
[core]
    analytics = false
    check_update = false
"""


class Project:
    """A checkout of this project in its own directory, and the commands run in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        outside = root.parent / f"{root.name}-home"
        users = ("GIT_", "DVC_")
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(users)},
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
        """Run a command, which must exit with `status`; return its output with standard error.

        DVC runs in a fork; what it starts, such as stages, are processes of their own.
        """
        if command[0] == "dvc":
            return self.run_module("dvc", *command[1:], status=status)
        with self.start(*command) as process:
            try:
                output, _ = process.communicate(timeout=TIMEOUT_S)
            finally:
                process.kill()
        assert process.returncode == status, f"{' '.join(command)}: {process.returncode}\n{output}"
        return output

    def run_module(self, name: str, *arguments: str, status: int = 0) -> str:
        """Run ``python -m name`` like `run`, but in a fork of this process: see `fork`."""
        found, output = run_in_fork(name, arguments, self.root, self.environment)
        assert found == status, f"{name} {' '.join(arguments)}: {found}\n{output}"
        return output

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

    def write_params(self, values: Mapping[str, object]) -> None:
        (self.root / "params.yaml").write_text(yaml.safe_dump(dict(values)))

    def set_params(self, **values: object) -> None:
        """Change some parameters; the others stay as they are."""
        self.write_params(self.params() | values)

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
    "-m",
    "stages.train",
    "--table=data/train.csv",
    "--model=m.safetensors",
    "--losses=loss.csv",
    "--checkpoints=checkpoints",
]


def train_outputs(project: Project) -> list[bytes]:
    """The model and the losses that `TRAIN` wrote."""
    return [(project.root / name).read_bytes() for name in ("m.safetensors", "loss.csv")]


def peak_memory(project: Project, module: str, *arguments: str) -> int:
    """Run a module of the project; return its peak memory in KiB."""
    # glibc then returns arrays to the system at once, and leaves no holes to be counted.
    exact = Project(project.root)
    exact.environment["MALLOC_MMAP_THRESHOLD_"] = "65536"
    output = exact.run(*peak_command(sys.executable, "-m", module, *arguments))
    return int(output.splitlines()[-1])


def uses(stage: str) -> list[str]:
    """The parameters that a stage declares."""
    declared: list[str] = getattr(importlib.import_module(f"stages.{stage}"), "USES", [])
    return declared


def small_params() -> dict[str, Any]:
    """`PARAMS`, and the committed values of parameters that are not in it yet."""
    committed: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text())
    return {name: PARAMS.get(name, value) for name, value in committed.items()}


def copy_checkout(target: Path) -> Project:
    """Copy the files of the working tree that git tracks or would track; make it a repository.

    Its DVC settings are the tests' own: nothing reaches the cache or the remotes of this checkout.
    """
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
    (target / ".dvc/config").write_text(DVC_CONFIG)
    project = Project(target)
    project.run("git", "init", "--quiet", "--initial-branch=main")
    return project


def remove_user_data(project: Project) -> None:
    """Delete what a user added with `dvc add` or put into data/incoming, as if never there."""
    for path in project.root.rglob("*.dvc"):
        if path.is_file():
            path.unlink()
    for path in (project.root / "data/incoming").iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != ".gitignore":
            path.unlink()


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
