"""The step written out, held against PyTorch's own."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the name that PyTorch's own documentation gives it
from conftest import Digits

from stages.autoencoder import ACTIVATIONS, Autoencoder, noisy, unit
from stages.step import BETAS, EPS, AdamW, Step, flatten


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
    flat = flatten(written)
    step = Step(written, AdamW(flat, weight_decay=0.02), batch_size, noise)
    step.generator.manual_seed(5)
    generator = torch.Generator().manual_seed(5)
    theirs = torch.optim.AdamW(plain.parameters(), lr=1e-3, betas=BETAS, eps=EPS, weight_decay=0.02)
    for rows in torch.randperm(len(images)).split(batch_size)[:3]:
        loss = step(images, rows, 1e-3)
        x = unit(images[rows])
        expected = F.binary_cross_entropy_with_logits(plain(noisy(x, noise, generator)), x)
        theirs.zero_grad()
        (expected * x.numel()).backward()
        for mine, other in zip(written.parameters(), plain.parameters(), strict=True):
            assert mine.grad is not None
            assert other.grad is not None
            scale = other.grad.abs().max().item()
            assert torch.allclose(mine.grad, other.grad, rtol=1e-5, atol=1e-6 * scale)
        theirs.step()
        # AdamW divides a gradient by its size: where it is near 0, its rounding counts.
        vector = torch.nn.utils.parameters_to_vector(plain.parameters()).detach()
        assert (flat.detach() - vector).abs().mean() < 1e-3 * 1e-3
        assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
        flat.detach().copy_(vector)


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
