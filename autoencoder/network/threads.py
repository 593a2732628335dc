"""The number of CPU threads, chosen by timing steps."""

import math
import os
import time
from collections.abc import Callable, Generator, Iterator

import torch
from torch import Tensor

from autoencoder.network.distributed import SINGLE, World


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
