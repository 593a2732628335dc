"""The recipe that this project started from: a plain PyTorch loop."""

import time
from collections.abc import Iterator, Sequence
from itertools import pairwise
from multiprocessing.connection import Connection
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from autoencoder.base.params import Params
from autoencoder.data.table import PIXELS


def plain_network(hidden_sizes: Sequence[int], z_size: int) -> nn.Sequential:
    """Make the network of the plain recipe: all sigmoid, PyTorch's default initialisation."""
    layers: list[nn.Module] = [nn.Flatten()]
    sizes = [PIXELS, *hidden_sizes, z_size, *reversed(hidden_sizes), PIXELS]
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.Sigmoid()]
    return nn.Sequential(*layers)


def train_recipe(
    connection: Connection,
    raw: Path,
    params: Params,
    device: str = "cpu",
) -> None:
    """Train by the recipe that this project started from, as a target of `Worker`.

    A plain PyTorch loop with the defaults of AdamW, torchvision's MNIST and a DataLoader. For each
    epoch it sends the seconds, those of them spent on loading, and the test BCE after it.
    """
    torch.manual_seed(params.seed)
    model = plain_network(params.hidden_sizes, params.z_size).to(device)
    criterion = nn.BCELoss()
    optimizer = torch.optim.AdamW(model.parameters())
    # Not among the imports: what it imports complains at the end if it was not collected.
    from torchvision import datasets, transforms

    transform = transforms.Compose([transforms.Grayscale(), transforms.ToTensor()])
    train, test = (datasets.MNIST(str(raw), train, transform) for train in (True, False))
    training = DataLoader(train, params.batch_size, shuffle=True)
    testing = DataLoader(test, params.batch_size)

    def load(loader: DataLoader[tuple[Tensor, Tensor]]) -> Iterator[Tensor]:
        return (images.to(device) for images, _ in loader)

    while connection.recv():
        computing = 0.0
        start = time.perf_counter()
        for images in load(training):
            loaded = time.perf_counter()
            loss = criterion(model(images), images.flatten(1))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            computing += time.perf_counter() - loaded
        loss.item()  # waits for the GPU
        epoch = time.perf_counter() - start
        with torch.no_grad():
            bce = sum(
                len(images) * criterion(model(images), images.flatten(1)).item()
                for images in load(testing)
            ) / len(test)
        connection.send((epoch, epoch - computing, bce))
