"""The environment does not change the bytes: threads, processors, settings of libraries, load."""

import os
import subprocess
import sys

import pytest
from helpers.project import ROOT, TRAIN, Project, train_outputs

FIXED = {  # settings that would choose other kernels, which round differently
    "MKL_CBWR": "COMPATIBLE",
    "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
    "ONEDNN_MAX_CPU_ISA": "SSE41",
    "ONEDNN_DEFAULT_FPMATH_MODE": "BF16",
    "OPENBLAS_CORETYPE": "Haswell",
    "ATEN_CPU_CAPABILITY": "default",
}


def one_thread(project: Project) -> tuple[str, ...]:
    project.environment["OMP_NUM_THREADS"] = "1"
    return ()


def settings(project: Project) -> tuple[str, ...]:
    project.environment |= FIXED
    return ()


def one_processor(project: Project) -> tuple[str, ...]:
    if sys.platform != "linux":
        pytest.skip("taskset is Linux only")
    return ("taskset", "--cpu-list", "0")


def matplotlibrc(project: Project) -> tuple[str, ...]:
    path = project.root / "matplotlibrc"
    path.write_text("font.size: 30\ntext.usetex: True\nimage.cmap: jet\n")
    project.environment["MATPLOTLIBRC"] = str(path)
    return ()


def notebook(project: Project) -> tuple[str, ...]:
    """What Jupyter, Colab and VS Code set for the commands that a notebook starts."""
    project.environment |= {
        **{"MPLBACKEND": "module://matplotlib_inline.backend_inline", "JPY_PARENT_PID": "1"},
        **{"CLICOLOR": "1", "FORCE_COLOR": "1", "TERM": "xterm-color", "COLUMNS": "0"},
        **{"PAGER": "cat", "GIT_PAGER": "cat", "PYDEVD_USE_FRAME_EVAL": "NO"},
        **{"MPLCONFIGDIR": "/proc/none", "PYTHONSTARTUP": "/nowhere"},
    }
    return ()


RESULTS = ["metrics/test.json", "plots/classes.csv", "plots/sanity_check.png", "plots/worst.png"]


@pytest.mark.slow
@pytest.mark.parametrize("change", [one_thread, settings, one_processor, matplotlibrc, notebook])
def test_the_bytes_are_the_same(project: Project, change: object) -> None:
    # The tests as a whole run with one thread in each process.
    project.environment["OMP_NUM_THREADS"] = str(os.cpu_count())
    changed = Project(project.root)
    changed.environment |= project.environment
    assert callable(change)
    prefix = change(changed)
    outputs = []
    for run, start in ((project, ()), (changed, prefix)):
        run.run(*start, "python", *TRAIN)
        for stage in ("evaluate", "sanity_check"):
            run.run(*start, *run.command(stage))
        made = [(project.root / name).read_bytes() for name in RESULTS]
        outputs.append([*train_outputs(run), *made])
    assert outputs[0] == outputs[1]


@pytest.mark.process
@pytest.mark.parametrize(
    "program",
    [
        "stages.sanity_check",
        pytest.param("tools.review", marks=pytest.mark.slow),
        pytest.param("tools.sweep", marks=pytest.mark.slow),
    ],
)
def test_every_program_starts_from_a_notebook(program: str) -> None:
    """All of these import matplotlib, which checks MPLBACKEND."""
    project = Project(ROOT)
    notebook(project)
    assert "usage: " in project.run("python", "-m", program, "--help")


@pytest.mark.slow
def test_the_bytes_are_the_same_under_load(project: Project) -> None:
    project.environment["OMP_NUM_THREADS"] = str(os.cpu_count())
    project.run("python", *TRAIN)
    quiet = train_outputs(project)
    spinning = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(3)]
    try:
        project.run("python", *TRAIN)
    finally:
        for process in spinning:
            process.kill()
            process.wait()
    assert train_outputs(project) == quiet
