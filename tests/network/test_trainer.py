"""The training loop: schedule, epochs, early stopping, resuming, divergence."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the name that PyTorch's own documentation gives it
from helpers.networks import parameters
from helpers.recorder import products
from torch import Tensor, nn

from autoencoder.base.errors import UserError
from autoencoder.network import distributed
from autoencoder.network.distributed import SINGLE, AutogradStep, World
from autoencoder.network.metrics import per_image_losses
from autoencoder.network.model import Autoencoder, add_noise, to_unit_range
from autoencoder.network.step import BETAS, EPS, Step
from autoencoder.network.threads import ThreadTuner
from autoencoder.network.trainer import Trainer, build_network, learning_rate, split_validation


@pytest.fixture
def parts(images: Tensor) -> tuple[Tensor, Tensor]:
    return split_validation(images, 0.1, seed=0)


def trainer(parts: tuple[Tensor, Tensor], **values: Any) -> Trainer:
    params = parameters(**values)
    return Trainer(build_network(parts[0], params), *parts, params)


def finish(trainer: Trainer) -> Trainer:
    while not trainer.finished:
        trainer.run_epoch()
    return trainer


def few(parts: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """So few rows that the network learns them by heart, and validation rises in the end."""
    return parts[0][:20], parts[1]


def weights(trained: Trainer | Autoencoder) -> Tensor:
    network = trained.network if isinstance(trained, Trainer) else trained
    return torch.cat([value.flatten() for value in network.state_dict().values()])


@pytest.mark.usefixtures("only_linear_layers")
def test_layers_that_the_manual_step_does_not_know_are_trained_by_autograd(
    parts: tuple[Tensor, Tensor],
) -> None:
    params = parameters()
    network = build_network(parts[0], params)
    assert type(Trainer(network, *parts, params).train_step) is Step
    norm = nn.LayerNorm(64)
    network.encoder.insert(1, norm)
    adapted = Trainer(network, *parts, params)
    assert type(adapted.train_step) is AutogradStep
    adapted.run_epoch()
    assert not torch.equal(norm.weight, torch.ones(64))


def test_learning_rate_rises_to_the_peak_and_falls_to_zero() -> None:
    rates = np.array([learning_rate(done, 2.0) for done in np.linspace(0, 1, 1001)])
    assert rates[0] == rates[-1] == 0
    assert rates.max() == pytest.approx(2)
    assert rates.argmax() == 50
    assert (np.diff(rates[:51]) > 0).all()
    assert (np.diff(rates[50:]) < 0).all()


def test_the_schedule_spans_all_epochs(parts: tuple[Tensor, Tensor]) -> None:
    trained = trainer(parts, epochs=2)
    rates: list[float] = []
    while not trained.finished:
        trained.run_epoch(on_step=lambda: rates.append(trained.optimizer.learning_rate.item()))
    steps = 2 * (540 // 20)
    assert rates == [learning_rate(step / (steps + 1), 5e-3) for step in range(1, steps + 1)]


def test_an_epoch_is_plain_adamw_on_the_mean_bce(parts: tuple[Tensor, Tensor]) -> None:
    """The loop matches the plainest way to write it, up to rounding."""
    training, validation = parts
    values = {"epochs": 1, "hidden_sizes": (512, 256)}
    plain = build_network(training, parameters(**values))
    (epoch,) = finish(trainer(parts, **values)).history

    batches = len(training) // 20
    optimizer = torch.optim.AdamW(plain.parameters(), betas=BETAS, eps=EPS / 784, weight_decay=0.01)
    order = np.random.default_rng((0, 1)).permutation(len(training))
    losses = []
    for step in range(batches):
        x = to_unit_range(training[order[step * 20 : (step + 1) * 20]])
        loss = F.binary_cross_entropy(plain.decode(plain.encode(x)), x)
        optimizer.param_groups[0]["lr"] = learning_rate((step + 1) / (batches + 1), 5e-3)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())

    assert epoch.train == pytest.approx(np.mean(losses), rel=1e-4)
    assert epoch.validation == pytest.approx(
        per_image_losses(plain, validation)[0].mean().item(), rel=1e-3
    )


def test_same_seed_same_weights_other_seed_others(parts: tuple[Tensor, Tensor]) -> None:
    first, again, other = (finish(trainer(parts, seed=seed, epochs=2)) for seed in (0, 0, 1))
    assert torch.equal(weights(first), weights(again))
    assert not torch.equal(weights(first), weights(other))


def test_initial_weights_depend_on_the_seed(parts: tuple[Tensor, Tensor]) -> None:
    first, again, other = (build_network(parts[0], parameters(seed=seed)) for seed in (0, 0, 1))
    assert torch.equal(weights(first), weights(again))
    assert not torch.equal(weights(first), weights(other))


def test_images_that_do_not_fill_the_last_batch_are_left_out(parts: tuple[Tensor, Tensor]) -> None:
    trained = trainer(parts, batch_size=50)
    steps: list[None] = []
    trained.run_epoch(on_step=lambda: steps.append(None))
    assert len(steps) == 540 // 50


def test_each_epoch_has_noise_of_its_own(parts: tuple[Tensor, Tensor]) -> None:
    states = []
    for seed in (0, 0, 1):
        denoiser = trainer(parts, noise=0.5, epochs=2, seed=seed)
        while not denoiser.finished:
            denoiser.run_epoch()
            states.append(denoiser.train_step.generator.get_state())
    first, second, again, _, other, _ = states
    assert torch.equal(first, again)
    assert not torch.equal(first, second)
    assert not torch.equal(first, other)


def test_a_denoiser_undoes_noise_that_other_models_keep(parts: tuple[Tensor, Tensor]) -> None:
    x = to_unit_range(parts[1])
    bce = {}
    for noise in (0, 0.5):
        model = finish(trainer(parts, noise=noise, epochs=10, learning_rate=0.02)).network
        seen = add_noise(x, 0.5, torch.Generator().manual_seed(0))
        with torch.no_grad():
            bce[noise] = F.binary_cross_entropy_with_logits(model(seen), x).item()
    assert bce[0.5] < 0.9 * bce[0]


def test_the_loss_falls(parts: tuple[Tensor, Tensor]) -> None:
    before = per_image_losses(trainer(parts).network, parts[1])[0].mean().item()
    history = finish(trainer(parts, epochs=5, learning_rate=0.02)).history
    assert [epoch.epoch for epoch in history] == [1, 2, 3, 4, 5]
    assert history[-1].validation < 0.7 * before


@pytest.mark.parametrize("patience", [1, 3])
def test_early_stopping_brings_the_best_weights_back(
    parts: tuple[Tensor, Tensor], patience: int
) -> None:
    values = {"epochs": 60, "patience": patience, "batch_size": 10, "learning_rate": 0.02}
    stopping = trainer(few(parts), **values)
    after_epoch = []
    while not stopping.finished:
        stopping.run_epoch()
        after_epoch.append(weights(stopping.network.plain()))

    losses = [epoch.validation for epoch in stopping.history]
    best = losses.index(min(losses))
    assert len(losses) == best + 1 + patience < 60
    model = stopping.best_model()
    assert torch.equal(weights(model), after_epoch[best])
    assert not torch.equal(weights(model), after_epoch[-1])
    bce = per_image_losses(model, parts[1])[0].mean().item()
    assert bce == pytest.approx(losses[best], rel=1e-6)


@pytest.mark.parametrize("world", [SINGLE, World(1, 3)])
def test_threads_are_tried_with_the_products_of_training(
    parts: tuple[Tensor, Tensor], world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Numbers of threads that leave a product of 64 rows as it is may change one of 128."""
    monkeypatch.setattr(distributed, "DistributedDataParallel", lambda network: network)
    params = parameters(batch_size=400)
    step = Trainer(build_network(parts[0], params), *parts, params, world).train_step
    assert products(step.gradient) == products(lambda: step(torch.arange(400), 1e-3))


def two_threads(monkeypatch: pytest.MonkeyPatch, record: Callable[[float], None]) -> ThreadTuner:
    """A tuner that always chooses two threads."""
    tuner = ThreadTuner(1, lambda: torch.zeros(1))
    tuner.count = 2
    monkeypatch.setattr(tuner, "record", record)
    return tuner


def test_validation_has_a_fixed_number_of_threads(
    parts: tuple[Tensor, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    used = []

    def losses(network: Autoencoder, images: Tensor) -> tuple[Tensor, Tensor]:
        used.append(torch.get_num_threads())
        return per_image_losses(network, images)

    monkeypatch.setattr("autoencoder.network.trainer.per_image_losses", losses)
    trained = trainer(few(parts), epochs=2)
    trained.tuner = two_threads(monkeypatch, lambda seconds: None)
    finish(trained)
    assert used == [1, 1]


def test_steps_have_the_tuner_s_number_of_threads_and_tell_it_their_time(
    parts: tuple[Tensor, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = trainer(few(parts), epochs=1, batch_size=5)
    used: list[int] = []
    seconds: list[float] = []
    trained.tuner = two_threads(monkeypatch, seconds.append)
    trained.run_epoch(on_step=lambda: used.append(torch.get_num_threads()))
    assert used == trained.batches * [2]
    assert len(seconds) == trained.batches
    assert 0 < min(seconds) < max(seconds) < 60


def test_of_equal_epochs_the_first_is_the_best(parts: tuple[Tensor, Tensor]) -> None:
    trained = trainer(parts)
    trained.losses.copy_(torch.tensor([[0.3, 0.3], [0.2, 0.1], [0.1, 0.1]]))
    trained.epochs_done.fill_(3)
    assert trained.best.epoch == 2


def test_patience_zero_never_stops(parts: tuple[Tensor, Tensor]) -> None:
    whole = trainer(few(parts), epochs=25, batch_size=10, learning_rate=0.02)
    assert len(finish(whole).history) == 25


@pytest.mark.parametrize(("epochs_before", "noise"), [(1, 0), (4, 0), (7, 0), (2, 0.5)])
def test_a_restored_state_goes_on_to_the_same_bytes(
    parts: tuple[Tensor, Tensor], epochs_before: int, noise: float
) -> None:
    values = {"epochs": 12, "patience": 3, "batch_size": 10, "learning_rate": 0.02, "noise": noise}
    whole = finish(trainer(few(parts), **values))
    stopped = trainer(few(parts), **values)
    for _ in range(epochs_before):
        stopped.run_epoch()
    state = {name: value.clone() for name, value in stopped.state().items()}

    other = trainer(few(parts), **values)
    other.restore(state)
    finish(other)
    assert other.history == whole.history
    assert torch.equal(weights(other), weights(whole))
    assert torch.equal(weights(other.best_model()), weights(whole.best_model()))


def test_a_batch_larger_than_the_data_is_an_error(parts: tuple[Tensor, Tensor]) -> None:
    with pytest.raises(UserError, match="batch_size is 541, expected at most the 540 training"):
        trainer(parts, batch_size=541)


def test_divergence_is_an_error_that_names_epoch_and_step(parts: tuple[Tensor, Tensor]) -> None:
    diverging = trainer(parts)
    diverging.run_epoch()
    good = weights(diverging.network.plain())
    with torch.no_grad():
        next(diverging.network.parameters()).fill_(torch.nan)
    with pytest.raises(UserError, match="the loss is nan in epoch 2, step 1; lower the learning"):
        diverging.run_epoch()
    assert len(diverging.history) == 1
    assert torch.equal(weights(diverging.best_model()), good)


def test_a_last_step_that_spoils_the_weights_is_divergence(parts: tuple[Tensor, Tensor]) -> None:
    """With one step in all, no later loss shows it."""
    spoilt = trainer(parts, epochs=1, batch_size=540, learning_rate=1e38)
    with pytest.raises(UserError, match=r"the loss is (nan|inf) in epoch 1, valid"):
        spoilt.run_epoch()
    assert spoilt.history == []


def test_split_takes_every_row_once() -> None:
    numbered = torch.arange(100, dtype=torch.uint8)[:, None]
    training, validation = split_validation(numbered, 0.1, seed=0)
    assert (len(training), len(validation)) == (90, 10)
    assert sorted(torch.cat([training, validation]).flatten().tolist()) == list(range(100))
    assert torch.equal(split_validation(numbered, 0.1, seed=0)[1], validation)
    assert not torch.equal(split_validation(numbered, 0.1, seed=1)[1], validation)
    assert len(split_validation(numbered, 0.001, seed=0)[1]) == 1


def test_a_split_that_leaves_nothing_to_train_on_is_an_error() -> None:
    with pytest.raises(UserError, match=r"validation_fraction is 0\.9, which holds out all 2"):
        split_validation(torch.zeros(2, 1, dtype=torch.uint8), 0.9, seed=0)


def test_steps_on_a_gpu_have_no_tuner(parts: tuple[Tensor, Tensor]) -> None:
    trained = trainer(few(parts))
    before = per_image_losses(trained.network, parts[0][:20])[0].mean().item()
    loss = trained._take_step(torch.arange(20), 0.5)
    assert loss.item() == pytest.approx(before, rel=1e-4)
    assert trained.tuner is None
