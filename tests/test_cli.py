"""Every stage on the command line: its help, and its errors in one line."""

import pickle
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, Project

from autoencoder.params import Params

FOLDERS = ["data", "metrics", "models", "plots"]
PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]


@pytest.mark.parametrize("stage", PIPELINE)
def test_help_tells_what_a_stage_reads_writes_and_uses(stage: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", f"stages.{stage}", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"usage: python -m stages.{stage} " in done.stdout
    for option in re.findall(r"--\w+", PIPELINE[stage]["cmd"]):
        assert f"{option} PATH" in done.stdout
    assert "writes:" in done.stdout
    used = done.stdout.split("parameters, from params.yaml:")[1]
    assert re.findall(r"^  (\w+)  ", used, re.MULTILINE) == [
        name for name in Params.model_fields if name in PIPELINE[stage].get("params", [])
    ]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("convert --raw nowhere --train a --test b", "nowhere/MNIST/raw/train-"),
        ("train --table nowhere.csv --model a --losses b --checkpoint c", "nowhere.csv: No such"),
        ("train --table data --model a --losses b --checkpoint c", "data: Is a directory"),
    ],
)
def test_a_missing_input_is_one_line(ran: Project, command: str, message: str) -> None:
    stage, *arguments = command.split()
    output = ran.run(sys.executable, "-m", f"stages.{stage}", *arguments, status=1)
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
            *("convert", "data/raw/MNIST/raw/t10k-images-idx3-ubyte", swap),
            "data/raw/MNIST/raw/t10k-labels-idx1-ubyte: starts with 00 00 08 03, expected 00 00",
        ),
        ("train", "data/train.csv", cut_off, "data/train.csv: the last line has no line end"),
        pytest.param(
            *(
                "train",
                "data/train.csv",
                strike_out,
                "data/train.csv: line 1, column 1 is 'label;1x1",
            ),
            marks=pytest.mark.slow,
        ),
        (
            *("evaluate", "models/autoencoder.safetensors", make_pickle),
            "models/autoencoder.safetensors: not a model of this project",
        ),
        pytest.param(
            *("sanity_check", "plots/loss.csv", cut_off, "plots/loss.csv: cut off after "),
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
    made = [path for folder in FOLDERS for path in (project.root / folder).rglob("*.*")]
    before = {path: path.read_bytes() for path in made}
    output = project.run(*command, status=1)
    assert output.splitlines()[-1].startswith(f"error: {message}")
    assert "Traceback" not in output
    assert {path: path.read_bytes() for path in made} == before


def test_a_bad_parameter_stops_every_stage_before_any_work(fresh_project: Project) -> None:
    fresh_project.set_params(z_size=0)
    output = fresh_project.run("dvc", "repro", status=255)
    assert "error: params.yaml: z_size is 0, expected greater than or equal to 1" in output
    assert not (fresh_project.root / "data/raw").exists()
