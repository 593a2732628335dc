"""Measure training against plain PyTorch and against the limit of the machine: `make bench`.

The sides of each comparison are measured alternately in one run, after a warm-up. The table shows
their medians, and the median, minimum and maximum of the ratio per round. The limit is what the
fastest library on this machine needs for the matrix products of a step.

The plain recipe runs in a separate process with PyTorch's default settings, because
`configure_numerics` makes the recipe faster, too: by the handling of denormals, for instance.
"""

import math
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from autoencoder.base.cli import make_parser, run
from autoencoder.base.errors import UserError
from autoencoder.base.params import Params, read_params
from autoencoder.data import table
from autoencoder.network.distributed import AutogradStep
from autoencoder.network.metrics import per_image_losses
from autoencoder.network.numerics import configure_numerics
from autoencoder.network.step import AdamW, Step, flatten
from autoencoder.network.threads import available_threads
from autoencoder.network.trainer import build_network
from benchmarks.measure import (
    EPOCH_ROUNDS,
    PEAK,
    ROOT,
    TEST_TABLE,
    TRAIN_TABLE,
    Action,
    alternate,
    machine,
    median_seconds,
    ratio,
    report,
    seconds,
    write_params,
)
from benchmarks.recipe import plain_network, train_recipe
from benchmarks.worker import Worker, new_trainer, read_images, train_ours

REPORT = Path(__file__).with_suffix(".md")

STEPS = 100  # per measurement of steps or products
ROUNDS = 15  # of these measurements
PROGRAM_ROUNDS = 3  # of measurements of `dvc repro` and of the train stage

TARGET_BCE = 0.102  # test BCE of the plain recipe after 30 epochs
MAX_EPOCHS = 60  # of the plain recipe, which does not reach the target with a small `z_size`
# Parameters that reach it in the shortest time, with any of four seeds.
QUICK = {"epochs": 1, "batch_size": 128, "learning_rate": 0.016, "validation_fraction": 0.5}

Product = tuple[Tensor, Tensor, Tensor]  # a, b and the result, a b
Row = tuple[str, str, str, str, str]  # of the report: figure, first, second, ratio, target


def milliseconds(times: list[float]) -> str:
    """Format the median time per step, in milliseconds, of measurements of `STEPS` steps."""
    return f"{1000 * statistics.median(times) / STEPS:.2f} ms"


def profile_ops(steps: Action) -> list[str]:
    """Return the time of a step by PyTorch operator, largest first, as table rows."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        steps()
    times = {
        event.key: event.self_cpu_time_total / STEPS / 1000 for event in profile.key_averages()
    }
    largest = sorted(times, key=lambda key: -times[key])[:10]
    rest = sum(times.values()) - sum(times[key] for key in largest)
    return [*(f"| `{key}` | {times[key]:.2f} ms |" for key in largest), f"| rest | {rest:.2f} ms |"]


# Matrix products and the limit of the machine.


def step_products(model: nn.Module, batch_size: int) -> list[Product]:
    """Return the matrix products of a training step, in the order of the step.

    Parameters
    ----------
    model : Module
        Its linear layers are multiplied, after `flatten`; the gradients of their weights are
        results.
    batch_size : int
    """

    def random(width: int) -> Tensor:
        return torch.rand(batch_size, width) - 0.5

    layers = [module for module in model.modules() if isinstance(module, nn.Linear)]
    forward: list[Product] = []
    backward: list[Product] = []
    for layer in layers:
        weight, weight_gradient = layer.weight.detach(), layer.weight.grad
        assert weight_gradient is not None
        x, gradient = random(layer.in_features), random(layer.out_features)
        forward.append((x, weight.t(), random(layer.out_features)))
        if layer is not layers[0]:
            backward.append((gradient, weight, random(layer.in_features)))
        backward.append((gradient.t(), x, weight_gradient))
    return [*forward, *reversed(backward)]


def gflops(products: list[Product], times: list[float]) -> str:
    """Format the throughput of `STEPS` repetitions of products, from the median time."""
    operations = 2 * STEPS * sum(a.shape[0] * a.shape[1] * b.shape[1] for a, b, _ in products)
    return f"{operations / statistics.median(times) / 1e9:.0f} GFLOP/s"


@contextmanager
def torch_products(precision: str) -> Iterator[None]:
    """Multiply through oneDNN (bf16, see `configure_numerics`) or PyTorch's default (ieee)."""
    matmul = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before = matmul.fp32_precision
    matmul.fp32_precision = precision
    try:
        yield
    finally:
        matmul.fp32_precision = before


def product_actions(products: list[Product], used: str) -> dict[str, Action]:
    """Return functions that compute products once, by the name of the library they use.

    Parameters
    ----------
    products : list of Product
    used : str
        The library that training uses, as `configure_numerics` returns it. oneDNN is left out if it
        is not used, because then it is not available or not accurate.
    """

    def by_torch(precision: str) -> None:
        with torch_products(precision):
            for a, b, result in products:
                torch.mm(a, b, out=result)

    arrays = [(a.numpy(), b.numpy(), result.numpy()) for a, b, result in products]

    def by_numpy() -> None:
        for a, b, result in arrays:
            np.dot(a, b, out=result)

    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]["name"]
    actions: dict[str, Action] = {torch_default(): lambda: by_torch("ieee")}
    if used == "oneDNN":
        actions["oneDNN"] = lambda: by_torch("bf16")
    return {**actions, f"NumPy's {blas}": by_numpy}


def torch_default() -> str:
    """Return the name of the library that PyTorch multiplies with by default."""
    return "MKL" if torch.backends.mkl.is_available() else "PyTorch's default"


def repeat(action: Action) -> Action:
    """Return a function that repeats an action `STEPS` times."""

    def repeated() -> None:
        for _ in range(STEPS):
            action()

    return repeated


def measure_steps(params: Params, images: Tensor, used: str) -> tuple[list[Row], list[str]]:
    """Compare the products and the step with the limit of this machine.

    Returns
    -------
    rows : list of Row
    profile : list of str
        The time of a step by operator, as table rows.
    """
    torch.set_num_threads(available_threads())
    model = plain_network(params.hidden_sizes, params.z_size)
    optimizer = AdamW(flatten(model), params.weight_decay)
    optimizer.learning_rate.fill_(1e-4)
    products = step_products(model, params.batch_size)
    actions = product_actions(products, used)
    columns = alternate(*map(repeat, actions.values()), rounds=ROUNDS)
    times = dict(zip(actions, columns, strict=True))
    by_speed = sorted(times, key=lambda name: statistics.median(times[name]))
    fastest = by_speed[0]
    in_torch = next(name for name in by_speed if name in (torch_default(), "oneDNN"))
    ours = "oneDNN" if used == "oneDNN" else torch_default()

    trainer = new_trainer(params, images)
    rows = torch.from_numpy(np.random.default_rng(0).permutation(len(trainer.training)))
    batches = rows.split(params.batch_size)[:STEPS]
    other = build_network(trainer.training, params)
    autograd = AutogradStep(
        other, AdamW(flatten(other), params.weight_decay), trainer.training, params.batch_size
    )

    def take(step: Step | AutogradStep) -> Action:
        batch = cycle(batches)
        return repeat(lambda: step(next(batch), 1e-4))

    def limit() -> None:
        actions[in_torch]()
        optimizer.step()

    our_step = take(trainer.train_step)
    manual, by_autograd, lower = alternate(our_step, take(autograd), repeat(limit), rounds=ROUNDS)
    throughputs = ", ".join(f"{name} {gflops(products, times[name])}" for name in times)
    return [
        (
            "a step, without trials of threads: ours ÷ the limit, its products with the fastest "
            f"library in PyTorch, {in_torch}, and fused AdamW",
            milliseconds(manual),
            milliseconds(lower),
            ratio(manual, lower),
            "≤ 1.1",
        ),
        (
            "a step: through autograd ÷ ours",
            milliseconds(by_autograd),
            milliseconds(manual),
            ratio(by_autograd, manual),
            "",
        ),
        (
            f"throughput of the products of a step: ours ÷ the best library ({throughputs})",
            f"{ours} {gflops(products, times[ours])}",
            f"{fastest} {gflops(products, times[fastest])}",
            ratio(times[fastest], times[ours]),  # of throughputs, the inverse of that of times
            "≥ 0.9",
        ),
    ], profile_ops(our_step)


# Epochs.


def compare_with_recipe(params: Params, images: Tensor, test: Tensor) -> list[Row]:
    """Train the recipe until it reaches `TARGET_BCE`, alternately with epochs of ours."""
    recipe = Worker(train_recipe, ROOT / "data/raw", params)
    ours = Worker(train_ours, TRAIN_TABLE, params)
    rounds: list[tuple[float, ...]] = []
    bce = math.inf
    while bce > TARGET_BCE:
        if len(rounds) == MAX_EPOCHS:
            raise UserError(
                f"the plain recipe has a test BCE of {bce:.4f} after {MAX_EPOCHS} epochs, expected "
                f"at most {TARGET_BCE}; measure with the committed params.yaml"
            )
        recipe_epoch, loading, bce = recipe.run_epoch()
        (our_epoch,) = ours.run_epoch()
        quick = new_trainer(params.model_copy(update=QUICK), images)
        rounds.append((recipe_epoch, loading, our_epoch, seconds(quick.run_epoch)))
        print(f"  plain recipe, epoch {len(rounds)}: test BCE {bce:.4f}", file=sys.stderr)
    recipe.stop()
    ours.stop()
    quick_bce = per_image_losses(quick.network, test)[0].mean().item()
    if quick_bce > TARGET_BCE:
        raise UserError(f"{QUICK}: the test BCE is {quick_bce:.4f}, expected at most {TARGET_BCE}")

    # The first round is the warm-up of the epochs; the time to the target includes it.
    recipe_total = sum(recipe_epoch for recipe_epoch, *_ in rounds)
    recipe_epochs, loading_times, our_epochs, quick_epochs = (
        list(column) for column in zip(*rounds[1:], strict=True)
    )
    settings = ", ".join(f"`{name}` {value}" for name, value in QUICK.items())
    return [
        (
            "an epoch: the plain recipe ÷ ours, with validation",
            f"{median_seconds(recipe_epochs)}, {median_seconds(loading_times)} of it loading",
            median_seconds(our_epochs),
            ratio(recipe_epochs, our_epochs),
            "≥ 4",
        ),
        (
            f"time to test BCE ≤ {TARGET_BCE}: the plain recipe ÷ ours",
            f"{recipe_total:.0f} s, {len(rounds)} epochs",
            f"{median_seconds(quick_epochs)}, {settings}: {quick_bce:.4f}",
            ratio([recipe_total] * len(quick_epochs), quick_epochs),
            "≥ 130",
        ),
    ]


@contextmanager
def busy_core() -> Iterator[None]:
    """Keep one core busy."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as process:
        try:
            yield
        finally:
            process.kill()


def measure_shared_machine(path: Path, params: Params) -> list[Row]:
    """Compare epochs on a quiet machine with those next to other processes."""
    # Each in processes of its own, because the number of threads is reconsidered now and then only.
    alone, disturbed, one, two = (Worker(train_ours, path, params) for _ in range(4))

    def epoch(*workers: Worker) -> None:
        for worker in workers:
            worker.start_epoch()
        for worker in workers:
            worker.finish_epoch()

    def busy_epoch() -> None:
        with busy_core():
            epoch(disturbed)

    quiet, busy, both = alternate(
        lambda: epoch(alone), busy_epoch, lambda: epoch(one, two), rounds=EPOCH_ROUNDS
    )
    for worker in (alone, disturbed, one, two):
        worker.stop()
    return [
        (
            "an epoch of ours: while another process keeps one core busy ÷ on a quiet machine",
            median_seconds(busy),
            median_seconds(quiet),
            ratio(busy, quiet),
            "≤ 1.9",
        ),
        (
            "steps per second of ours: two trainings at once, in total ÷ one alone",
            f"{median_seconds(both)} for two epochs",
            f"{median_seconds(quiet)} for one",
            ratio(quiet, both, factor=2),
            "≥ 1.2",
        ),
    ]


# Whole runs.


def measure_default_run(params: Params, images: Tensor, test: Tensor) -> Row:
    """Train with the parameters of params.yaml and score the best weights."""
    trainer = new_trainer(params, images)

    def train() -> None:
        while not trainer.finished:
            trainer.run_epoch()

    duration = seconds(train)
    bce = per_image_losses(trainer.best_model(), test)[0].mean().item()
    return (
        "test BCE of the default parameters; their time to train",
        f"{bce:.5f}",
        f"{duration:.0f} s, {len(trainer.history)} epochs",
        "",
        "≤ 0.0725",
    )


def measure_dvc() -> Row:
    """Measure `dvc repro` outside the training loop, and with nothing to do."""
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory) / "project"
        subprocess.run(["git", "clone", "--quiet", ROOT, root], check=True)
        shutil.copytree(ROOT / "data/raw", root / "data/raw", dirs_exist_ok=True)

        def dvc_repro(*options: str) -> None:
            subprocess.run(["dvc", "repro", "--quiet", *options], cwd=root, check=True)

        def train_epochs(epochs: int) -> float:
            write_params(root, epochs=epochs)
            return seconds(lambda: dvc_repro("--force"))

        rounds = [(train_epochs(1), train_epochs(2)) for _ in range(PROGRAM_ROUNDS)]
        idle = [seconds(dvc_repro) for _ in range(PROGRAM_ROUNDS)]
    # The second epoch takes as long as the first: the rest is not training.
    outside = sorted(2 * one - two for one, two in rounds)
    return (
        "`dvc repro`: outside the training loop; with nothing to do",
        f"{median_seconds(outside)} ({outside[0]:.1f} to {outside[-1]:.1f})",
        median_seconds(idle),
        "",
        "≤ 9 s, ≤ 3 s",
    )


def measure_memory() -> Row:
    """Measure the peak memory of the train stage, and how it grows with each image."""

    def peak_kib(code: str, directory: str) -> int:
        done = subprocess.run(
            [sys.executable, "-c", f"{code}; {PEAK}"],
            cwd=directory,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            check=True,
        )
        return int(done.stdout)

    arguments = ["", "--table=table.csv", "--model=m", "--losses=l", "--checkpoints=c"]
    train = (
        f"import runpy, sys; sys.argv = {arguments}; "
        "runpy.run_module('stages.train', run_name='__main__', alter_sys=True)"
    )
    labels, images = table.read(TRAIN_TABLE)
    sizes = (len(images), len(images) // 4)
    peaks: dict[int, list[int]] = {size: [] for size in sizes}
    with tempfile.TemporaryDirectory() as directory:
        write_params(Path(directory), epochs=1)
        for size in sizes * PROGRAM_ROUNDS:
            table.write(Path(directory, "table.csv"), [(labels[:size], images[:size])])
            peaks[size].append(peak_kib(train, directory))
        torch_alone = peak_kib("import torch", directory)
    large, small = (statistics.median(peaks[size]) for size in sizes)
    growth = (large - small) * 1024 / (sizes[0] - sizes[1])
    return (
        "peak memory of the train stage: above that of importing torch; growth per image",
        f"{(large - torch_alone) / 1024:.0f} MiB",
        f"{growth:.0f} bytes",
        "",
        "≤ 1 GiB, ≤ 2048 bytes",
    )


def main() -> None:
    """Measure everything, print the table and write it next to this file."""
    make_parser(__doc__).parse_args()
    params = read_params(Params.model_fields)
    images, test = read_images(TRAIN_TABLE), read_images(TEST_TABLE)
    used = configure_numerics()
    torch.manual_seed(params.seed)
    steps, profile = measure_steps(params, images, used)
    rows = [
        *steps,
        *compare_with_recipe(params, images, test),
        *measure_shared_machine(TRAIN_TABLE, params),
        measure_default_run(params, images, test),
        measure_dvc(),
        measure_memory(),
    ]
    lines = [
        f"{machine()}, {available_threads()} available, Python {platform.python_version()}, "
        f"PyTorch {torch.__version__}. Medians of {ROUNDS} rounds of {STEPS} steps, "
        f"{EPOCH_ROUNDS} of epochs (all epochs but the first next to the plain recipe) and "
        f"{PROGRAM_ROUNDS} of programs; ratios per round with minimum and maximum.",
        "",
        "| figure | first | second | ratio | target |",
        "|---|---|---|---|---|",
        *(f"| {' | '.join(row)} |" for row in rows),
        "",
        "What a step of ours consists of, under PyTorch's profiler, which itself takes time:",
        "",
        "| operator | time |",
        "|---|---|",
        *profile,
    ]
    report(REPORT, lines)


if __name__ == "__main__":
    run(main)
