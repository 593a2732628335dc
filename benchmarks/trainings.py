"""Trainings: as the train stage trains, and by the plain recipe that this project started from."""

import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from multiprocessing.managers import BaseManager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from autoencoder.data.table import read
from autoencoder.network.distributed import AutogradStep
from autoencoder.network.metrics import per_image_losses
from autoencoder.network.model import Autoencoder
from autoencoder.network.trainer import Trainer, build_network, split_validation
from benchmarks.measuring import DATA, RAW, current_params


@cache
def read_images(name: str) -> Tensor:
    """Read the images of a table, train or test: uint8, (n, 784)."""
    _, images = read(DATA / f"{name}.csv")
    return torch.from_numpy(images)


def test_bce(network: Autoencoder) -> float:
    """Compute the mean BCE of the test images."""
    bce, _ = per_image_losses(network, read_images("test"))
    return bce.mean().item()


def new_trainer(**changes: Any) -> Trainer:
    """Make a trainer as the train stage does, with changes to the parameters; device is cpu."""
    params = current_params(**{"device": "cpu", **changes})
    images = read_images("train")
    training, validation = split_validation(images, params.validation_fraction, params.seed)
    network = build_network(training, params).to(params.device)
    return Trainer(network, training.to(params.device), validation.to(params.device), params)


def autograd_step(trainer: Trainer) -> AutogradStep:
    """Make a step through autograd for a trainer."""
    params = trainer.params
    return AutogradStep(
        trainer.network, trainer.optimizer, trainer.training, params.batch_size, params.noise
    )


class RecipeEpoch(NamedTuple):
    """The time of an epoch, the part of it that loading took, in seconds, and the test BCE."""

    seconds: float
    loading: float
    bce: float


def recipe(device: str, initialised: bool) -> Iterator[RecipeEpoch]:
    """Train by the plain recipe, or by it with this project's initialisation.

    A sigmoid network with PyTorch's defaults, also of AdamW, torchvision's MNIST and a DataLoader.
    """
    # Not among the imports: what it imports complains at the end if it was not collected.
    from torchvision import datasets, transforms

    params = current_params()
    torch.manual_seed(params.seed)
    plain = Autoencoder(params.hidden_sizes, params.z_size, "sigmoid")
    network = new_trainer(activation="sigmoid").network if initialised else plain
    model = nn.Sequential(network, nn.Sigmoid()).to(device)
    criterion = nn.BCELoss()
    optimizer = torch.optim.AdamW(model.parameters())
    transform = transforms.Compose([transforms.Grayscale(), transforms.ToTensor(), torch.flatten])
    train, test = (datasets.MNIST(RAW, train, transform) for train in (True, False))
    test_images = torch.stack([image for image, _ in test]).to(device)
    while True:
        computing = 0.0
        start = time.perf_counter()
        for images, _ in DataLoader(train, params.batch_size, shuffle=True):
            loaded = time.perf_counter()
            x = images.to(device)
            loss = criterion(model(x), x)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            computing += time.perf_counter() - loaded
        loss.item()  # waits for the GPU
        duration = time.perf_counter() - start
        with torch.no_grad():
            bce = criterion(model(test_images), test_images).item()
        yield RecipeEpoch(duration, duration - computing, bce)


class RecipeManager(BaseManager):
    """Runs `recipe` in a process of its own."""


RecipeManager.register("recipe", recipe, exposed=["__next__"])


@contextmanager
def recipe_process(
    device: str = "cpu", initialised: bool = False
) -> Iterator[Iterator[RecipeEpoch]]:
    """Start a process for `recipe`, which trains an epoch each time the next one is asked for."""
    with RecipeManager(ctx=multiprocessing.get_context("spawn")) as manager:
        yield manager.recipe(device, initialised)  # type: ignore[attr-defined]
