"""The benchmark of steps: the limit it compares with."""

import torch
from helpers.networks import network, parameters
from helpers.recorder import products
from torch import Tensor

from autoencoder.network.numerics import configure_numerics
from autoencoder.network.step import Step
from autoencoder.network.trainer import Trainer
from benchmarks.steps import product_actions, step_products


def small_step(images: Tensor) -> Step:
    trainer = Trainer(network(images, z_size=8), images, images, parameters(batch_size=16))
    assert isinstance(trainer.train_step, Step)
    return trainer.train_step


def test_limit_has_the_products_of_a_step(images: Tensor) -> None:
    step = small_step(images)
    shapes = [shapes[-2:] for shapes in products(lambda: step(torch.arange(16), 0.0))]
    assert shapes == [[a.shape, b.shape] for a, b, _ in step_products(step)]


def test_every_library_computes_the_products(images: Tensor) -> None:
    step = small_step(images)
    step(torch.arange(16), 0.0)
    limit = step_products(step)
    actions = product_actions(limit, configure_numerics())
    assert len(actions) >= 2
    # A product may be a factor of another, so each is computed alone.
    for product in limit:
        a, b, result = product
        expected = a.double() @ b.double()
        for compute in product_actions([product], configure_numerics()).values():
            result.fill_(torch.nan)
            compute()
            assert torch.allclose(result.double(), expected, rtol=0, atol=1e-3)
