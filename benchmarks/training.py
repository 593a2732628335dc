"""How fast training is, beside plain PyTorch and beside the limit of the machine: `make bench`.

Both sides of each comparison are measured in one run, in turn, after a warm-up; the table has
medians, and the lowest and highest ratio of neighbouring measurements.
"""

import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import yaml
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from stages.shared import params, table
from stages.shared.autoencoder import HIDDEN, PIXELS, errors, unit
from stages.shared.distributed import SharedStep
from stages.shared.files import replacing
from stages.shared.step import AdamW, flatten
from stages.shared.trainer import Trainer
from stages.train import initial, split

ROOT = Path(__file__).parents[1]
REPORT = Path(__file__).with_suffix(".md")
REPETITIONS = 15
BATCHES = 100  # in each of them
GOOD_ENOUGH = 0.102  # where the plain recipe stands after 30 epochs
QUICK = {"epochs": 1, "validation_fraction": 0.4}  # parameters that come to this soonest

# Code that prints how many KiB of memory its process took at most. Not getrusage: what that tells
# of a process counts the one that started it.
PEAK = "print(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])"

Row = tuple[str, str, str, str, str]


def alternate(first: Callable[[], object], second: Callable[[], object]) -> tuple[list[float], ...]:
    """Seconds of each of two actions, run in turn; the first round of each does not count."""
    times: tuple[list[float], list[float]] = ([], [])
    for round_ in range(REPETITIONS + 1):
        for action, seconds in zip((first, second), times, strict=True):
            start = time.perf_counter()
            action()
            if round_:
                seconds.append(time.perf_counter() - start)
    return times


def compare(name: str, aim: str, first: Callable[[], object], second: Callable[[], object]) -> Row:
    """Milliseconds of two actions that each take `BATCHES` steps, and their ratio."""
    seconds = alternate(first, second)
    ratios = sorted(a / b for a, b in zip(*seconds, strict=True))
    one, other = (f"{statistics.median(side) / BATCHES * 1000:.2f} ms" for side in seconds)
    ratio = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
    return name, one, other, ratio, aim


def made_of(steps: Callable[[], object]) -> list[str]:
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
    with replacing(path) as partial:
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


class Recipe:
    """The recipe that this project grew from, as one writes it: nothing tuned."""

    def __init__(self, raw: Path, z_size: int, batch_size: int) -> None:
        self.model = plain_network(z_size)
        self.criterion = nn.BCELoss()
        self.optimizer = torch.optim.AdamW(self.model.parameters())
        transform = transforms.Compose([transforms.Grayscale(), transforms.ToTensor()])
        self.train = DataLoader(
            datasets.MNIST(str(raw), transform=transform), batch_size, shuffle=True
        )

    def batches(self) -> Iterator[Tensor]:
        """Endlessly, epoch after epoch."""
        while True:
            for images, _ in self.train:
                yield images

    def step(self, images: Tensor) -> None:
        """Learn a batch."""
        loss = self.criterion(self.model(images), images.flatten(1))
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    @torch.no_grad()
    def bce(self, test: Tensor) -> float:
        """Score uint8 images (n, 784)."""
        return float(self.criterion(self.model(unit(test)), unit(test)))


def time_to_score(recipe: Recipe, new_trainer: Callable[[], Trainer], test: Tensor) -> Row:
    """Seconds until the test BCE is good enough: the recipe's, and the median of some of ours.

    One of ours is measured after each fifth epoch of the recipe.
    """
    times = []
    seconds, epochs = 0.0, 0
    while recipe.bce(test) > GOOD_ENOUGH:
        start = time.perf_counter()
        for images, _ in recipe.train:
            recipe.step(images)
        seconds += time.perf_counter() - start
        epochs += 1
        print(f"  recipe, epoch {epochs}: {recipe.bce(test):.4f}", file=sys.stderr)
        if epochs % 5 == 0:
            trainer = new_trainer()
            start = time.perf_counter()
            trainer.run_epoch()
            times.append(time.perf_counter() - start)
    ours = statistics.median(times)
    bce = errors(trainer.model, test)[0].mean().item()
    if bce > GOOD_ENOUGH:
        raise SystemExit(f"an epoch reached a test BCE of {bce:.4f}, expected {GOOD_ENOUGH}")
    knobs = ", ".join(f"`{name}` {value}" for name, value in QUICK.items())
    return (
        f"time until test BCE ≤ {GOOD_ENOUGH}: the plain recipe ÷ ours",
        f"{seconds:.0f} s, {epochs} epochs",
        f"{ours:.1f} s, {knobs}: {bce:.4f}",
        f"{seconds / ours:.0f}",
        "≥ 80",
    )


def overhead() -> Row:
    """Seconds of `dvc repro` outside the training loop, and of one that has nothing to do."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "project"
        subprocess.run(["git", "clone", "--quiet", ROOT, root], check=True)
        shutil.copytree(ROOT / "data/raw", root / "data/raw")

        def repro(epochs: int) -> float:
            knobs = yaml.safe_load((root / "params.yaml").read_text()) | {"epochs": epochs}
            (root / "params.yaml").write_text(yaml.safe_dump(knobs))
            start = time.perf_counter()
            subprocess.run(["dvc", "repro", "--quiet", "--force"], cwd=root, check=True)
            return time.perf_counter() - start

        rounds = [(repro(1), repro(2)) for _ in range(3)]
        idle = []
        for _ in range(3):
            start = time.perf_counter()
            subprocess.run(["dvc", "repro", "--quiet"], cwd=root, check=True)
            idle.append(time.perf_counter() - start)
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

    def kilobytes(code: str, folder: Path) -> int:
        done = subprocess.run(
            [sys.executable, "-c", f"{code}; {PEAK}"],
            cwd=folder,
            env={"PYTHONPATH": str(ROOT), "PATH": ""},
            capture_output=True,
            text=True,
            check=True,
        )
        return int(done.stdout)

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        knobs = yaml.safe_load((ROOT / "params.yaml").read_text()) | {"epochs": 1}
        (folder / "params.yaml").write_text(yaml.safe_dump(knobs))
        labels, images = table.read(ROOT / "data/train.csv")
        arguments = ["", "--table=table.csv", "--model=m", "--losses=l", "--checkpoint=c"]
        train = "runpy.run_module('stages.train', run_name='__main__', alter_sys=True)"
        sizes = (len(images), len(images) // 4)
        peaks: dict[int, list[int]] = {size: [] for size in sizes}
        for size in sizes * 3:
            table.write(folder / "table.csv", [(labels[:size], images[:size])])
            code = f"import runpy, sys; sys.argv = {arguments}; {train}"
            peaks[size].append(kilobytes(code, folder))
        torch_alone = kilobytes("import torch", folder)
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
    torch.set_flush_denormal(True)
    knobs = params.read(params.Params.model_fields)
    torch.set_num_threads(knobs.threads)
    torch.manual_seed(knobs.seed)
    _, images = table.read(ROOT / "data/train.csv")
    test = torch.from_numpy(table.read(ROOT / "data/test.csv")[1])
    quick = knobs.model_copy(update=QUICK)

    def new_trainer(with_: params.Params) -> Trainer:
        some, rest = split(torch.from_numpy(images), with_.validation_fraction, with_.seed)
        model = initial(some, with_.z_size, with_.activation, with_.seed)
        return Trainer(model, some, rest, with_)

    trainer = new_trainer(knobs)
    training = trainer.training
    rows = torch.from_numpy(np.random.default_rng(0).permutation(len(training)))
    batches = rows.split(knobs.batch_size)[:BATCHES]

    def ours() -> None:
        for batch in batches:
            trainer.step(batch, 1e-4)

    other = initial(training, knobs.z_size, knobs.activation, knobs.seed)
    by_autograd = SharedStep(other, AdamW(flatten(other), knobs.weight_decay), training)

    def plain() -> None:
        for batch in batches:
            by_autograd(batch, 1e-4)

    limit = Limit(knobs.z_size, knobs.batch_size)

    def at_the_limit() -> None:
        for _ in batches:
            limit()

    recipe = Recipe(ROOT / "data/raw", knobs.z_size, knobs.batch_size)
    endless = recipe.batches()

    def by_recipe() -> None:
        for _ in batches:
            recipe.step(next(endless))

    figures = [
        compare("step: ours ÷ its matrix products and AdamW alone", "≤ 1.2", ours, at_the_limit),
        compare("step: autograd ÷ its matrix products and AdamW alone", "", plain, at_the_limit),
        compare("batch: the plain recipe, with its data loader ÷ ours", "≥ 4", by_recipe, ours),
        compare(
            "batch: the plain recipe ÷ matrix products and AdamW alone, the most there is to gain",
            "",
            by_recipe,
            at_the_limit,
        ),
        overhead(),
        memory(),
    ]
    fresh_recipe = Recipe(ROOT / "data/raw", knobs.z_size, knobs.batch_size)
    figures.append(time_to_score(fresh_recipe, lambda: new_trainer(quick), test))
    lines = [
        f"{machine()}, {torch.get_num_threads()} threads, Python {platform.python_version()}, "
        f"PyTorch {torch.__version__}; medians of {REPETITIONS} rounds, ratios with the lowest and "
        "the highest.",
        "",
        "| figure | first | second | ratio | aim |",
        "|---|---|---|---|---|",
        *(f"| {' | '.join(row)} |" for row in figures),
        "",
        "What a step of ours is made of, under PyTorch's profiler, which itself takes time:",
        "",
        "| operator | time |",
        "|---|---|",
        *made_of(ours),
    ]
    report(REPORT, lines)


if __name__ == "__main__":
    main()
