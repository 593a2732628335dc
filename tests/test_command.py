"""Every stage on the command line: its help, and its errors in one line."""

import re
import subprocess
import sys

import pytest
import yaml
from conftest import ROOT, Project

from stages.params import Params

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
    used = done.stdout.split("uses, from params.yaml:")[1]
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


def test_a_bad_parameter_stops_every_stage_before_any_work(fresh_project: Project) -> None:
    fresh_project.set_params(z_size=0)
    output = fresh_project.run("dvc", "repro", status=255)
    assert "error: params.yaml: z_size is 0, expected greater than or equal to 1" in output
    assert not (fresh_project.root / "data/raw").exists()
