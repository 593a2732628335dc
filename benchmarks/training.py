"""How fast training is, beside plain PyTorch and beside the limit of the machine: `make bench`.

Both sides of each comparison are measured in one run, in turn, after a warm-up; the table has
medians, and the lowest and highest ratio of neighbouring measurements. The plain recipe runs in a
process of its own: what ours sets for its process, that denormal numbers are 0 for one, would make
the recipe faster than it is.
"""

import math
import multiprocessing
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
import yaml
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from autoencoder.cli import run
from autoencoder.data import table
from autoencoder.data.table import PIXELS
from autoencoder.files import atomic_write
from autoencoder.network.distributed import AutogradStep
from autoencoder.network.metrics import per_image_losses
from autoencoder.network.model import HIDDEN, build_model
from autoencoder.network.numerics import configure_numerics
from autoencoder.network.step import AdamW, Step, flatten
from autoencoder.network.trainer import Trainer, split_validation
from autoencoder.params import Params, read_params

ROOT = Path(__file__).parents[1]
REPORT = Path(__file__).with_suffix(".md")
REPETITIONS = 15
BATCHES = 100  # in each of them
TARGET_BCE = 0.102  # where the plain recipe stands after 30 epochs
QUICK = {"epochs": 1, "validation_fraction": 0.4}  # parameters that come to this soonest

# Code that prints how many KiB of memory its process took at most. Not getrusage: what that tells
# of a process counts the one that started it.
PEAK = "print(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])"

Row = tuple[str, str, str, str, str]


class NewTrainer(Protocol):
    """Makes a trainer with initial weights."""

    def __call__(self, params: Params, device: str = "cpu") -> Trainer:
        """Put it on a device."""


def timed(action: Callable[[], object]) -> float:
    """Seconds that an action takes."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def alternate(first: Callable[[], object], second: Callable[[], object]) -> list[list[float]]:
    """Seconds of each of two actions, run in turn; the first round of each does not count."""
    rounds = [(timed(first), timed(second)) for _ in range(REPETITIONS + 1)]
    return [list(side) for side in zip(*rounds[1:], strict=True)]


def ratio(first: list[float], second: list[float]) -> str:
    """Median, lowest and highest ratio of neighbouring measurements."""
    ratios = sorted(a / b for a, b in zip(first, second, strict=True))
    return f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"


def milliseconds(seconds: list[float]) -> str:
    """Median of what a step or batch takes."""
    return f"{1000 * statistics.median(seconds):.2f} ms"


def compare(name: str, aim: str, first: Callable[[], object], second: Callable[[], object]) -> Row:
    """Milliseconds of two actions that each take `BATCHES` steps, and their ratio."""
    one, other = ([s / BATCHES for s in side] for side in alternate(first, second))
    return name, milliseconds(one), milliseconds(other), ratio(one, other), aim


def profile_ops(steps: Callable[[], object]) -> list[str]:
    """Milliseconds of a step by PyTorch operator, the largest first, as rows of a table."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        steps()
    spent = {
        event.key: event.self_cpu_time_total / BATCHES / 1000 for event in profile.key_averages()
    }
    largest = sorted(spent, key=lambda key: -spent[key])[:10]
    rest = sum(spent.values()) - sum(spent[key] for key in largest)
    return [*(f"| `{key}` | {spent[key]:.2f} ms |" for key in largest), f"| rest | {rest:.2f} ms |"]


def machine() -> str:
    """Name the processor, from Linux where there is Linux."""
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text() if cpuinfo.exists() else ""
    name = next((line.split(": ")[1] for line in text.splitlines() if "model name" in line), "")
    return f"{name or platform.processor()}, {os.cpu_count()} cores"


def report(path: Path, lines: list[str]) -> None:
    """Print lines, and write them to a file that README quotes."""
    text = "\n".join(lines)
    print(text)
    with atomic_write(path) as partial:
        partial.write_text(f"{text}\n", encoding="utf-8")


class Limit:
    """The matrix products of a step at their shapes, and a fused AdamW step: nothing else."""

    def __init__(self, z_size: int, batch_size: int) -> None:
        sizes = [PIXELS, *HIDDEN, z_size, *reversed(HIDDEN), PIXELS]
        self.weights = [
            nn.Parameter(torch.rand(outputs, inputs) - 0.5) for inputs, outputs in pairwise(sizes)
        ]
        biases = [nn.Parameter(torch.rand(size)) for size in sizes[1:]]
        for parameter in [*self.weights, *biases]:
            parameter.grad = torch.rand_like(parameter)
        self.optimizer = torch.optim.AdamW([*self.weights, *biases], fused=True)
        self.activations = [torch.rand(batch_size, size) for size in sizes]
        self.results = [torch.empty(batch_size, size) for size in sizes]

    @torch.no_grad()
    def __call__(self) -> None:
        """Do them once."""
        for index, weight in enumerate(self.weights):
            torch.mm(self.activations[index], weight.t(), out=self.results[index + 1])
        for index, weight in reversed(list(enumerate(self.weights))):
            gradient = self.activations[index + 1]
            torch.mm(gradient.t(), self.activations[index], out=weight.grad)
            if index:
                torch.mm(gradient, weight, out=self.results[index])
        self.optimizer.step()


def plain_network(z_size: int) -> nn.Sequential:
    """Make the network as one writes it, all sigmoid, with PyTorch's initial weights."""
    layers: list[nn.Module] = [nn.Flatten()]
    for inputs, outputs in pairwise([PIXELS, *HIDDEN, z_size, *reversed(HIDDEN), PIXELS]):
        layers += [nn.Linear(inputs, outputs), nn.Sigmoid()]
    return nn.Sequential(*layers)


def follow_recipe(orders: Connection, raw: Path, z_size: int, batch_size: int, seed: int) -> None:
    """Train by the recipe that this project grew from, as one writes it: nothing tuned.

    For each order, trains an epoch; sends its seconds, those of them that the data loader took, its
    batches and the test BCE after it.
    """
    torch.manual_seed(seed)
    model = plain_network(z_size)
    criterion = nn.BCELoss()
    optimizer = torch.optim.AdamW(model.parameters())
    transform = transforms.Compose([transforms.Grayscale(), transforms.ToTensor()])
    train, test = (datasets.MNIST(str(raw), train, transform) for train in (True, False))
    training, testing = DataLoader(train, batch_size, shuffle=True), DataLoader(test, batch_size)
    while orders.recv():
        learning = 0.0
        start = time.perf_counter()
        for images, _ in training:
            loaded = time.perf_counter()
            loss = criterion(model(images), images.flatten(1))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            learning += time.perf_counter() - loaded
        seconds = time.perf_counter() - start
        with torch.no_grad():
            score = sum(
                len(images) * criterion(model(images), images.flatten(1)).item()
                for images, _ in testing
            ) / len(test)
        orders.send((seconds, seconds - learning, len(training), score))


def beside_the_recipe(
    params: Params, new_trainer: NewTrainer, at_the_limit: Callable[[], object], test: Tensor
) -> list[Row]:
    """Epochs of the recipe until its test BCE is good enough, in turn with ours and the limit."""
    context = multiprocessing.get_context("spawn")
    orders, its_end = context.Pipe()
    raw = ROOT / "data/raw"
    arguments = (its_end, raw, params.z_size, params.batch_size, params.seed)
    context.Process(target=follow_recipe, args=arguments, daemon=True).start()
    its_end.close()  # so that the end of that process is seen here

    trainer = new_trainer(params)
    rounds: list[tuple[float, ...]] = []
    score = math.inf
    while score > TARGET_BCE:
        orders.send(True)
        seconds, loading, batches, score = orders.recv()
        if trainer.finished:
            trainer = new_trainer(params)
        batch = timed(trainer.run_epoch) / trainer.batches
        step = timed(at_the_limit) / BATCHES
        quick = new_trainer(params.model_copy(update=QUICK))
        quickest = timed(quick.run_epoch)
        rounds.append((seconds, loading / batches, seconds / batches, batch, step, quickest))
        print(f"  recipe, epoch {len(rounds)}: test BCE {score:.4f}", file=sys.stderr)
    orders.send(False)
    bce = per_image_losses(quick.model, test)[0].mean().item()
    if bce > TARGET_BCE:
        raise SystemExit(f"an epoch reached a test BCE of {bce:.4f}, expected {TARGET_BCE}")

    total = sum(seconds for seconds, *_ in rounds)
    epochs, loading, recipe, ours, limit, until_good = (
        list(figures) for figures in zip(*rounds[1:], strict=True)
    )
    ratios = sorted(total / seconds for seconds in until_good)
    epoch = statistics.median(ours) * trainer.batches
    quick_params = ", ".join(f"`{name}` {value}" for name, value in QUICK.items())
    return [
        (
            "an epoch: the plain recipe, with its data loader ÷ ours, with validation; of a batch",
            f"{milliseconds(recipe)}, {milliseconds(loading)} of it loading; "
            f"{statistics.median(epochs):.1f} s an epoch",
            f"{milliseconds(ours)}; {epoch:.1f} s an epoch",
            ratio(recipe, ours),
            "≥ 4",
        ),
        (
            "a batch: the plain recipe ÷ matrix products and AdamW alone, the most to gain",
            milliseconds(recipe),
            milliseconds(limit),
            ratio(recipe, limit),
            "",
        ),
        (
            f"time until test BCE ≤ {TARGET_BCE}: the plain recipe ÷ ours",
            f"{total:.0f} s, {len(rounds)} epochs",
            f"{statistics.median(until_good):.1f} s, {quick_params}: {bce:.4f}",
            f"{statistics.median(ratios):.0f} ({ratios[0]:.0f} to {ratios[-1]:.0f})",
            "≥ 80",
        ),
    ]


def on_a_gpu(params: Params, new_trainer: NewTrainer) -> list[Row]:
    """Epochs on an NVIDIA GPU, where there is one: launched kernel by kernel, and as graphs."""
    if not torch.cuda.is_available():
        return []
    params = params.model_copy(update={"epochs": REPETITIONS + 1})
    by_kernel, as_graph = (new_trainer(params, "cuda") for _ in range(2))
    assert isinstance(by_kernel.step, Step)
    by_kernel.step._run_step = by_kernel.step._train_step
    one, other = alternate(by_kernel.run_epoch, as_graph.run_epoch)
    return [
        (
            f"an epoch on {torch.cuda.get_device_name()}: kernel by kernel ÷ steps as one graph",
            f"{statistics.median(one):.2f} s",
            f"{statistics.median(other):.2f} s",
            ratio(one, other),
            "",
        )
    ]


def overhead() -> Row:
    """Seconds of `dvc repro` outside the training loop, and of one that has nothing to do."""
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory) / "project"
        subprocess.run(["git", "clone", "--quiet", ROOT, root], check=True)
        shutil.copytree(ROOT / "data/raw", root / "data/raw")

        def dvc_repro(*options: str) -> None:
            subprocess.run(["dvc", "repro", "--quiet", *options], cwd=root, check=True)

        def repro(epochs: int) -> float:
            params = yaml.safe_load((root / "params.yaml").read_text()) | {"epochs": epochs}
            (root / "params.yaml").write_text(yaml.safe_dump(params))
            return timed(lambda: dvc_repro("--force"))

        rounds = [(repro(1), repro(2)) for _ in range(3)]
        idle = [timed(dvc_repro) for _ in range(3)]
    # A second epoch takes what the first one took: what is left is not training.
    outside = statistics.median(2 * one - two for one, two in rounds)
    return (
        "`dvc repro` outside the training loop; with nothing to do",
        f"{outside:.1f} s",
        f"{statistics.median(idle):.1f} s",
        "",
        "≤ 20 s, ≤ 3 s",
    )


def memory() -> Row:
    """Peak memory of train above importing torch, and how it grows with each image."""

    def kilobytes(code: str, directory: Path) -> int:
        done = subprocess.run(
            [sys.executable, "-c", f"{code}; {PEAK}"],
            cwd=directory,
            env={"PYTHONPATH": str(ROOT), "PATH": ""},
            capture_output=True,
            text=True,
            check=True,
        )
        return int(done.stdout)

    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        params = yaml.safe_load((ROOT / "params.yaml").read_text()) | {"epochs": 1}
        (directory / "params.yaml").write_text(yaml.safe_dump(params))
        labels, images = table.read(ROOT / "data/train.csv")
        arguments = ["", "--table=table.csv", "--model=m", "--losses=l", "--checkpoint=c"]
        train = "runpy.run_module('stages.train', run_name='__main__', alter_sys=True)"
        sizes = (len(images), len(images) // 4)
        peaks: dict[int, list[int]] = {size: [] for size in sizes}
        for size in sizes * 3:
            table.write(directory / "table.csv", [(labels[:size], images[:size])])
            code = f"import runpy, sys; sys.argv = {arguments}; {train}"
            peaks[size].append(kilobytes(code, directory))
        torch_alone = kilobytes("import torch", directory)
    large, small = (statistics.median(peaks[size]) for size in sizes)
    growth = (large - small) * 1024 / (sizes[0] - sizes[1])
    return (
        "peak memory of train above importing torch; growth with each image",
        f"{(large - torch_alone) / 1024:.0f} MiB",
        f"{growth:.0f} bytes",
        "",
        "≤ 1 GiB, ≤ 2048 bytes",
    )


def main() -> None:
    """Measure everything, print the table and write it beside this file."""
    params = read_params(Params.model_fields)
    configure_numerics()
    torch.manual_seed(params.seed)
    _, images = table.read(ROOT / "data/train.csv")
    test = torch.from_numpy(table.read(ROOT / "data/test.csv")[1])

    def new_trainer(params: Params, device: str = "cpu") -> Trainer:
        some, rest = split_validation(
            torch.from_numpy(images), params.validation_fraction, params.seed
        )
        model = build_model(some, params.z_size, params.activation, params.seed)
        return Trainer(model.to(device), some.to(device), rest.to(device), params)

    trainer = new_trainer(params)
    rows = torch.from_numpy(np.random.default_rng(0).permutation(len(trainer.training)))
    batches = rows.split(params.batch_size)[:BATCHES]

    def ours() -> None:
        for batch in batches:
            trainer.step(batch, 1e-4)

    other = build_model(trainer.training, params.z_size, params.activation, params.seed)
    by_autograd = AutogradStep(other, AdamW(flatten(other), params.weight_decay), trainer.training)

    def plain() -> None:
        for batch in batches:
            by_autograd(batch, 1e-4)

    limit = Limit(params.z_size, params.batch_size)

    def at_the_limit() -> None:
        for _ in batches:
            limit()

    figures = [
        compare("a step: ours ÷ its matrix products and AdamW alone", "≤ 1.2", ours, at_the_limit),
        compare("a step: autograd ÷ its matrix products and AdamW alone", "", plain, at_the_limit),
        *beside_the_recipe(params, new_trainer, at_the_limit, test),
        overhead(),
        memory(),
        *on_a_gpu(params, new_trainer),
    ]
    lines = [
        f"{machine()}, {torch.get_num_threads()} threads, Python {platform.python_version()}, "
        f"PyTorch {torch.__version__}; medians of {REPETITIONS} rounds and, with the plain recipe, "
        "of each of its epochs but the first; ratios with the lowest and the highest.",
        "",
        "| figure | first | second | ratio | aim |",
        "|---|---|---|---|---|",
        *(f"| {' | '.join(row)} |" for row in figures),
        "",
        "What a step of ours is made of, under PyTorch's profiler, which itself takes time:",
        "",
        "| operator | time |",
        "|---|---|",
        *profile_ops(ours),
    ]
    report(REPORT, lines)


if __name__ == "__main__":
    run(main)
