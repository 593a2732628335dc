"""Train the autoencoder on the training table and keep the weights of its best epoch.

An interrupted run resumes after its last complete epoch when it is run again with the same inputs,
and ends with the same bytes. With several processes, only rank 0 logs and writes.
"""

import logging
import sys
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
from tqdm import tqdm

from autoencoder.base.cli import Reads, Writes, run_stage
from autoencoder.base.errors import UserError
from autoencoder.base.files import file_digest, process_lock
from autoencoder.base.inputs import Inputs
from autoencoder.data import table
from autoencoder.network.checkpoint import Checkpoints
from autoencoder.network.distributed import World, process_group
from autoencoder.network.losses import write_losses
from autoencoder.network.numerics import choose_device, configure_numerics, describe_environment
from autoencoder.network.trainer import Trainer, build_network, split_validation

log = logging.getLogger(__name__)

USES = [
    "hidden_sizes",
    "z_size",
    "activation",
    "seed",
    "epochs",
    "batch_size",
    "learning_rate",
    "weight_decay",
    "noise",
    "validation_fraction",
    "patience",
    "device",
]


@dataclass(frozen=True)
class Paths:
    """The files of the stage."""

    table: Annotated[Path, Reads("training table, CSV")]
    losses: Annotated[Path, Writes("BCE of each epoch, CSV: epoch, train, validation")]
    model: Annotated[Path, Writes("trained network, safetensors")]
    checkpoints: Annotated[Path, Writes("directory of the states to resume interrupted runs from")]


def train(paths: Paths, inputs: Inputs, world: World) -> None:
    """Read the training table; write the losses after each epoch, and the model at the end."""
    params = inputs.params
    log.disabled = not world.is_rank_zero
    products = configure_numerics()
    device = choose_device(params.device, world)
    # The table's array is not named, so that its memory is freed after the split.
    training, validation = split_validation(
        torch.from_numpy(table.read(paths.table).images), params.validation_fraction, params.seed
    )
    network = build_network(training, params).to(device)
    trainer = Trainer(network, training.to(device), validation.to(device), params, world)

    lineage = {
        "parameters": params.model_dump(mode="json"),
        "processes": world.world_size,
        "train_md5": file_digest(paths.table, "md5"),
        "code": inputs.code,
        "mean_border": round(table.mean_border(training.numpy()), 2),
        **describe_environment(device, products),
    }
    # Different processors may train together, although some round differently.
    comparable = {"device": device.type, "instructions": None, "products": None}
    world.check_same({**lineage, **comparable})
    checkpoints = Checkpoints(paths.checkpoints, lineage)
    if world.is_rank_zero and (state := checkpoints.load()) is not None:
        trainer.restore(state)
    world.broadcast(trainer.state().values())
    log.info("training on %s, matrix products by %s", device, products)

    def write_results() -> None:
        inputs.check_unchanged()
        if world.is_rank_zero:
            best = trainer.best
            write_losses(paths.losses, trainer.history)
            trainer.best_model().save(paths.model, {**lineage, "best_epoch": best.epoch})
            log.info("%s: weights of epoch %d, %s", paths.model, best.epoch, best)

    with tqdm(
        total=params.epochs * trainer.batches,
        initial=len(trainer.history) * trainer.batches,
        unit="step",
        disable=not (world.is_rank_zero and sys.stderr.isatty()),
    ) as bar:
        while not trainer.finished:
            try:
                trainer.run_epoch(on_step=bar.update)
            except UserError:
                if trainer.history:
                    write_results()
                raise
            if not world.is_rank_zero:
                continue
            last = trainer.history[-1]
            checkpoints.save(trainer.state(), last.epoch)
            write_losses(paths.losses, trainer.history)
            bar.set_postfix(epoch=last.epoch, train=last.train, validation=last.validation)
            if bar.disable:
                log.info("epoch %2d of %d: %s", last.epoch, params.epochs, last)
    write_results()
    if world.is_rank_zero:
        checkpoints.delete()


def main(paths: Paths, inputs: Inputs) -> None:
    """Train, together with the other processes of the run if there are any."""
    with process_group() as world:
        # A trainer keeps running when its dvc is killed, and would write into the next one's files.
        lock = process_lock(paths.checkpoints / "lock")
        with lock if world.is_rank_zero else nullcontext():
            train(paths, inputs, world)


if __name__ == "__main__":
    run_stage(main, Paths, __doc__, USES)
