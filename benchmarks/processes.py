"""Time an epoch with one process and with several on this machine: `make bench-processes`.

Each round starts each configuration once, in turn, through its launcher, as DVC does. Measured is
the time between the log lines of the first and the second epoch.
"""

import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from autoencoder.base.cli import make_parser, run
from benchmarks.measure import ROOT, machine, report, write_params

REPORT = Path(__file__).with_suffix(".md")
ROUNDS = 3
SEVERAL = "torchrun --standalone --local-addr=127.0.0.1 --nproc-per-node={} -m"
LAUNCHERS = ["python -m", SEVERAL.format(2), SEVERAL.format(3)]


def epoch(launcher: str, directory: Path) -> float:
    """Time the second epoch of a run, in seconds."""
    write_params(directory, launcher=launcher, epochs=2)
    outputs = ["--model", "model", "--losses", "losses", "--checkpoints", "checkpoints"]
    command = [*launcher.split(), "stages.train", "--table", str(ROOT / "data/train.csv"), *outputs]
    ends = []
    with subprocess.Popen(
        command,
        cwd=directory,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("epoch "):
                ends.append(time.perf_counter())
    if process.returncode:
        raise SystemExit(f"`{' '.join(command)}` failed; run `dvc repro convert` first")
    return ends[1] - ends[0]


def main() -> None:
    """Measure, print the table and write it next to this file."""
    make_parser(__doc__).parse_args()
    with tempfile.TemporaryDirectory() as name:
        rounds = []
        for number in range(ROUNDS):
            rounds.append([epoch(launcher, Path(name)) for launcher in LAUNCHERS])
            print(f"round {number + 1}: {rounds[-1]}", file=sys.stderr)
    lines = [
        f"{machine()}, Python {platform.python_version()}, PyTorch {torch.__version__}; medians of "
        f"{ROUNDS} rounds, ratios to the first row, with minimum and maximum.",
        "",
        "| `launcher` | epoch | ratio |",
        "|---|---|---|",
    ]
    for launcher, *times in zip(LAUNCHERS, *rounds, strict=True):
        ratios = sorted(time / round_[0] for time, round_ in zip(times, rounds, strict=True))
        ratio = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        lines.append(f"| `{launcher}` | {statistics.median(times):.1f} s | {ratio} |")
    report(REPORT, lines)


if __name__ == "__main__":
    run(main)
