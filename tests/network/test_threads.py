"""The number of threads follows the clock, and never the results."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest
import torch
from helpers.networks import network
from torch import Tensor

from autoencoder.network import threads
from autoencoder.network.distributed import AutogradStep, World
from autoencoder.network.step import AdamW, Step
from autoencoder.network.threads import ThreadTuner, available_cores, available_threads


def test_threads_are_bounded_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(threads, "available_cores", lambda: 8)
    assert available_threads() == 8
    assert available_threads(World(0, 4, 0, 3)) == 2
    assert available_threads(World(0, 20, 0, 20)) == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert available_threads() == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "0")
    assert available_threads() == 8


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"cpu.max": "200000 100000"}, 2),  # version 2, docker run --cpus=2
        ({"cpu.max": "150000 100000"}, 1),
        ({"cpu.max": "50000 100000"}, 1),
        ({"cpu.max": "max 100000"}, 8),
        ({"cpu.max": ""}, 8),
        ({}, 8),
        ({"cpu.max": "1600000 100000"}, 8),
        ({"cpu/cpu.cfs_quota_us": "250000", "cpu/cpu.cfs_period_us": "100000"}, 2),  # version 1
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 8),
    ],
)
def test_a_container_s_quota_bounds_the_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], cores: int
) -> None:
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content + "\n")
    monkeypatch.setattr(threads, "_CGROUPS", tmp_path)
    affinity = {0: set(range(8)), 1: {0}}  # 0 is this process
    monkeypatch.setattr("os.sched_getaffinity", affinity.__getitem__, raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: 16)
    assert available_cores() == cores


@pytest.fixture(autouse=True)
def same_threads() -> Iterator[None]:
    """Leave the number of threads as it was."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def take_steps(tuner: ThreadTuner, seconds: dict[int, float]) -> Iterator[int]:
    """Take steps that last as long as given for each number of threads; yield the number used."""
    while True:
        count = tuner.count
        tuner.record(seconds[count])
        yield count


def test_the_fastest_number_of_threads_is_used_and_reconsidered() -> None:
    tuner = ThreadTuner(4, lambda: torch.zeros(1))
    assert tuner.candidates == [1, 2, 4]
    seconds = {1: 3.0, 2: 1.0, 4: 2.0}
    steps = take_steps(tuner, seconds)
    # Four threads lose after six steps: they took longer than ten steps with two.
    trial = [*10 * [1], *10 * [2], *6 * [4]]
    for period in (160, 320, 640, 1280, 1280):
        assert [*islice(steps, 26 + period)] == [*trial, *period * [2]]

    # Slower than with one thread: the next trial follows as soon as that is certain.
    assert [*islice(steps, 26 + 30)] == [*trial, *30 * [2]]
    seconds |= {2: 7.0, 4: 50.0}
    assert [*islice(steps, 5)] == 5 * [2]
    trial = [*10 * [1], *5 * [2], 4]
    for period in (160, 320):
        assert [*islice(steps, 16 + period)] == [*trial, *period * [1]]

    # With one thread, there is no number to fall back to: slower steps cause no trial.
    assert [*islice(steps, 16 + 30)] == [*trial, *30 * [1]]
    seconds[1] = 100.0
    assert [*islice(steps, 640 - 30)] == [*(640 - 30) * [1]]


def test_a_number_of_threads_that_changes_bytes_is_not_used() -> None:
    tuner = ThreadTuner(4, lambda: torch.tensor(float(torch.get_num_threads() == 4)))
    assert tuner.candidates == [1, 2]


def test_a_gradient_in_the_same_memory_each_time_is_compared() -> None:
    buffer = torch.zeros(1)
    tuner = ThreadTuner(3, lambda: buffer.fill_(torch.get_num_threads() == 2))
    assert tuner.candidates == [1, 3]


@pytest.mark.usefixtures("only_linear_layers")
def test_the_loss_is_the_same_with_any_number_of_threads(images: Tensor) -> None:
    model = network(images)
    step = Step(model, AdamW(model, weight_decay=0.02), images, batch_size=400)
    torch.manual_seed(0)
    logits, target = torch.randn(400, 784), torch.rand(400, 784)
    losses = set()
    for count in (1, 2, 3):
        torch.set_num_threads(count)
        step.layers[-1].y.copy_(logits)
        step.target.copy_(target)
        step._compute_loss()
        autograd = AutogradStep._loss(torch.nn.Identity(), logits, target)
        losses.add((step.loss.item(), autograd.item()))
    assert len(losses) == 1


def test_without_affinity_the_cores_of_the_machine_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on macOS; and on some systems even their number is unknown."""
    monkeypatch.setattr(threads, "_CGROUPS", tmp_path)
    monkeypatch.delattr("os.sched_getaffinity", raising=False)
    for count, cores in ((16, 16), (None, 1)):
        monkeypatch.setattr("os.cpu_count", lambda count=count: count)
        assert available_cores() == cores


def test_too_many_processes_are_reported_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(threads, "available_cores", lambda: 2)
    for world in (World(0, 2, 0, 2), World(0, 3, 0, 3), World(1, 3, 1, 3)):
        available_threads(world)
    assert caplog.messages == ["3 processes oversubscribe 2 cores"]


@pytest.mark.parametrize(("most", "candidates"), [(1, [1]), (8, [1, 2, 4, 8]), (6, [1, 2, 4, 6])])
def test_powers_of_two_are_tried_up_to_the_most(most: int, candidates: list[int]) -> None:
    assert ThreadTuner(most, lambda: torch.zeros(1)).candidates == candidates
