"""How time and memory grow with the number of images, up to EMNIST's 814,255: `make bench-scale`.

Synthetic images in the files of emnist-byclass go through convert, train (one epoch) and evaluate,
at three sizes in turn.
"""

import gzip
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray

from autoencoder.base import cli
from autoencoder.data import idx
from autoencoder.data.datasets import DATASETS
from benchmarks.measure import PEAK, ROOT, machine, report

REPORT = Path(__file__).with_suffix(".md")
DATASET = "emnist-byclass"
SIZES = (60_000, 240_000, 814_255)
STAGES = ("convert", "train", "evaluate")
ROUNDS = 3
TEST_DIVISOR = 7  # a seventh of the images, as in EMNIST

# Runs a module as `python -m` does, and prints the peak memory of the process.
MEASURED = (
    "import runpy, sys; sys.argv = sys.argv[1:];"
    f"runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True); {PEAK}"
)


def draw(count: int) -> NDArray[np.uint8]:
    """Draw uint8 images (count, 28, 28) that are mostly black, as digits are."""
    cells = np.random.default_rng(0).integers(-512, 256, (10_000, 5, 5)).clip(0).astype(np.uint8)
    some = np.pad(cells.repeat(4, axis=1).repeat(4, axis=2), ((0, 0), (4, 4), (4, 4)))
    return np.resize(some, (count, 28, 28))


def publish(root: Path, images: int) -> None:
    """Write the archive that EMNIST is published in, with synthetic images."""
    dataset = DATASETS[DATASET]
    path = dataset.path(root, "gzip.zip")
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for files, count in (
            (dataset.train, images - images // TEST_DIVISOR),
            (dataset.test, images // TEST_DIVISOR),
        ):
            labels = (np.arange(count) % len(dataset.classes)).astype(np.uint8)
            for name, array in ((files.images, draw(count)), (files.labels, labels)):
                with (
                    archive.open(name.partition("/")[2], "w", force_zip64=True) as member,
                    gzip.GzipFile(fileobj=member, mode="wb", compresslevel=1) as file,
                ):
                    file.write(idx.encode(array))


def run(stage: str, root: Path) -> tuple[float, float]:
    """Run a stage by its command in dvc.yaml; return seconds and peak memory in MiB."""
    command = yaml.safe_load((root / "dvc.yaml").read_text())["stages"][stage]["cmd"]
    arguments = shlex.split(command[command.index(f"stages.{stage}") :])
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, *arguments],
        cwd=root,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return time.perf_counter() - start, int(done.stdout.split()[-1]) / 1024


def main() -> None:
    """Measure, print the table and write it next to this file."""
    cli.make_parser(__doc__).parse_args()
    found: dict[tuple[str, int], list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory) / "project"
        subprocess.run(["git", "clone", "--quiet", ROOT, root], check=True)
        params = yaml.safe_load((root / "params.yaml").read_text())
        (root / "params.yaml").write_text(
            yaml.safe_dump(params | {"dataset": DATASET, "epochs": 1})
        )
        for round_ in range(ROUNDS):
            for size in SIZES:
                publish(root / "data/raw", size)
                for stage in STAGES:
                    found.setdefault((stage, size), []).append(run(stage, root))
                print(f"  round {round_ + 1}, {size} images", file=sys.stderr)
    lines = [
        f"{machine()}; medians of {ROUNDS} rounds, with minimum and maximum; peak memory of "
        "the process, PyTorch included.",
        "",
        f"| images | {' | '.join(f'{stage} | memory' for stage in STAGES)} |",
        f"|{'---|' * (1 + 2 * len(STAGES))}",
    ]
    for size in SIZES:
        cells = [f"{size:,}"]
        for stage in STAGES:
            seconds, memory = zip(*found[stage, size], strict=True)
            cells += [
                f"{statistics.median(seconds):.1f} s ({min(seconds):.1f} to {max(seconds):.1f})",
                f"{statistics.median(memory):,.0f} MiB",
            ]
        lines.append(f"| {' | '.join(cells)} |")
    report(REPORT, lines)


if __name__ == "__main__":
    cli.run(main)
