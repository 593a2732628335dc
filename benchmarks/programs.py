"""What stages and `dvc repro` take, with up to EMNIST's 814,255 images and several processes.

Synthetic images in the files of emnist-byclass go through convert, train (one epoch) and evaluate;
memory is the peak of the process, PyTorch included. Several processes train on MNIST.
"""

import gzip
import shutil
import statistics
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

from autoencoder.base.files import file_digest
from autoencoder.data import idx
from autoencoder.data.datasets import DATASETS
from benchmarks import measuring
from benchmarks.measuring import DATA, Row, Run, alternate, compare, run_stage, spread, workspace

ROUNDS = 3
DATASET = "emnist-byclass"
SIZES = (60_000, 240_000, 814_255)
STAGES = ("convert", "train", "evaluate")
SEVERAL = [f"torchrun --standalone --nproc-per-node={number} -m" for number in (2, 3)]


def publish(directory: Path, images: int) -> None:
    """Write the archive that EMNIST is published in, with images mostly black, as digits are.

    convert reads published files only, so the directory gets a copy of the code with its digest.
    """
    dataset = DATASETS[DATASET]
    path = dataset.path(directory / measuring.RAW, "gzip.zip")
    path.parent.mkdir(parents=True, exist_ok=True)
    cells = np.random.default_rng(0).integers(-512, 256, (10_000, 7, 7)).clip(0).astype(np.uint8)
    test = images // 7  # as in EMNIST
    with zipfile.ZipFile(path, "w") as archive:
        for files, count in ((dataset.train, images - test), (dataset.test, test)):
            labels = (np.arange(count) % len(dataset.classes)).astype(np.uint8)
            pixels = np.resize(cells.repeat(4, axis=1).repeat(4, axis=2), (count, 28, 28))
            for name, array in ((files.images, pixels), (files.labels, labels)):
                content = gzip.compress(idx.encode(array), compresslevel=1)
                archive.writestr(name.partition("/")[2], content)
    for package in ("autoencoder", "stages"):
        shutil.copytree(measuring.ROOT / package, directory / package, dirs_exist_ok=True)
    module = directory / "autoencoder/data/datasets.py"
    published = dataset.digests["gzip.zip"]
    module.write_text(module.read_text().replace(published, file_digest(path, "md5")))


def run_stages(directory: Path, images: int) -> dict[str, Run]:
    """Run the stages on a number of images."""
    publish(directory, images)
    return {stage: run_stage(stage, directory) for stage in STAGES}


def measure_images() -> Iterator[Row]:
    """Measure time and memory of the stages that read all images, at three sizes."""
    with workspace(dataset=DATASET, epochs=1) as directory:
        runs = [partial(run_stages, directory, size) for size in SIZES]
        columns = alternate(ROUNDS, *runs, warm_up=False)
        imports = measuring.run_program(directory, sys.executable, "-c", "import torch")
    peaks = {}
    for size, rounds in zip(SIZES, columns, strict=True):
        for stage in STAGES:
            peaks[stage, size] = statistics.median(run[stage].peak_mib for run in rounds)
            times = spread([run[stage].seconds for run in rounds], " s")
            yield Row(f"{stage}, {size:,} images", f"{times}, {peaks[stage, size]:,.0f} MiB")
    small, *_, large = SIZES
    above = peaks["train", small] - imports.peak_mib
    growth = (peaks["train", large] - peaks["train", small]) * 2**20 / (large - small)
    figure = f"memory of train, {small:,} images, above that of `import torch`"
    yield Row(figure, f"{above:.0f} MiB", target="≤ 1 GiB")
    yield Row("its growth per image", f"{growth:.0f} bytes", target="≤ 2048 bytes")


def epoch(directory: Path, launcher: str = "python -m") -> float:
    """Time the second of three epochs, in seconds, by the lines that they log."""
    run = run_stage("train", directory, launcher)
    first, second, _ = (time for time, line in run.lines if line.startswith("epoch "))
    return second - first


def busy_epoch(directory: Path) -> float:
    """Time an epoch while another process keeps one core busy."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy_core:
        try:
            return epoch(directory)
        finally:
            busy_core.kill()


def two_epochs(*directories: Path) -> float:
    """Time two epochs in trainings at the same time."""
    with ThreadPoolExecutor() as pool:
        return statistics.mean(pool.map(epoch, directories))


def measure_processes() -> Iterator[Row]:
    """Compare epochs in several processes, or next to others, with those of one that is alone."""
    with workspace(DATA, epochs=3) as directory, workspace(DATA, epochs=3) as other:
        several = [partial(epoch, directory, launcher) for launcher in SEVERAL]
        shared = [partial(busy_epoch, directory), partial(two_epochs, directory, other)]
        runs = [partial(epoch, directory), *shared, *several]
        alone, busy, both, *columns = alternate(ROUNDS, *runs, warm_up=False)
    for launcher, times in zip(SEVERAL, columns, strict=True):
        yield compare(f"an epoch: `{launcher}` ÷ `python -m`", times, alone)
    yield compare("an epoch: while another process keeps a core busy ÷ alone", busy, alone, "≤ 1.9")
    yield compare("two epochs: one by one ÷ at once", [2 * time for time in alone], both, "≥ 1.2")


def measure_repro() -> Iterator[Row]:
    """Measure `dvc repro` in a clone of the last commit, outside the training loop and idle."""
    with tempfile.TemporaryDirectory() as directory:
        clone = Path(directory) / "project"
        subprocess.run(["git", "clone", "--quiet", measuring.ROOT, clone], check=True)
        shutil.copytree(measuring.RAW, clone / measuring.RAW, dirs_exist_ok=True)

        def repro(*options: str) -> float:
            return measuring.run_program(clone, "dvc", "repro", *options).seconds

        def train(epochs: int) -> float:
            measuring.write_params(clone, epochs=epochs)
            return repro("--force")

        runs = [lambda: train(1), lambda: train(2), repro]
        one, two, idle = alternate(ROUNDS, *runs, warm_up=False)
    # The second epoch takes as long as the first: the rest is not training.
    outside = [2 * a - b for a, b in zip(one, two, strict=True)]
    yield Row("`dvc repro` outside the training loop", spread(outside, " s"), target="≤ 9 s")
    yield Row("`dvc repro` with nothing to do", spread(idle, " s"), target="≤ 3 s")


def measure() -> Iterator[Row]:
    """Measure the stages at three sizes, epochs in several processes, and `dvc repro`."""
    yield from measure_repro()
    yield from measure_processes()
    yield from measure_images()
