"""Train the autoencoder on the training table and keep the weights of its best epoch.

An interrupted run resumes after its last complete epoch when the stage is run again with the same
parameters, data, code and machine, and ends with the same bytes. With several processes, only
rank 0 logs and writes; all of them read the table.
"""

import argparse
import logging
import sys
from contextlib import nullcontext

import torch
from tqdm import tqdm

from autoencoder.base.cli import parse_paths, run
from autoencoder.base.errors import UserError
from autoencoder.base.files import file_digest, process_lock
from autoencoder.data import table
from autoencoder.network import checkpoint
from autoencoder.network.distributed import World, process_group
from autoencoder.network.losses import write_losses
from autoencoder.network.model import build_model
from autoencoder.network.numerics import choose_device, configure_numerics, describe_environment
from autoencoder.network.threads import available_cores
from autoencoder.network.trainer import Trainer, split_validation

log = logging.getLogger(__name__)

USES = [
    *("z_size", "activation", "seed", "epochs", "batch_size", "learning_rate", "weight_decay"),
    *("noise", "validation_fraction", "patience", "device"),
]


def train(paths: argparse.Namespace, world: World) -> None:
    """Read the training table; write the losses after each epoch, and the model at the end."""
    params = paths.inputs.params
    log.disabled = not world.is_rank_zero
    products = configure_numerics()
    if world.local_world_size > (cores := available_cores()):
        log.warning("%d processes oversubscribe %d cores", world.local_world_size, cores)
    device = choose_device(params.device, world)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    # The table's array is not named, so that its memory is freed after the split.
    training, validation = split_validation(
        torch.from_numpy(table.read(paths.table)[1]), params.validation_fraction, params.seed
    )
    model = build_model(training, params.z_size, params.activation, params.seed).to(device)
    trainer = Trainer(model, training.to(device), validation.to(device), params, world)

    lineage = {
        "parameters": params.model_dump(),
        "processes": world.world_size,
        **{"train_md5": file_digest(paths.table, "md5"), "code": paths.inputs.code},
        "mean_border": round(table.mean_border(training.numpy()), 2),
        **describe_environment(device, products),
    }
    # Different processors may train together, although they round differently.
    local = {"device": device.type, "processor": None, "instructions": None, "products": None}
    world.check_same({**lineage, **local})
    if world.is_rank_zero and (state := checkpoint.load(paths.checkpoint, lineage)) is not None:
        trainer.restore(state)
        log.info("resuming after epoch %d", len(trainer.history))
    world.broadcast(trainer.state().values())
    log.info("training on %s, matrix products by %s", device, products)

    def write_results() -> None:
        paths.inputs.check_unchanged()
        if not world.is_rank_zero:
            return
        write_losses(paths.losses, trainer.history)
        trainer.restore_best()
        model.cpu().save(paths.model, {**lineage, "best_epoch": trainer.best.epoch})
        log.info(
            "%s: weights of epoch %d, validation BCE %.5f",
            *(paths.model, trainer.best.epoch, trainer.best.validation),
        )

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
            checkpoint.save(paths.checkpoint, trainer.state(), lineage)
            write_losses(paths.losses, trainer.history)
            bar.set_postfix(epoch=last.epoch, train=last.train, validation=last.validation)
            if bar.disable:
                log.info(
                    "epoch %2d of %d: BCE %.5f, validation %.5f",
                    *(last.epoch, params.epochs, last.train, last.validation),
                )
    write_results()
    if world.is_rank_zero:
        paths.checkpoint.unlink(missing_ok=True)


def main() -> None:
    """Train, together with the other processes of the run if there are any."""
    paths = parse_paths(
        __doc__,
        reads={"table": "training table, CSV"},
        writes={
            "losses": "BCE of each epoch, CSV: epoch, train, validation",
            "model": "trained network, safetensors",
            "checkpoint": "state to resume an interrupted run from; deleted at the end",
        },
        uses=USES,
    )
    with process_group() as world:
        # A trainer keeps running when its dvc is killed, and would write into the next one's files.
        lock = process_lock(paths.checkpoint.with_suffix(".lock"))
        with lock if world.is_rank_zero else nullcontext():
            train(paths, world)


if __name__ == "__main__":
    run(main)
