"""The benchmark of training: the limit it compares with, and its processes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.digits import Digits, named
from helpers.networks import network, parameters
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from autoencoder.data import table
from autoencoder.network.numerics import configure_numerics
from autoencoder.network.step import flatten
from autoencoder.network.trainer import Trainer
from benchmarks import measure, training
from benchmarks.recipe import plain_network

Shapes = tuple[Sequence[int], Sequence[int]]


class RecordProducts(TorchDispatchMode):
    """Record the shapes of the matrices that are multiplied."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.shapes: list[Shapes] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket in (torch.ops.aten.mm, torch.ops.aten.addmm):
            self.shapes.append((args[-2].shape, args[-1].shape))
        return func(*args, **(kwargs or {}))


def test_limit_has_the_products_of_a_step(images: Tensor) -> None:
    trainer = Trainer(network(images, z_size=8), images, images, parameters(batch_size=16))
    with RecordProducts() as record:
        trainer.train_step(torch.arange(16), 0.0)
    model = plain_network((512, 256), 8)
    flatten(model)
    products = training.step_products(model, 16)
    assert sorted(record.shapes) == sorted((a.shape, b.shape) for a, b, _ in products)


def test_every_library_computes_the_products() -> None:
    model = plain_network((512, 256), 8)
    flatten(model)
    products = training.step_products(model, 16)
    actions = training.product_actions(products, configure_numerics())
    assert len(actions) >= 2
    for compute in actions.values():
        for _, _, result in products:
            result.fill_(torch.nan)
        compute()
        for a, b, result in products:
            torch.testing.assert_close(result.double(), a.double() @ b.double(), rtol=0, atol=1e-3)


@pytest.mark.slow
@pytest.mark.process
def test_epochs_in_other_processes(
    train_digits: Digits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "EPOCH_ROUNDS", 1)
    monkeypatch.setattr(measure, "PAUSE_S", 0.0)
    path = tmp_path / "train.csv"
    table.write(path, [named(train_digits)])
    params = parameters(z_size=8, activation="sigmoid", validation_fraction=0.1)
    busy, both = training.measure_shared_machine(path, params)
    for *_, ratio, _ in (busy, both):
        median, low, high = (float(part.strip("()")) for part in ratio.replace(" to", "").split())
        assert 0 < low <= median <= high
