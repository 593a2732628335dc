"""Training: the split, the schedule, the step, early stopping, and what goes wrong."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the name that PyTorch's own documentation gives it
from conftest import Digits, parameters
from torch import Tensor

from stages import InputError
from stages.autoencoder import Autoencoder, errors, unit
from stages.train import BETAS, Epoch, choose_device, fit, learning_rate, split


@pytest.fixture(scope="session")
def rows(train_digits: Digits) -> Tensor:
    return torch.from_numpy(train_digits[1].reshape(-1, 784))


@pytest.fixture
def parts(rows: Tensor) -> tuple[Tensor, Tensor]:
    return split(rows, 0.1, seed=0)


def network(rows: Tensor, seed: int = 0) -> Autoencoder:
    model = Autoencoder(8, "sigmoid")
    model.initialise(unit(rows).mean(0), torch.Generator().manual_seed(seed))
    return model


def test_split_takes_every_row_once() -> None:
    numbered = torch.arange(100, dtype=torch.uint8)[:, None]
    training, validation = split(numbered, 0.1, seed=0)
    assert (len(training), len(validation)) == (90, 10)
    assert sorted(torch.cat([training, validation]).flatten().tolist()) == list(range(100))
    assert torch.equal(split(numbered, 0.1, seed=0)[1], validation)
    assert not torch.equal(split(numbered, 0.1, seed=1)[1], validation)
    assert len(split(numbered, 0.001, seed=0)[1]) == 1


def test_learning_rate_rises_to_the_peak_and_falls_to_zero() -> None:
    rates = np.array([learning_rate(done, 2.0) for done in np.linspace(0, 1, 1001)])
    assert rates[0] == rates[-1] == 0
    assert rates.max() == pytest.approx(2)
    assert rates.argmax() == 50
    assert (np.diff(rates[:51]) > 0).all()
    assert (np.diff(rates[50:]) < 0).all()


def test_an_epoch_is_plain_adamw_on_the_mean_bce(parts: tuple[Tensor, Tensor]) -> None:
    """The loop held against the plainest way to write it, to rounding."""
    training, validation = parts
    params = parameters(epochs=1)
    ours, plain = network(training), network(training)
    (epoch,) = fit(ours, training, validation, params)

    batches = len(training) // 20
    optimizer = torch.optim.AdamW(
        plain.parameters(), betas=BETAS, eps=1e-12 / 784, weight_decay=0.01
    )
    order = np.random.default_rng((0, 1)).permutation(len(training))
    losses = []
    for step in range(batches):
        x = unit(training[order[step * 20 : (step + 1) * 20]])
        loss = F.binary_cross_entropy(plain.decode(plain.encode(x)), x)
        optimizer.param_groups[0]["lr"] = learning_rate((step + 1) / (batches + 1), 5e-3)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())

    assert epoch.train == pytest.approx(np.mean(losses), rel=1e-4)
    assert epoch.validation == pytest.approx(errors(plain, validation)[0].mean().item(), rel=1e-3)


def test_same_seed_same_weights_other_seed_others(parts: tuple[Tensor, Tensor]) -> None:
    def trained(seed: int) -> Tensor:
        model = network(parts[0])
        list(fit(model, *parts, parameters(seed=seed, epochs=2)))
        return torch.cat([p.flatten() for p in model.parameters()])

    assert torch.equal(trained(0), trained(0))
    assert not torch.equal(trained(0), trained(1))


def test_the_loss_falls(parts: tuple[Tensor, Tensor]) -> None:
    model = network(parts[0])
    before = errors(model, parts[1])[0].mean().item()
    history = list(fit(model, *parts, parameters(epochs=5)))
    assert [epoch.epoch for epoch in history] == [1, 2, 3, 4, 5]
    assert history[-1].validation < 0.7 * before


def test_early_stopping_brings_the_best_weights_back(parts: tuple[Tensor, Tensor]) -> None:
    training, validation = parts
    # Few rows and a high learning rate: the network learns them by heart, and validation rises.
    params = parameters(epochs=60, patience=3, batch_size=10, learning_rate=0.02)
    model = network(training)
    history: list[Epoch] = []
    at_epoch = []
    for epoch in fit(model, training[:20], validation, params):
        history.append(epoch)
        at_epoch.append(copy.deepcopy(model.state_dict()))

    best = min(range(len(history)), key=lambda index: history[index].validation)
    assert len(history) == best + 1 + 3 < 60
    assert errors(model, validation)[0].mean().item() == history[best].validation
    for name, value in model.state_dict().items():
        assert torch.equal(value, at_epoch[best][name])
    assert not torch.equal(at_epoch[best]["encoder.0.bias"], at_epoch[-1]["encoder.0.bias"])


def test_patience_zero_never_stops(parts: tuple[Tensor, Tensor]) -> None:
    params = parameters(epochs=25, batch_size=10, learning_rate=0.02)
    assert len(list(fit(network(parts[0]), parts[0][:20], parts[1], params))) == 25


def test_a_batch_larger_than_the_data_is_an_error(parts: tuple[Tensor, Tensor]) -> None:
    with pytest.raises(InputError, match="batch_size is 541, expected at most the 540 training"):
        list(fit(network(parts[0]), *parts, parameters(batch_size=541)))


def test_divergence_is_an_error_that_names_epoch_and_step(parts: tuple[Tensor, Tensor]) -> None:
    model = network(parts[0])
    epochs = fit(model, *parts, parameters())
    next(epochs)
    with torch.no_grad():
        next(model.parameters()).fill_(torch.nan)
    with pytest.raises(InputError, match="the loss is nan in epoch 2, step 1; try a learning_rate"):
        next(epochs)


def test_device() -> None:
    present = "cuda" if torch.cuda.is_available() else "cpu"
    if torch.backends.mps.is_available():
        present = "mps"
    assert choose_device("auto").type == present
    assert choose_device("cpu").type == "cpu"
    absent = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    for name in [name for name, there in absent.items() if not there]:
        with pytest.raises(InputError, match=f"device is {name}, which this machine has not"):
            choose_device(name)
