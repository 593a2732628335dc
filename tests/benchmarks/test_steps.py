"""The benchmark of steps: the limit it compares with."""

from collections.abc import Sequence
from typing import Any

import torch
from helpers.networks import network, parameters
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from autoencoder.network.numerics import configure_numerics
from autoencoder.network.step import Step
from autoencoder.network.trainer import Trainer
from benchmarks.steps import product_actions, step_products

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


def small_step(images: Tensor) -> Step:
    trainer = Trainer(network(images, z_size=8), images, images, parameters(batch_size=16))
    assert isinstance(trainer.train_step, Step)
    return trainer.train_step


def test_limit_has_the_products_of_a_step(images: Tensor) -> None:
    step = small_step(images)
    with RecordProducts() as record:
        step(torch.arange(16), 0.0)
    assert record.shapes == [(a.shape, b.shape) for a, b, _ in step_products(step)]


def test_every_library_computes_the_products(images: Tensor) -> None:
    step = small_step(images)
    step(torch.arange(16), 0.0)
    products = step_products(step)
    actions = product_actions(products, configure_numerics())
    assert len(actions) >= 2
    # A product may be a factor of another, so each is computed alone.
    for product in products:
        a, b, result = product
        expected = a.double() @ b.double()
        for compute in product_actions([product], configure_numerics()).values():
            result.fill_(torch.nan)
            compute()
            torch.testing.assert_close(result.double(), expected, rtol=0, atol=1e-3)
