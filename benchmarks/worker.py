"""Trainings in other processes, epoch by epoch, and our own to start there."""

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import torch
from torch import Tensor

from autoencoder.base.params import Params
from autoencoder.data import table
from autoencoder.network.numerics import configure_numerics
from autoencoder.network.trainer import Trainer, build_network, split_validation
from benchmarks.measure import seconds

# Parameters for training any number of epochs.
ENDLESS = {"epochs": 10_000, "patience": 0}


class Worker:
    """A process that trains an epoch whenever it is asked to.

    Parameters
    ----------
    target : callable
        Receives a connection and `arguments`. For each True from the connection it trains an epoch
        and sends a result; it returns when it receives False.
    arguments
        Must be picklable.
    """

    def __init__(self, target: Callable[..., None], *arguments: object) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, child = context.Pipe()
        self._process = context.Process(target=target, args=(child, *arguments), daemon=True)
        self._process.start()
        child.close()  # so that `finish_epoch` fails if the process has ended

    def start_epoch(self) -> None:
        """Start an epoch without waiting for it."""
        self._connection.send(True)

    def finish_epoch(self) -> tuple[float, ...]:
        """Wait for the end of the epoch and return what the process has sent."""
        result: tuple[float, ...] = self._connection.recv()
        return result

    def run_epoch(self) -> tuple[float, ...]:
        """Start an epoch, wait for its end and return what the process has sent."""
        self.start_epoch()
        return self.finish_epoch()

    def stop(self) -> None:
        """End the process."""
        self._connection.send(False)
        self._process.join()


def new_trainer(params: Params, images: Tensor, device: str = "cpu") -> Trainer:
    """Make a trainer with initial weights, as the train stage does."""
    training, validation = split_validation(images, params.validation_fraction, params.seed)
    network = build_network(training, params)
    return Trainer(network.to(device), training.to(device), validation.to(device), params)


def read_images(path: Path) -> Tensor:
    """Read the images of a table: uint8, (n, 784)."""
    return torch.from_numpy(table.read(path)[1])


def train_ours(connection: Connection, path: Path, params: Params) -> None:
    """Train as the train stage does, as a target of `Worker`; sends the seconds of each epoch."""
    configure_numerics()
    trainer = new_trainer(params.model_copy(update=ENDLESS), read_images(path))
    while connection.recv():
        connection.send((seconds(trainer.run_epoch),))
