"""What the benchmarks share: timing, ratios and reports."""

import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import yaml

from autoencoder.base.files import atomic_write

ROOT = Path(__file__).parents[1]
TRAIN_TABLE, TEST_TABLE = ROOT / "data/train.csv", ROOT / "data/test.csv"

EPOCH_ROUNDS = 5  # of measurements of whole epochs
PAUSE_S = 0.1  # after this time, idle threads of OpenMP and OpenBLAS no longer spin

# Prints the peak memory of the process in KiB. Not getrusage, whose value for a new process
# includes its parent.
PEAK = "print(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])"

Action = Callable[[], object]


def write_params(directory: Path, **changes: object) -> None:
    """Write this project's params.yaml, with changes, to another directory."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text()) | changes
    (directory / "params.yaml").write_text(yaml.safe_dump(params))


def seconds(action: Action) -> float:
    """Measure the duration of an action in seconds."""
    time.sleep(PAUSE_S)
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def alternate(*actions: Action, rounds: int) -> list[list[float]]:
    """Measure actions alternately.

    Returns
    -------
    list of list of float
        Seconds per action and round, without the warm-up round.
    """
    times = [[seconds(action) for action in actions] for _ in range(rounds + 1)]
    return [list(column) for column in zip(*times[1:], strict=True)]


def ratio(first: list[float], second: list[float], factor: float = 1.0) -> str:
    """Format the median, minimum and maximum of the ratios per round, times a factor."""
    ratios = sorted(factor * a / b for a, b in zip(first, second, strict=True))
    return f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"


def median_seconds(times: list[float]) -> str:
    """Format a median in seconds."""
    return f"{statistics.median(times):.1f} s"


def machine() -> str:
    """Return the name of the processor, as Linux knows it, and the number of cores."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    name = names[0] if names else platform.processor() or platform.machine()
    return f"{name}, {os.cpu_count()} cores"


def report(path: Path, lines: list[str]) -> None:
    """Print lines and write them to a file."""
    text = "\n".join(lines)
    print(text)
    with atomic_write(path) as partial:
        partial.write_text(f"{text}\n", encoding="utf-8")
