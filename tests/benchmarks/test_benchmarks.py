"""`make bench` on the small project: each benchmark writes its report, or says why it cannot."""

import re
import sys

import pytest
import torch
from helpers.digits import Digits, named
from helpers.project import Project

from autoencoder.data import table

# The benchmarks, with few and short measurements.
SMALL = """\
from autoencoder.base.cli import run
from benchmarks import measuring, programs, steps
from benchmarks.__main__ import main

steps.STEPS, steps.ROUNDS, measuring.PAUSE_S = 2, 3, 0
programs.SIZES, programs.ROUNDS = (700, 1400), 1
run(main)
"""


def bench(project: Project, *arguments: str, code: str = SMALL, status: int = 0) -> str:
    (project.root / "small.py").write_text(code)
    return project.run_module("small", *arguments, status=status)


def report(project: Project, name: str) -> dict[str, list[str]]:
    """The cells of a report by figure: median, ratio, target."""
    lines = (project.root / f"benchmarks/{name}.md").read_text().splitlines()
    rows = [line.removeprefix("| ").removesuffix(" |").split(" | ") for line in lines[6:]]
    assert all(len(row) == 4 and row[1] for row in rows)
    for _, _, ratio, _ in rows:
        if ratio:
            median, low, high = map(float, re.findall(r"\d+\.\d+", ratio))
            assert 0 < low <= median <= high
    return {figure: cells for figure, *cells in rows}


def test_steps_are_compared_with_their_limit(project: Project) -> None:
    # In a process of its own: autograd, used before a fork, cannot be used after it.
    output = project.run(sys.executable, "-c", SMALL, "steps")
    assert (project.root / "benchmarks/steps.md").read_text() in output
    first, *rest = report(project, "steps")
    assert first.startswith("a step: ours ÷ the limit")
    assert "of a step of ours, under the profiler: `the rest`" in rest


@pytest.mark.slow
def test_all_benchmarks_run_and_those_that_lack_something_are_left_out(project: Project) -> None:
    output = project.run(sys.executable, "-c", SMALL)
    if not torch.cuda.is_available():
        assert "gpu: left out: there is no NVIDIA GPU, which this benchmark measures\n" in output
    assert "anomaly: left out: fashion-mnist.csv: no such file" in output
    epochs = report(project, "epochs")
    assert len(epochs) == 5  # without the time to a score that nothing reaches here
    assert epochs["their training"][0].endswith(" 8 epochs")
    programs = report(project, "programs")
    for figure in (
        "train, 1,400 images",
        "two epochs: one by one ÷ at once",
        "its growth per image",
    ):
        assert figure in programs


@pytest.mark.slow
def test_negatives_are_detected(project: Project, test_digits: Digits) -> None:
    labels, images = named(test_digits)
    table.write(project.root / "negatives.csv", [(labels[:40], 255 - images[:40])])
    project.run_module("benchmarks", "anomaly", "--other", "negatives.csv")
    cells = report(project, "anomaly")
    bce, other_bce, auroc, auroc_grey = (float(median) for median, *_ in cells.values())
    assert "BCE of the 40 images of negatives" in cells
    assert other_bce > bce
    assert auroc == auroc_grey == 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is an NVIDIA GPU")
def test_a_machine_without_a_gpu_is_reported_in_one_line(ran: Project) -> None:
    output = ran.run_module("benchmarks", "gpu", status=1)
    assert output == "error: there is no NVIDIA GPU, which this benchmark measures\n"


def test_missing_table_is_reported_in_one_line(ran: Project) -> None:
    output = ran.run_module("benchmarks", "anomaly", "--other", "nowhere.csv", status=1)
    assert output == "error: nowhere.csv: no such file, expected a table of images\n"


def test_a_stage_that_fails_is_reported_with_its_last_line(project: Project) -> None:
    (project.root / "data/train.csv").write_text("x\n")
    code = SMALL.replace("run(main)", "run(lambda: print(list(programs.measure_processes())))")
    output = bench(project, code=code, status=1)
    assert re.search(
        r"error: `python -m stages\.train .*` failed: error: data/train\.csv: ", output
    )


def test_peak_memory_is_that_of_the_command_alone(project: Project) -> None:
    code = """\
import sys
from pathlib import Path
from benchmarks.measuring import run_program
large = b"x" * 2**28
for mib in (1, 100):
    print(run_program(Path(), sys.executable, "-c", f"b'x' * {mib} * 2**20").peak_mib)
"""
    small, large = map(float, project.run(sys.executable, "-c", code).split())
    assert small < 50
    assert 95 < large - small < 105


def test_a_benchmark_needs_only_its_own_packages(project: Project) -> None:
    without = f"""\
import sys
for name in ["playwright", *sys.modules]:
    if name.partition(".")[0] == "playwright":
        sys.modules[name] = None
{SMALL}"""
    arguments = ["anomaly", "--other", "nowhere.csv"]
    output = bench(project, *arguments, code=without, status=1)
    assert output == "error: nowhere.csv: no such file, expected a table of images\n"
    output = bench(project, "explore", code=without, status=1)
    assert re.fullmatch("error: .*playwright.*\n", output)


def test_programs_find_the_checkout_before_the_user_s_packages(ran: Project) -> None:
    user = Project(ran.root)
    user.environment["PYTHONPATH"] = "packages"
    code = """\
import sys
from pathlib import Path
from benchmarks.measuring import run_program
program = "import os; print(os.environ['PYTHONPATH'])"
print(run_program(Path(), sys.executable, "-c", program).lines[0][1])
"""
    assert user.run(sys.executable, "-c", code) == f"{ran.root}:packages\n"
