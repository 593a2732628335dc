"""What a training step takes, compared with the limit of the machine.

The limit is what the matrix products of a step take with the fastest library in PyTorch, and the
update of the weights with the fused AdamW. No number of threads is tried out in these steps.
"""

import statistics
from collections.abc import Callable, Iterator
from itertools import cycle

import numpy as np
import torch
from torch import Tensor

from autoencoder.network.distributed import AutogradStep
from autoencoder.network.numerics import configure_numerics
from autoencoder.network.step import Step
from autoencoder.network.threads import available_threads
from benchmarks.measuring import Action, Row, alternate, compare, median_time, seconds
from benchmarks.trainings import autograd_step, new_trainer

STEPS = 100  # per measurement of steps or products
ROUNDS = 45  # of these measurements

Product = tuple[Tensor, Tensor, Tensor]  # two factors, and where their product goes


def step_products(step: Step) -> list[Product]:
    """Return the matrix products of a step, in the memory of the step."""
    products = [(layer.x, layer.weight.t(), layer.y) for layer in step.layers]
    for index in reversed(range(len(step.layers))):
        layer = step.layers[index]
        products.append((layer.gradient.t(), layer.x, layer.weight_gradient))
        if index > 0:
            products.append((layer.gradient, layer.weight, step.layers[index - 1].gradient))
    return products


def product_actions(products: list[Product], used: str) -> dict[str, Action]:
    """Return functions that compute products once, by the name of their library, NumPy's last.

    oneDNN is left out unless training uses it (`used`, as `configure_numerics` returns it), because
    otherwise it is not available or not accurate.
    """
    matmul = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]

    def by_torch(precision: str) -> None:
        before = matmul.fp32_precision
        matmul.fp32_precision = precision  # bf16 for oneDNN: see `configure_numerics`
        for a, b, out in products:
            torch.mm(a, b, out=out)
        matmul.fp32_precision = before

    arrays = [[tensor.numpy() for tensor in product] for product in products]

    def by_numpy() -> None:
        for a, b, out in arrays:
            np.dot(a, b, out=out)

    default = "MKL" if torch.backends.mkl.is_available() else "default"
    actions: dict[str, Action] = {default: lambda: by_torch("ieee")}
    if used == "oneDNN":
        actions[used] = lambda: by_torch("bf16")
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]["name"]
    return {**actions, f"NumPy's {blas}": by_numpy}


def repeat(action: Action) -> Callable[[], float]:
    """Return a function that repeats an action `STEPS` times and returns its mean seconds."""

    def repeated() -> None:
        for _ in range(STEPS):
            action()

    return lambda: seconds(repeated) / STEPS


def profile_ops(steps: Action) -> Iterator[Row]:
    """Yield the time of a step by PyTorch operator, largest first."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        steps()
    times = {op.key: op.self_cpu_time_total / 1e6 / STEPS for op in profile.key_averages()}
    names = sorted(times, key=lambda name: -times[name])
    times["the rest"] = sum(times[name] for name in names[10:])
    for name in [*names[:10], "the rest"]:
        yield Row(f"of a step of ours, under the profiler: `{name}`", median_time([times[name]]))


def measure() -> Iterator[Row]:
    """Compare a step with autograd and with the limit of this machine, and profile it."""
    used = configure_numerics()
    torch.set_num_threads(available_threads())
    trainer, limit_trainer = new_trainer(), new_trainer()
    order = np.random.default_rng(0).permutation(len(trainer.training))
    batches = torch.from_numpy(order).split(trainer.params.batch_size)[:STEPS]

    def steps(step: Step | AutogradStep) -> Callable[[], float]:
        batch = cycle(batches)
        return repeat(lambda: step(next(batch), learning_rate=1e-4))

    assert isinstance(limit_trainer.train_step, Step)
    limit_trainer.train_step(batches[0], learning_rate=1e-4)
    products = step_products(limit_trainer.train_step)
    actions = product_actions(products, used)
    columns = alternate(ROUNDS, *map(repeat, actions.values()))
    times = dict(zip(actions, columns, strict=True))
    medians = {name: statistics.median(times[name]) for name in times}
    fastest = min(medians, key=medians.__getitem__)
    *in_torch, _ = medians
    fastest_in_torch = min(in_torch, key=medians.__getitem__)

    def limit() -> None:
        actions[fastest_in_torch]()
        limit_trainer.optimizer.step()

    our_steps, autograd_steps = steps(trainer.train_step), steps(autograd_step(new_trainer()))
    ours, by_autograd, lower = alternate(ROUNDS, our_steps, autograd_steps, repeat(limit))
    yield compare(f"a step: ours ÷ the limit, with {fastest_in_torch}", ours, lower, "≤ 1.1")
    yield compare("a step: through autograd ÷ ours", by_autograd, ours)
    figure = f"the products of a step: with {fastest}, the fastest library ÷ with ours, {used}"
    yield compare(figure, times[fastest], times[used], "≥ 0.9")
    operations = sum(2 * a.shape[0] * a.shape[1] * b.shape[1] for a, b, _ in products)
    for name, median in medians.items():
        yield Row(f"throughput of products with {name}", f"{operations / median / 1e9:.0f} GFLOP/s")
    yield from profile_ops(our_steps)
