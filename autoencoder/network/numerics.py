"""Where and how a process computes: device, matrix products and threads."""

import math
import os
import platform
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from autoencoder.errors import UserError
from autoencoder.network.distributed import SINGLE, World

# Largest error of a matrix product whose elements are sums of 784 products in 0..1: float32 has
# 2e-4 (measured, MKL and oneDNN), bfloat16 has more than 0.1.
_MAX_ERROR = 1e-3


def choose_device(name: str, world: World = SINGLE) -> torch.device:
    """Return the device for the parameter `device` in this process.

    auto takes a GPU if this machine has one for each of its processes.

    Raises
    ------
    UserError
        If this machine has no such device.
    """
    available = {
        "cuda": torch.cuda.device_count() >= world.local_world_size,
        "mps": torch.backends.mps.is_available() and world.world_size == 1,
        "cpu": True,
    }
    if name == "auto":
        name = next(device for device, present in available.items() if present)
    if not available[name]:
        each = f" for {world.local_world_size} processes" if world.world_size > 1 else ""
        raise UserError(
            f"params.yaml: device {name!r} is not available on this machine{each}; use device: auto"
        )
    return torch.device(f"cuda:{world.local_rank}" if name == "cuda" else name)


def configure_numerics() -> str:
    """Make results independent of the environment as far as possible, and products fast.

    Denormal numbers, below 1e-38, are treated as 0: AdamW's moments of pixels that are rarely lit
    decay into them, and processors handle them slowly. Matrix products are in float32 on every
    device, even if the environment asks for lower precision.

    On the CPU they go through oneDNN, which uses AVX-512 where PyTorch's default, MKL, uses AVX2
    on AMD processors. PyTorch chooses oneDNN only if bfloat16 is permitted; `autoencoder.startup`
    keeps oneDNN from using it, and a product is compared with float64 to be sure.

    Returns
    -------
    str
        The library of the products on the CPU: oneDNN, or default if oneDNN is not available or
        not accurate.
    """
    torch.set_flush_denormal(True)
    torch.backends.cuda.matmul.fp32_precision = "ieee"
    if torch.backends.mkldnn.is_available():
        matmul = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
        matmul.fp32_precision = "bf16"
        if _product_error() <= _MAX_ERROR:
            return "oneDNN"
        matmul.fp32_precision = "ieee"
    return "default"


def _product_error() -> float:
    """Return the largest error of a matrix product at the first layer's shape."""
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.rand(shape, generator=generator) for shape in ((64, 784), (784, 512)))
    return float((torch.mm(a, b) - torch.mm(a.double(), b.double())).abs().max())


def describe_environment(device: torch.device, products: str) -> dict[str, str]:
    """Return what rounding depends on: packages, device, processor and products."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "processor": processor_name(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "products": products,
    }


def processor_name() -> str:
    """Return the name of the processor, as Linux knows it, or at least its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def available_cores() -> int:
    """Return on how many cores this process may run."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def available_threads(world: World = SINGLE) -> int:
    """Return how many CPU threads this process may use.

    Its share of the cores that it may run on, at most OMP_NUM_THREADS.
    """
    limit = os.environ.get("OMP_NUM_THREADS", "")
    share = max(1, available_cores() // world.local_world_size)
    return min(share, int(limit)) if limit.isdecimal() and int(limit) > 0 else share


class ThreadTuner:
    """Chooses the number of CPU threads for training, again and again, by timing steps.

    No fixed number is right: threads wait for each other by spinning, so that on two busy cores a
    step with two threads can take ten times as long as with one, and on a quiet machine two thirds
    (measured on an AMD EPYC).

    Use it as a context manager around each step. It tries each number of threads for `BLOCK` steps,
    and continues with the fastest. The next trial follows at once if steps take longer than with
    one thread, otherwise after `SHORTEST` steps, and after twice as many, up to `LONGEST`, each
    time that the number has not changed.

    Parameters
    ----------
    most : int
        Upper bound on the number of threads.
    gradient : callable
        Computes the gradient of a fixed batch, a float tensor, without updating the weights. A
        number of threads is used only if the gradient has the same bytes as with one.
    """

    BLOCK = 10
    SHORTEST, LONGEST = 160, 1280

    def __init__(self, most: int, gradient: Callable[[], Tensor]) -> None:
        counts = [2**power for power in range(most.bit_length()) if 2**power <= most]
        expected = self._with_threads(1, gradient)
        self.candidates = [
            count
            for count in sorted({*counts, most})
            if count == 1 or torch.equal(self._with_threads(count, gradient), expected)
        ]
        self._counts = self._schedule()
        self._start = self._seconds = 0.0

    @staticmethod
    def _with_threads(count: int, gradient: Callable[[], Tensor]) -> Tensor:
        torch.set_num_threads(count)
        return gradient().clone()

    def __enter__(self) -> None:
        torch.set_num_threads(next(self._counts))
        self._start = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self._seconds = time.perf_counter() - self._start

    def _schedule(self) -> Iterator[int]:
        """Yield the number of threads for each step."""
        chosen, period = 1, self.SHORTEST
        while True:
            one_thread = shortest = yield from self._block(1)
            fastest = 1
            for count in self.candidates[1:]:
                seconds = yield from self._block(count, limit=shortest)
                if seconds < shortest:
                    shortest, fastest = seconds, count
            period = min(2 * period, self.LONGEST) if fastest == chosen else self.SHORTEST
            chosen = fastest
            limit = math.inf if chosen == 1 else one_thread
            for _ in range(period // self.BLOCK):
                if (yield from self._block(chosen, limit)) > limit:
                    break

    def _block(self, count: int, limit: float = math.inf) -> Generator[int, None, float]:
        """Yield the same number for `BLOCK` steps, or until they have taken longer than a limit.

        Returns
        -------
        float
            Seconds of these steps, without the time between them.
        """
        seconds = 0.0
        for _ in range(self.BLOCK):
            yield count
            seconds += self._seconds
            if seconds > limit:
                break
        return seconds
