"""The manual step, compared with autograd, and recorded, as it is for a GPU."""

import copy
import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import get_args

import numpy as np
import pytest
import torch
from helpers.networks import network
from helpers.recorder import Recorder
from torch import Tensor

from autoencoder.base.params import Activation
from autoencoder.network import step as step_module
from autoencoder.network.distributed import AutogradStep
from autoencoder.network.model import add_noise
from autoencoder.network.step import BETAS, EPS, AdamW, Step

pytestmark = pytest.mark.usefixtures("only_linear_layers")


def check_steps(images: Tensor, activation: Activation, batch_size: int, noise: float) -> None:
    """Hold some steps against those of autograd, on the device of the images."""
    device = images.device
    hidden_sizes = (64, 32) if device.type == "cpu" else (512, 256)
    written = network(images.cpu(), 9, activation, hidden_sizes=hidden_sizes).to(device)
    plain = copy.deepcopy(written)
    mine, theirs = (AdamW(model, weight_decay=0.02) for model in (written, plain))
    step = Step(written, mine, images, batch_size, noise)
    reference = AutogradStep(plain, theirs, images, batch_size, noise)
    for generator in (step.generator, reference.generator):
        generator.manual_seed(5)
    for rows in torch.randperm(len(images), device=device).split(batch_size)[:3]:
        loss = step(rows, 1e-3)
        assert loss.item() == pytest.approx(reference(rows, 1e-3).item(), rel=1e-6), (
            "step.py does not compute the network of model.py: see docs/development.md"
        )
        for one, other in zip(written.parameters(), plain.parameters(), strict=True):
            assert one.grad is not None
            assert other.grad is not None
            scale = other.grad.abs().max().item()
            assert torch.allclose(one.grad, other.grad, rtol=1e-5, atol=1e-6 * scale)
        # AdamW divides a gradient by its size: where it is near 0, its rounding counts.
        assert (mine.weights - theirs.weights).abs().mean() < 1e-3 * 1e-3
        mine.weights.copy_(theirs.weights)


@pytest.mark.parametrize("activation", get_args(Activation))
@pytest.mark.parametrize(("batch_size", "noise"), [(1, 0.5), (20, 0), (64, 0.5)])
def test_steps_are_those_of_autograd(
    images: Tensor, activation: Activation, batch_size: int, noise: float
) -> None:
    check_steps(images, activation, batch_size, noise)


def check_on_gpu(images: Tensor) -> None:
    for activation in get_args(Activation):
        for noise in (0, 0.5):
            check_steps(images.cuda(), activation, 64, noise)


@pytest.mark.process
@pytest.mark.skipif(torch.cuda.device_count() == 0, reason="there is no NVIDIA GPU")
def test_steps_on_a_gpu_are_those_of_autograd(images: Tensor) -> None:
    # In another process: other tests fork this one, which CUDA does not survive. Nor does it
    # survive `is_available`, so that tests ask for `device_count`.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        process.submit(check_on_gpu, images).result()


def record(work: Callable[[], object], generator: torch.Generator) -> Callable[[], object]:
    """What `cuda_graph` does, on the CPU."""
    work()
    recorder = Recorder()
    with recorder:
        work()
    assert 30 < len(recorder.operations) < 100
    return recorder.replay


@pytest.mark.parametrize("activation", get_args(Activation))
@pytest.mark.parametrize("noise", [0, 0.5])
def test_recorded_steps_have_the_same_bytes(
    images: Tensor, activation: Activation, noise: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step_module, "cuda_graph", record)
    steps = []
    for recorded in (False, True):
        model = network(images, 9, activation)
        steps.append(Step(model, AdamW(model, weight_decay=0.02), images, 20, noise))
        if recorded:
            steps[1].capture_graph()
        steps[-1].generator.manual_seed(5)
    for number, rows in enumerate(torch.randperm(len(images)).split(20)[:5]):
        losses = [step(rows, 1e-3 * (number + 1)).item() for step in steps]
        assert losses[0] == losses[1]
        assert torch.equal(*(step.optimizer.weights for step in steps))
    assert steps[1]._run_step != steps[1]._train_step


def test_adamw_is_that_of_torch() -> None:
    torch.manual_seed(0)
    mine = AdamW(torch.nn.Linear(30, 20), weight_decay=0.5)
    theirs = torch.nn.Parameter(mine.weights.clone())
    optimizer = torch.optim.AdamW([theirs], 1e-2, BETAS, EPS, weight_decay=0.5)
    mine.learning_rate.fill_(1e-2)
    for _ in range(3):
        mine.gradient.copy_(torch.randn(len(theirs)))
        theirs.grad = mine.gradient.clone()
        mine.step()
        optimizer.step()
        assert torch.allclose(mine.weights, theirs, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("noise", [0, 0.5])
def test_the_gradient_of_the_first_batch_is_repeatable(images: Tensor, noise: float) -> None:
    model = network(images)
    step = Step(model, AdamW(model, weight_decay=0.02), images, 20, noise)
    before = step.optimizer.weights.clone()
    first = step.gradient().clone()
    assert torch.equal(step.gradient(), first)
    assert torch.equal(step.optimizer.weights, before)


def test_noise_is_uniform_and_ends_at_white() -> None:
    grey = torch.full((1, 100_000), 0.7)
    seen = add_noise(grey, 0.4, torch.Generator().manual_seed(0)).numpy()
    assert seen.min() >= np.float32(0.7)
    assert (seen == 1).mean() == pytest.approx(0.25, abs=0.01)
    below = np.sort(seen[seen < 1])
    assert np.quantile(below, [0.25, 0.5, 0.75]) == pytest.approx([0.775, 0.85, 0.925], abs=3e-3)


def test_without_noise_no_memory_is_spent_on_it(images: Tensor) -> None:
    model = network(images)
    step = Step(model, AdamW(model, weight_decay=0.02), images, 20)
    state = step.generator.get_state()
    step(torch.arange(20), 1e-3)
    assert step.layers[0].x is step.target
    assert torch.equal(step.generator.get_state(), state)


@torch.no_grad()
def test_the_mean_over_images_is_in_double_precision(images: Tensor) -> None:
    model = network(images)
    step = Step(model, AdamW(model, weight_decay=0.02), images, 20)
    step.rows.copy_(torch.arange(20))
    step._forward()
    step._compute_loss()
    assert step.loss.item() == step.layers[-1].a.mean(1).double().mean().item()


def test_both_steps_have_the_gradient_of_the_first_batch(images: Tensor) -> None:
    gradients = []
    for kind in (Step, AutogradStep):
        model = network(images)
        step = kind(model, AdamW(model, weight_decay=0.02), images, 20)
        step(torch.arange(20, 40), 0.0)
        gradients += [step.gradient().clone(), step.gradient().clone()]
    assert torch.equal(gradients[2], gradients[3])
    assert torch.allclose(gradients[0], gradients[2], rtol=1e-4, atol=1e-5)
