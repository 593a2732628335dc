"""The step written out, held against that of autograd."""

import copy

import numpy as np
import pytest
import torch
from conftest import Digits

from stages.shared.autoencoder import ACTIVATIONS, Autoencoder, noisy, unit
from stages.shared.distributed import SharedStep
from stages.shared.step import AdamW, Step, flatten


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("batch_size", [1, 20, 64])
@pytest.mark.parametrize("noise", [0, 0.5])
def test_steps_are_those_of_autograd(
    train_digits: Digits, activation: str, batch_size: int, noise: float
) -> None:
    images = torch.from_numpy(train_digits[1].reshape(-1, 784))
    written = Autoencoder(9, activation)
    written.initialise(unit(images).mean(0), torch.Generator().manual_seed(0))
    plain = copy.deepcopy(written)
    mine, theirs = (AdamW(flatten(model), weight_decay=0.02) for model in (written, plain))
    step, reference = Step(written, mine, batch_size, noise), SharedStep(plain, theirs, noise)
    for generator in (step.generator, reference.generator):
        generator.manual_seed(5)
    for rows in torch.randperm(len(images)).split(batch_size)[:3]:
        loss = step(images, rows, 1e-3)
        assert loss.item() == pytest.approx(reference(images, rows, 1e-3).item(), rel=1e-6)
        for one, other in zip(written.parameters(), plain.parameters(), strict=True):
            assert one.grad is not None
            assert other.grad is not None
            scale = other.grad.abs().max().item()
            assert torch.allclose(one.grad, other.grad, rtol=1e-5, atol=1e-6 * scale)
        # AdamW divides a gradient by its size: where it is near 0, its rounding counts.
        assert (mine.weights - theirs.weights).abs().mean() < 1e-3 * 1e-3
        mine.weights.copy_(theirs.weights)


def test_noise_is_uniform_and_ends_at_white() -> None:
    grey = torch.full((1, 100_000), 0.7)
    seen = noisy(grey, 0.4, torch.Generator().manual_seed(0)).numpy()
    assert seen.min() >= np.float32(0.7)
    assert (seen == 1).mean() == pytest.approx(0.25, abs=0.01)
    below = np.sort(seen[seen < 1])
    assert np.quantile(below, [0.25, 0.5, 0.75]) == pytest.approx([0.775, 0.85, 0.925], abs=3e-3)


def test_without_noise_no_memory_is_spent_on_it(train_digits: Digits) -> None:
    images = torch.from_numpy(train_digits[1].reshape(-1, 784))
    model = Autoencoder(9, "sigmoid")
    step = Step(model, AdamW(flatten(model), weight_decay=0.02), 20)
    state = step.generator.get_state()
    step(images, torch.arange(20), 1e-3)
    assert step.layers[0].x is step.target
    assert torch.equal(step.generator.get_state(), state)
