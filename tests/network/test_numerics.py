"""Device and floating-point settings."""

from collections.abc import Iterator
from itertools import islice

import pytest
import torch
from conftest import Project

from autoencoder.errors import UserError
from autoencoder.network import numerics
from autoencoder.network.distributed import World
from autoencoder.network.numerics import (
    ThreadTuner,
    available_threads,
    choose_device,
    configure_numerics,
)


def test_device() -> None:
    present = "cuda" if torch.cuda.device_count() else "cpu"
    if torch.backends.mps.is_available():
        present = "mps"
    assert choose_device("auto").type == present
    assert choose_device("cpu").type == "cpu"
    absent = {"cuda": torch.cuda.device_count() > 0, "mps": torch.backends.mps.is_available()}
    for name in [name for name, there in absent.items() if not there]:
        with pytest.raises(UserError, match=f"device '{name}' is not available on this machine"):
            choose_device(name)


def test_products_are_float32_whatever_the_environment_says(fresh: Project) -> None:
    project = Project(fresh.root)
    project.environment |= {
        "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": "1",
        "ONEDNN_MAX_CPU_ISA": "AVX512_CORE_AMX",
    }
    code = (
        "import stages, os, torch;"
        "from autoencoder.network.numerics import configure_numerics, _product_error;"
        "print(configure_numerics(), _product_error() < 1e-3);"
        "print(torch.backends.cuda.matmul.fp32_precision, os.environ['ONEDNN_MAX_CPU_ISA']);"
        "print((torch.tensor(1e-30) * torch.tensor(1e-10)).item())"
    )
    output = project.run("python", "-c", code).split()
    assert output == ["oneDNN", "True", "ieee", "AVX512_CORE", "0.0"]


def test_inaccurate_products_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numerics, "_product_error", lambda: 0.1)
    assert configure_numerics() == "default"
    assert torch.backends.mkldnn.matmul.fp32_precision == "ieee"  # type: ignore[attr-defined]


def test_threads_are_bounded_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert available_threads() == 8
    assert available_threads(World(0, 4, 0, 3)) == 2
    assert available_threads(World(0, 20, 0, 20)) == 1
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert available_threads() == 3


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """A clock that tests set, and the number of threads as it was."""
    now = [0.0]
    threads = torch.get_num_threads()
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    yield now
    torch.set_num_threads(threads)


def take_steps(tuner: ThreadTuner, clock: list[float], seconds: dict[int, float]) -> Iterator[int]:
    """Take steps that last as long as given for each number of threads; yield the number used."""
    while True:
        with tuner:
            clock[0] += seconds[torch.get_num_threads()]
        clock[0] += 1000  # the time between steps is not theirs
        yield torch.get_num_threads()


def test_the_fastest_number_of_threads_is_used_and_reconsidered(clock: list[float]) -> None:
    tuner = ThreadTuner(4, lambda: torch.zeros(1))
    assert tuner.candidates == [1, 2, 4]
    seconds = {1: 3.0, 2: 1.0, 4: 2.0}
    steps = take_steps(tuner, clock, seconds)
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


def test_a_number_of_threads_that_changes_bytes_is_not_used(clock: list[float]) -> None:
    tuner = ThreadTuner(4, lambda: torch.tensor(float(torch.get_num_threads() == 4)))
    assert tuner.candidates == [1, 2]
