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
import yaml
from torch import Tensor, distributed
from torch.nn.parallel import DistributedDataParallel

from autoencoder.cli import run
from autoencoder.errors import UserError
from autoencoder.network.distributed import AutogradStep
from autoencoder.network.metrics import per_image_losses
from autoencoder.network.model import Autoencoder
from autoencoder.network.numerics import configure_numerics
from autoencoder.network.step import Step
from autoencoder.network.trainer import Trainer
from autoencoder.params import Params, read_params
from benchmarks.training import (
    ENDLESS,
    EPOCH_ROUNDS,
    ROOT,
    TEST_TABLE,
    TRAIN_TABLE,
    Worker,
    alternate,
    machine,
    median_seconds,
    new_trainer,
    ratio,
    read_images,
    report,
    seconds,
    train_recipe,
)

REPORT = Path(__file__).with_suffix(".md")

Row = tuple[str, str, str, str]  # of the report: figure, first, second, ratio


def train_twice(test: Tensor) -> Row:
    """Run the train stage twice with the parameters of params.yaml and score the model."""
    models = []
    with tempfile.TemporaryDirectory() as directory:
        params = yaml.safe_load((ROOT / "params.yaml").read_text()) | {"device": "cuda"}
        Path(directory, "params.yaml").write_text(yaml.safe_dump(params))
        outputs = ["--model=model", "--losses=losses", "--checkpoint=checkpoint"]
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
        "test BCE of the default parameters, trained twice; time of the train stage",
        f"{bce:.5f}, {'the same' if models[0] == models[1] else 'different'} bytes twice",
        median_seconds(times),
        "",
    )


def nccl_trainer(params: Params, images: Tensor) -> Trainer:
    """Make a trainer whose steps use DistributedDataParallel in an NCCL group of one process."""
    store = distributed.HashStore()  # type: ignore[attr-defined]
    distributed.init_process_group("cpu:gloo,cuda:nccl", store=store, rank=0, world_size=1)
    trainer = new_trainer(params, images, "cuda")
    trainer.step = AutogradStep(trainer.model, trainer.optimizer, trainer.training, params.noise)
    trainer.step.network = DistributedDataParallel(trainer.model)
    return trainer


def kernel_trainer(params: Params, images: Tensor) -> Trainer:
    """Make a trainer whose steps start each kernel themselves, without a CUDA graph."""
    trainer = new_trainer(params, images, "cuda")
    assert isinstance(trainer.step, Step)
    trainer.step._run_step = trainer.step._train_step
    return trainer


def compare_epochs(params: Params, images: Tensor) -> list[Row]:
    """Time epochs of the recipe, on the CPU, kernel by kernel and through NCCL with ours."""
    params = params.model_copy(update=ENDLESS)
    recipe = Worker(
        train_recipe, ROOT / "data/raw", params.z_size, params.batch_size, params.seed, "cuda"
    )

    def recipe_epoch() -> None:
        recipe.start_epoch()
        recipe.finish_epoch()

    ours, by_kernel = new_trainer(params, images, "cuda"), kernel_trainer(params, images)
    by_cpu, by_nccl = new_trainer(params, images), nccl_trainer(params, images)
    others = {
        "the plain recipe": recipe_epoch,
        "ours on the CPU": by_cpu.run_epoch,
        "kernel by kernel": by_kernel.run_epoch,
        "through autograd and DistributedDataParallel, one process under NCCL": by_nccl.run_epoch,
    }
    our_times, *columns = alternate(ours.run_epoch, *others.values(), rounds=EPOCH_ROUNDS)
    recipe.stop()
    distributed.destroy_process_group()

    def compare(trainer: Trainer) -> str:
        if torch.equal(ours.weights.cpu(), trainer.weights.cpu()):
            return ", with the same bytes"
        apart = abs(ours.history[0].train - trainer.history[0].train)
        return f", with a BCE in the first epoch {apart:.0e} apart"

    results = ["", compare(by_cpu), compare(by_kernel), compare(by_nccl)]
    return [
        (
            f"an epoch: {name} ÷ ours on the GPU, as CUDA graphs{result}",
            f"{statistics.median(times):.2f} s",
            f"{statistics.median(our_times):.2f} s",
            ratio(times, our_times),
        )
        for name, result, times in zip(others, results, columns, strict=True)
    ]


def main() -> None:
    """Measure everything, print the table and write it next to this file."""
    if not torch.cuda.is_available():
        raise UserError("there is no NVIDIA GPU, which this benchmark measures")
    params = read_params(Params.model_fields)
    images, test = read_images(TRAIN_TABLE), read_images(TEST_TABLE)
    configure_numerics()
    rows = [train_twice(test), *compare_epochs(params, images)]
    report(
        REPORT,
        [
            f"{torch.cuda.get_device_name()}; {machine()}, Python {platform.python_version()}, "
            f"PyTorch {torch.__version__}. Medians of {EPOCH_ROUNDS} rounds; ratios per round with "
            "minimum and maximum.",
            "",
            "| figure | first | second | ratio |",
            "|---|---|---|---|",
            *(f"| {' | '.join(row)} |" for row in rows),
        ],
    )


if __name__ == "__main__":
    run(main)
