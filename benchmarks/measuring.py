"""What the benchmarks share: measuring in turn, running programs, and the rows of reports."""

import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, TypeVar

import yaml
from tqdm import trange

from autoencoder.base.errors import UserError
from autoencoder.base.params import Params, read_params

ROOT = Path(__file__).parents[1]
DATA, RAW = Path("data"), Path("data/raw")
MODEL = Path("models/autoencoder.safetensors")

PAUSE_S = 0.1  # after this time, idle threads of OpenMP and OpenBLAS no longer spin

# A small program that runs a command and then prints its peak memory in KiB. The peak of a new
# process includes what its parent had, so the parent must not be the benchmark itself.
PEAK = """\
import resource, subprocess, sys
status = subprocess.call(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(status)
"""

T = TypeVar("T")
Action = Callable[[], object]


class Row(NamedTuple):
    """A row of a report; times are medians, a ratio the median of the ratios per round."""

    figure: str
    measured: str
    ratio: str = ""
    target: str = ""


class UnavailableError(UserError):
    """Something that a benchmark needs is not there; `make bench` of all leaves it out."""


def seconds(action: Action) -> float:
    """Measure the duration of an action in seconds."""
    time.sleep(PAUSE_S)
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def alternate(rounds: int, *actions: Callable[[], T], warm_up: bool = True) -> list[list[T]]:
    """Call functions in turn, so that a slow phase affects all; return the results of each."""
    skipped = 1 if warm_up else 0
    results = [[action() for action in actions] for _ in trange(skipped + rounds, unit="round")]
    return [list(column) for column in zip(*results[skipped:], strict=True)]


def spread(values: Sequence[float], unit: str = "") -> str:
    """Format the median, minimum and maximum of values, one per round."""
    low, median, high = min(values), statistics.median(values), max(values)
    return f"{median:.2f}{unit} ({low:.2f} to {high:.2f}, {len(values)} rounds)"


def median_time(times: Sequence[float]) -> str:
    """Format a median in seconds or, if it is short, in milliseconds."""
    median = statistics.median(times)
    return f"{1000 * median:.2f} ms" if median < 0.1 else f"{median:.2f} s"


def compare(figure: str, first: Sequence[float], second: Sequence[float], target: str = "") -> Row:
    """Make a row from the times of two sides per round."""
    ratios = [a / b for a, b in zip(first, second, strict=True)]
    return Row(figure, f"{median_time(first)} ÷ {median_time(second)}", spread(ratios), target)


class Run(NamedTuple):
    """A program that has run: the lines it printed are next to their times, in seconds."""

    seconds: float
    peak_mib: float
    lines: list[tuple[float, str]]


def peak_command(*command: str | Path) -> list[str]:
    """Return a command that runs `command`; its last line is the peak memory in KiB."""
    return [sys.executable, "-IS", "-c", PEAK, *map(str, command)]


def run_program(directory: Path, *command: str | Path) -> Run:
    """Run a program of this checkout in a directory; a failure is a UserError."""
    lines: list[tuple[float, str]] = []
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    start = time.perf_counter()
    with subprocess.Popen(
        peak_command(*command),
        cwd=directory,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append((time.perf_counter() - start, line.rstrip()))
    end, peak = lines.pop()
    if process.returncode:
        _, reason = lines[-1] if lines else (end, f"exit status {process.returncode}")
        raise UserError(f"`{shlex.join(map(str, command))}` failed: {reason}")
    return Run(end, int(peak) / 1024, lines)


def run_stage(stage: str, directory: Path, launcher: str = "python -m") -> Run:
    """Run a stage by its command in dvc.yaml."""
    command = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"][stage]["cmd"]
    return run_program(directory, *shlex.split(command.replace("${launcher}", launcher)))


def current_params(**changes: object) -> Params:
    """Read params.yaml; make changes."""
    return read_params(Params.model_fields).model_copy(update=changes)


def write_params(directory: Path, **changes: object) -> None:
    """Write the current parameters, with changes, to the params.yaml of another directory."""
    (directory / "params.yaml").write_text(current_params(**changes).model_dump_json())


@contextmanager
def workspace(*links: Path, **changes: object) -> Iterator[Path]:
    """Make a temporary directory for stages, with links to the checkout and changed parameters."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        for link in links:
            (directory / link).symlink_to(link.resolve())
        write_params(directory, **changes)
        yield directory
