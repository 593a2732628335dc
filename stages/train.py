"""Train the autoencoder on the training table, and keep the weights of its best epoch.

A run that was stopped goes on after its last whole epoch when the stage is run again with the same
parameters, data, code and machine, and ends with the same bytes. Of several
processes, the first one logs and writes; all of them read the table.
"""

import hashlib
import json
import logging
import os
import platform
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from autoencoder.errors import UserError
from autoencoder.network import checkpoint
from autoencoder.data import table
from autoencoder.network.model import Autoencoder
from autoencoder.cli import parse, run
from autoencoder.network.distributed import ALONE, Processes, joined
from autoencoder.files import replacing, sha256
from autoencoder.network.trainer import Trainer

log = logging.getLogger(__name__)


def split(images: Tensor, fraction: float, seed: int) -> tuple[Tensor, Tensor]:
    """Draw the validation rows from the rows of the training table.

    Parameters
    ----------
    images : uint8 tensor of shape (n, 784)
    fraction : float
        Share of the rows to hold out, between 0 and 1; at least one row is.
    seed : int

    Returns
    -------
    training, validation : uint8 tensors of shape (n - v, 784) and (v, 784)
    """
    order = torch.from_numpy(np.random.default_rng((seed, 0)).permutation(len(images)))
    held_out = max(1, round(fraction * len(images)))
    return images[order[held_out:]], images[order[:held_out]]


def initial(training: Tensor, z_size: int, activation: str, seed: int) -> Autoencoder:
    """Make a network with initial weights for training images, a uint8 tensor (n, 784)."""
    model = Autoencoder(z_size, activation)
    # NumPy's sum: that of PyTorch would first make a copy of all images as int64.
    total = torch.from_numpy(training.numpy().sum(0, dtype=np.int64))
    mean = total / (255 * len(training))
    model.initialise(mean, torch.Generator().manual_seed(seed))
    return model


def choose_device(name: str, processes: Processes = ALONE) -> torch.device:
    """Return the device that the parameter `device` names, for this one of the processes.

    auto takes the GPUs where this machine has one for each process.

    Raises
    ------
    UserError
        If this machine has no such device.
    """
    there = {
        "cuda": torch.cuda.device_count() >= processes.local_count,
        "mps": torch.backends.mps.is_available() and processes.count == 1,
        "cpu": True,
    }
    if name == "auto":
        name = next(device for device, present in there.items() if present)
    if not there[name]:
        each = f" for {processes.local_count} processes" if processes.count > 1 else ""
        raise UserError(
            f"params.yaml: device is {name}, which this machine has not{each}; try auto"
        )
    return torch.device(f"cuda:{processes.local_rank}" if name == "cuda" else name)


def set_arithmetic(threads: int) -> None:
    """Make what this process computes depend on as little as possible of what is around it.

    Denormal numbers, those below 1e-38, count as 0: what AdamW keeps of pixels that are hardly ever
    lit decays into them, and processors handle them slowly. Products of matrices are float32's,
    even where the environment asks for coarser ones (TORCH_ALLOW_TF32_CUBLAS_OVERRIDE).

    Parameters
    ----------
    threads : int
        Of the CPU; the order of sums depends on it.
    """
    torch.set_flush_denormal(True)
    torch.set_num_threads(threads)
    torch.set_float32_matmul_precision("highest")


def code() -> dict[str, str]:
    """SHA-256 of each module of ours that is loaded, by its file in this package."""
    ours = [
        module
        for name, module in sys.modules.items()
        if name == "__main__" or name.partition(".")[0] == "stages"
    ]
    files = {Path(str(module.__file__)) for module in ours}
    folder = Path(__file__).parent
    return {str(file.relative_to(folder)): sha256(file) for file in sorted(files)}


def train(processes: Processes) -> None:
    """Read the training table; train; write the losses at each epoch, and in the end the model."""
    paths, params = parse(
        __doc__,
        reads={"table": "training table, CSV"},
        writes={
            "losses": "BCE of each epoch, CSV: epoch, train, validation",
            "model": "the trained network, safetensors",
            "checkpoint": "what a stopped run goes on from; removed in the end",
        },
        uses=[
            *("z_size", "activation", "seed", "epochs", "batch_size", "learning_rate"),
            *("weight_decay", "noise", "validation_fraction", "patience", "device", "threads"),
        ],
    )
    first = processes.rank == 0
    log.disabled = not first
    set_arithmetic(params.threads)
    cores = os.cpu_count() or 1
    if processes.count > 1 and processes.local_count * params.threads > cores:
        log.warning(
            "%d processes with threads: %d slow one another down on %d cores",
            *(processes.local_count, params.threads, cores),
        )
    device = choose_device(params.device, processes)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    # Under no name, so that the table's array is gone once its rows are split.
    training, validation = split(
        torch.from_numpy(table.read(paths.table)[1]), params.validation_fraction, params.seed
    )
    model = initial(training, params.z_size, params.activation, params.seed).to(device)
    trainer = Trainer(model, training.to(device), validation.to(device), params, processes)

    lineage = {
        "parameters": params.model_dump(),
        "processes": processes.count,
        "table_sha256": sha256(paths.table),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "instructions": torch.backends.cpu.get_cpu_capability(),
    }
    run_facts = {"lineage": lineage, "code": code()}
    # Processors of another kind may train together, though each rounds in its own way.
    shared = run_facts | {"lineage": {**lineage, "device": device.type, "instructions": None}}
    if processes.differ(hashlib.sha256(json.dumps(shared).encode()).digest()):
        raise UserError(
            "the processes differ in parameters, table, code, packages or device; bring each "
            "machine to the same commit, and `dvc pull`"
        )
    if first and (state := checkpoint.load(paths.checkpoint, run_facts)) is not None:
        trainer.restore(state)
        log.info("going on after epoch %d of a run that was stopped", len(trainer.history))
    processes.broadcast(trainer.state().values())

    def write_losses() -> None:
        with replacing(paths.losses) as partial:
            losses = pd.DataFrame([asdict(epoch) for epoch in trainer.history])
            losses.to_csv(partial, index=False, float_format="%.6f")

    def write_model() -> None:
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
        disable=not (first and sys.stderr.isatty()),
    ) as bar:
        while not trainer.finished:
            try:
                trainer.run_epoch(on_step=bar.update)
            except UserError:
                if first and trainer.history:
                    write_model()
                raise
            if not first:
                continue
            done = trainer.history[-1]
            checkpoint.save(paths.checkpoint, trainer.state(), run_facts)
            write_losses()
            bar.set_postfix(epoch=done.epoch, train=done.train, validation=done.validation)
            if bar.disable:
                log.info(
                    "epoch %2d of %d: BCE %.5f, validation %.5f",
                    *(done.epoch, params.epochs, done.train, done.validation),
                )
    if first:
        write_losses()
        write_model()
        paths.checkpoint.unlink(missing_ok=True)


def main() -> None:
    """Train, with the other processes of the run where there are any."""
    with joined() as processes:
        train(processes)


if __name__ == "__main__":
    run(main)
