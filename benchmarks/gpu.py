"""What an epoch takes on an NVIDIA GPU, compared with other ways to train."""

from collections.abc import Iterator
from functools import partial

import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from autoencoder.network.model import Autoencoder
from autoencoder.network.numerics import configure_numerics
from autoencoder.network.step import Step
from benchmarks import measuring
from benchmarks.measuring import DATA, MODEL, Row, UnavailableError, alternate, compare, seconds
from benchmarks.trainings import autograd_step, new_trainer, recipe_process, test_bce

ROUNDS = 5  # of epochs, after one for warm-up


def train_twice() -> Iterator[Row]:
    """Run the train stage twice with the default parameters."""
    models = []
    times = []
    with measuring.workspace(DATA, device="cuda") as directory:
        for _ in range(2):
            times.append(measuring.run_stage("train", directory).seconds)
            models.append((directory / MODEL).read_bytes())
        bce = test_bce(Autoencoder.load(directory / MODEL))
    yield Row(f"test BCE of the default parameters on {torch.cuda.get_device_name()}", f"{bce:.5f}")
    same = "the same bytes" if models[0] == models[1] else "different bytes"
    yield Row(f"the train stage, twice, {same}", measuring.median_time(times))


def measure() -> Iterator[Row]:
    """Train with the default parameters twice; compare epochs of ours with other ways to train."""
    if not torch.cuda.is_available():
        raise UnavailableError("there is no NVIDIA GPU, which this benchmark measures")
    configure_numerics()
    yield from train_twice()
    make_trainer = partial(new_trainer, epochs=ROUNDS + 1, patience=0)
    ours, kernels, autograd = (make_trainer(device="cuda") for _ in range(3))
    assert isinstance(kernels.train_step, Step)
    kernels.train_step._run_step = kernels.train_step._train_step
    store = distributed.HashStore()  # type: ignore[attr-defined]
    distributed.init_process_group("cpu:gloo,cuda:nccl", store=store, rank=0, world_size=1)
    autograd.train_step = autograd_step(autograd)
    autograd.train_step.forward = DistributedDataParallel(autograd.network)
    others = {
        "kernel by kernel": kernels,
        "through autograd and DistributedDataParallel, one process under NCCL": autograd,
        "on the CPU": make_trainer(),
    }
    epochs = [partial(seconds, trainer.run_epoch) for trainer in (ours, *others.values())]
    with recipe_process("cuda") as recipe:
        recipe_times, our_times, *columns = alternate(ROUNDS, lambda: next(recipe).seconds, *epochs)
    distributed.destroy_process_group()
    for (name, trainer), times in zip(others.items(), columns, strict=True):
        apart = abs(ours.history[0].train - trainer.history[0].train)
        same = torch.equal(ours.weights.cpu(), trainer.weights.cpu())
        weights = "the same bytes" if same else f"BCE of the first epoch {apart:.0e} apart"
        yield compare(f"an epoch: {name} ÷ with a CUDA graph; {weights}", times, our_times)
    yield compare("an epoch: the plain recipe ÷ with a CUDA graph", recipe_times, our_times)
