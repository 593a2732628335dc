"""Measure training on an NVIDIA GPU: `make bench-gpu`.

Trains the default parameters twice with the train stage, and times epochs: of the plain recipe, on
the CPU, kernel by kernel and through NCCL, each alternately with ours.
"""

import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from torch import Tensor, distributed
from torch.nn.parallel import DistributedDataParallel

from autoencoder.base.cli import make_parser, run
from autoencoder.base.errors import UserError
from autoencoder.base.params import Params, read_params
from autoencoder.network.distributed import AutogradStep
from autoencoder.network.metrics import per_image_losses
from autoencoder.network.model import Autoencoder
from autoencoder.network.numerics import configure_numerics
from autoencoder.network.step import Step
from autoencoder.network.trainer import Trainer
from benchmarks.measure import (
    EPOCH_ROUNDS,
    ROOT,
    TEST_TABLE,
    TRAIN_TABLE,
    alternate,
    machine,
    median_seconds,
    ratio,
    report,
    seconds,
    write_params,
)
from benchmarks.recipe import train_recipe
from benchmarks.worker import ENDLESS, Worker, new_trainer, read_images

REPORT = Path(__file__).with_suffix(".md")


def train_twice(test: Tensor) -> str:
    """Run the train stage twice with the parameters of params.yaml and score the model."""
    models = []
    with tempfile.TemporaryDirectory() as directory:
        write_params(Path(directory), device="cuda")
        outputs = ["--model=model", "--losses=losses", "--checkpoints=checkpoints"]
        train = [sys.executable, "-m", "stages.train", f"--table={TRAIN_TABLE}", *outputs]
        environment = os.environ | {"PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"}

        def run_stage() -> None:
            subprocess.run(train, cwd=directory, env=environment, check=True)

        times = []
        for _ in range(2):
            times.append(seconds(run_stage))
            models.append(Path(directory, "model").read_bytes())
        bce = per_image_losses(Autoencoder.load(Path(directory, "model")), test)[0].mean().item()
    return (
        f"The train stage with the default parameters, run twice: test BCE {bce:.5f}, "
        f"{'the same' if models[0] == models[1] else 'different'} bytes, {median_seconds(times)}."
    )


def nccl_trainer(params: Params, images: Tensor) -> Trainer:
    """Make a trainer whose steps use DistributedDataParallel in an NCCL group of one process."""
    store = distributed.HashStore()  # type: ignore[attr-defined]
    distributed.init_process_group("cpu:gloo,cuda:nccl", store=store, rank=0, world_size=1)
    trainer = new_trainer(params, images, "cuda")
    step = AutogradStep(
        trainer.network, trainer.optimizer, trainer.training, params.batch_size, params.noise
    )
    step.forward = DistributedDataParallel(trainer.network)
    trainer.train_step = step
    return trainer


def kernel_trainer(params: Params, images: Tensor) -> Trainer:
    """Make a trainer whose steps start each kernel themselves, without a CUDA graph."""
    trainer = new_trainer(params, images, "cuda")
    assert isinstance(trainer.train_step, Step)
    trainer.train_step._run_step = trainer.train_step._train_step
    return trainer


def compare_epochs(params: Params, images: Tensor) -> list[str]:
    """Time epochs of ours, alternately with other ways to train; return table rows."""
    params = params.model_copy(update=ENDLESS)
    recipe = Worker(train_recipe, ROOT / "data/raw", params, "cuda")

    ours = new_trainer(params, images, "cuda")
    others = {
        "kernel by kernel": kernel_trainer(params, images),
        "through autograd and DistributedDataParallel, one process under NCCL": nccl_trainer(
            params, images
        ),
        "on the CPU": new_trainer(params, images),
    }
    our_times, *columns, recipe_times = alternate(
        ours.run_epoch,
        *(trainer.run_epoch for trainer in others.values()),
        recipe.run_epoch,
        rounds=EPOCH_ROUNDS,
    )
    recipe.stop()
    distributed.destroy_process_group()

    def row(name: str, times: list[float], result: str) -> str:
        cells = (name, f"{statistics.median(times):.2f} s", ratio(times, our_times), result)
        return f"| {' | '.join(cells)} |"

    def compare(trainer: Trainer) -> str:
        if torch.equal(ours.weights.cpu(), trainer.weights.cpu()):
            return "the same bytes"
        apart = abs(ours.history[0].train - trainer.history[0].train)
        return f"BCE of the first epoch {apart:.0e} apart"

    return [
        row("a CUDA graph per step: ours", our_times, ""),
        *(
            row(name, times, compare(trainer))
            for (name, trainer), times in zip(others.items(), columns, strict=True)
        ),
        row("the plain recipe", recipe_times, ""),
    ]


def main() -> None:
    """Measure everything, print the table and write it next to this file."""
    make_parser(__doc__).parse_args()
    if not torch.cuda.is_available():
        raise UserError("there is no NVIDIA GPU, which this benchmark measures")
    params = read_params(Params.model_fields)
    images, test = read_images(TRAIN_TABLE), read_images(TEST_TABLE)
    configure_numerics()
    report(
        REPORT,
        [
            f"{torch.cuda.get_device_name()}; {machine()}, Python {platform.python_version()}, "
            f"PyTorch {torch.__version__}. {train_twice(test)} Epochs: medians of {EPOCH_ROUNDS} "
            "rounds; ratios per round with minimum and maximum.",
            "",
            "| training | epoch | ÷ ours | weights |",
            "|---|---|---|---|",
            *compare_epochs(params, images),
        ],
    )


if __name__ == "__main__":
    run(main)
