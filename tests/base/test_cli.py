"""Every stage on the command line: its help, and its errors in one line."""

import errno
import pickle
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import pytest
import torch
import yaml
from helpers.project import ROOT, Project

from autoencoder.base.cli import Reads, Writes, run, run_stage
from autoencoder.base.errors import UserError
from autoencoder.base.params import Params

DIRECTORIES = ["data", "metrics", "models", "plots"]
PROGRAMS = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for directory in ("stages", "tools", "benchmarks")
    for path in sorted((ROOT / directory).glob("*.py"))
    if "__main__" in path.read_text() and path.name != "setup.py"  # which make alone calls
]
PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]


@pytest.mark.process
@pytest.mark.parametrize("stage", PIPELINE)
def test_help_tells_what_a_stage_reads_writes_and_uses(stage: str) -> None:
    output = Project(ROOT).run_module(f"stages.{stage}", "--help")
    assert f"usage: python -m stages.{stage} " in output
    for option in re.findall(r"--\w+", PIPELINE[stage]["cmd"]):
        assert f"{option} PATH" in output
    assert "writes:" in output
    used = output.split("parameters, from params.yaml:")[1]
    assert re.findall(r"^  (\w+):", used, re.MULTILINE) == [
        name for name in Params.model_fields if name in PIPELINE[stage].get("params", [])
    ]


@pytest.mark.process
@pytest.mark.parametrize("program", PROGRAMS)
def test_help_is_shown_and_nothing_done(program: str) -> None:
    output = Project(ROOT).run_module(program, "--help")
    assert output.startswith(f"usage: python -m {program.removesuffix('.__main__')} ")


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("convert --raw nowhere --train a --test b", "nowhere/MNIST/raw/train-"),
        (
            "train --table nowhere.csv --model a --losses b --checkpoints models/c",
            "nowhere.csv: No such",
        ),
        ("train --table data --model a --losses b --checkpoints models/c", "data: Is a directory"),
    ],
)
def test_a_missing_input_is_one_line(ran: Project, command: str, message: str) -> None:
    stage, *arguments = command.split()
    output = ran.run_module(f"stages.{stage}", *arguments, status=1)
    assert output.startswith("error: ")
    assert message in output
    assert output.count("\n") == 1


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-99])


def swap(path: Path) -> None:
    shutil.copy(path, path.with_name("t10k-labels-idx1-ubyte"))


def strike_out(path: Path) -> None:
    path.write_text(path.read_text().replace(",", ";"))


def make_pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps({"weights": 1}))


@pytest.mark.parametrize(
    ("stage", "name", "damage", "message"),
    [
        (
            "fetch",
            "params.yaml",
            lambda path: path.write_text("- a"),
            "params.yaml: expected lines",
        ),
        (
            "convert",
            "data/raw/MNIST/raw/t10k-images-idx3-ubyte",
            swap,
            "data/raw/MNIST/raw/t10k-labels-idx1-ubyte: missing or damaged, expected",
        ),
        ("train", "data/train.csv", cut_off, "data/train.csv: line "),
        pytest.param(
            "train",
            "data/train.csv",
            strike_out,
            "data/train.csv: line 1, column 1 is 'label;1x1",
            marks=pytest.mark.slow,
        ),
        (
            "evaluate",
            "models/autoencoder.safetensors",
            make_pickle,
            "models/autoencoder.safetensors: not a model of this project",
        ),
        pytest.param(
            "sanity_check",
            "plots/loss.csv",
            cut_off,
            "plots/loss.csv: truncated after ",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_bad_input_is_one_line_and_leaves_the_outputs(
    project: Project, stage: str, name: str, damage: Callable[[Path], object], message: str
) -> None:
    command = project.command(stage)
    (project.root / name).chmod(0o644)
    damage(project.root / name)
    made = [path for directory in DIRECTORIES for path in (project.root / directory).rglob("*[!k]")]
    made = [path for path in made if path.is_file()]
    before = {path: path.read_bytes() for path in made}
    output = project.run_module(*command[2:], status=1)
    assert output.splitlines()[-1].startswith(f"error: {message}")
    assert "Traceback" not in output
    assert {path: path.read_bytes() for path in made} == before


def test_a_bad_parameter_stops_every_stage_before_any_work(fresh_project: Project) -> None:
    fresh_project.set_params(z_size=0)
    output = fresh_project.run("dvc", "repro", status=255)
    assert "error: params.yaml: z_size is 0, expected greater than or equal to 1" in output
    assert not (fresh_project.root / "data/raw").exists()


@dataclass
class Encoding:
    model: Annotated[Path, Reads("")]
    images: Annotated[Path, Reads("")]
    codes: Annotated[Path, Writes("")]


@dataclass
class Tables:
    train: Annotated[Path, Writes("")]
    test: Annotated[Path, Writes("")]


@pytest.mark.parametrize(
    ("images", "codes"),
    [
        ("images.csv", "images.csv"),
        ("images.csv", "directory/../images.csv"),
        ("images.csv", "linked.csv"),
        ("images.csv", "linked-directory/images.csv"),
        ("images.csv", "model"),
        ("directory/inside.csv", "directory"),
    ],
)
def test_an_output_that_is_an_input_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, images: str, codes: str
) -> None:
    (tmp_path / "directory").mkdir()
    (tmp_path / "images.csv").touch()
    (tmp_path / "linked.csv").symlink_to("images.csv")
    (tmp_path / "linked-directory").symlink_to(".")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["", "--model=model", f"--images={images}", f"--codes={codes}"])
    with pytest.raises(SystemExit, match=f"error: {codes}: --codes would overwrite --"):
        run_stage(lambda paths, inputs: pytest.fail("runs"), Encoding, None)


def test_two_outputs_in_one_file_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["", "--train=a.csv", "--test=./a.csv"])
    with pytest.raises(SystemExit, match="--train would overwrite --test"):
        run_stage(lambda paths, inputs: pytest.fail("runs"), Tables, None)
    monkeypatch.setattr("sys.argv", ["", "--train=/dev/null", "--test=/dev/null"])
    received = []
    run_stage(lambda paths, inputs: received.append(paths), Tables, None)
    assert received == [Tables(Path("/dev/null"), Path("/dev/null"))]


def raising(error: BaseException) -> Callable[[], None]:
    def main() -> None:
        raise error

    return main


@pytest.mark.parametrize(
    ("main", "message"),
    [
        (raising(UserError("why")), "error: why"),
        (raising(UserError("\x1b[2Jline\nline")), r"error: \x1b[2Jline\nline"),
        (lambda: Path("nowhere").read_text(), "error: nowhere: No such file or directory"),
        (
            raising(FileExistsError(errno.EEXIST, "File exists", "plots")),
            "error: plots: not a directory, perhaps a link that leads nowhere",
        ),
        (raising(OSError(errno.EIO, "Input/output error")), "error: Input/output error"),
        (raising(KeyboardInterrupt()), "error: interrupted"),
        (lambda: np.empty(1 << 50), "error: out of memory: Unable to allocate 8.00 PiB"),
        (lambda: torch.empty(1 << 50), "error: out of memory: "),
        (
            raising(
                RuntimeError("CUDA error: out of memory\nFor debugging…\nCompile with `TORCH_…`")
            ),
            "error: out of memory: CUDA error: out of memory",
        ),
    ],
)
def test_an_error_is_one_line_and_debug_shows_its_traceback(
    monkeypatch: pytest.MonkeyPatch, main: Callable[[], None], message: str
) -> None:
    monkeypatch.setattr("sys.argv", [""])
    with pytest.raises(SystemExit) as caught:
        run(main)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
    monkeypatch.setattr("sys.argv", ["", "--debug"])
    assert caught.value.__context__ is not None
    with pytest.raises(type(caught.value.__context__)):
        run(main)


@pytest.mark.process
@pytest.mark.parametrize("program", ["stages.fetch", "stages.train", "tools.encode"])
@pytest.mark.parametrize("library", ["libstdc++.so.6", "libz.so.1"])
def test_a_wrong_library_is_named_in_one_line(tmp_path: Path, program: str, library: str) -> None:
    if sys.platform != "linux":
        pytest.skip("LD_LIBRARY_PATH is Linux only")
    (tmp_path / library).write_text("of another system")
    project = Project(ROOT)
    project.environment["LD_LIBRARY_PATH"] = str(tmp_path)
    if subprocess.run([sys.executable, "-c", ""], env=project.environment).returncode:
        pytest.skip(f"this Python itself is linked to {library}, and cannot start")
    output = project.run("python", "-m", program, "--help", status=1)
    assert output.startswith(f"error: {tmp_path / library}: file too short; unset LD_LIBRARY_PATH")
    assert output.count("\n") == 1


@pytest.mark.process
def test_a_processor_that_is_too_old_is_named_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "numpy").mkdir()
    reason = "NumPy was built with baseline optimizations: (X86_V2) but your machine doesn't"
    (tmp_path / "numpy/__init__.py").write_text(f'raise RuntimeError("{reason} support them")')
    project = Project(ROOT)
    project.environment["PYTHONPATH"] = str(tmp_path)
    output = project.run("python", "-m", "stages.convert", "--help", status=1)
    assert output.startswith(f"error: {reason}")
    assert output.count("\n") == 1
    assert "Traceback" in project.run("python", "-m", "stages.convert", "--debug", status=1)


def test_an_error_in_the_program_shows_its_traceback() -> None:
    with pytest.raises(KeyError):
        run(raising(KeyError("bug")))
