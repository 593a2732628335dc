"""The number of CPU threads: how many a process may use, and how many are fastest."""

import logging
import math
import os
from collections.abc import Callable, Generator
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor

from autoencoder.network.distributed import SINGLE, World

log = logging.getLogger(__name__)

_CGROUPS = Path("/sys/fs/cgroup")  # those of the container


def available_cores() -> int:
    """Return how many cores this process may keep busy: those of the machine, a container or a job.

    A container's quota, as `docker run --cpus=2` sets it, counts as that many whole cores.
    """
    cores = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    return max(1, int(min(cores, _container_quota())))


def _container_quota() -> float:
    """Return how many cores the container may keep busy; inf without a quota (cgroups(7)).

    Of Linux' control groups, version 2 has cpu.max, "QUOTA PERIOD" or "max PERIOD"; version 1 has
    cpu.cfs_quota_us, -1 for none, and cpu.cfs_period_us.
    """
    for names in (["cpu.max"], ["cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"]):
        with suppress(OSError, ValueError):  # "max" among them
            texts = [(_CGROUPS / name).read_text() for name in names]
            quota, period = map(float, " ".join(texts).split())
            return quota / period if quota > 0 else math.inf
    return math.inf


def available_threads(world: World = SINGLE) -> int:
    """Return this process's share of the available cores, at most OMP_NUM_THREADS."""
    limit = os.environ.get("OMP_NUM_THREADS", "")
    cores = available_cores()
    if world.local_world_size > cores and world.is_rank_zero:
        log.warning("%d processes oversubscribe %d cores", world.local_world_size, cores)
    share = max(1, cores // world.local_world_size)
    return min(share, int(limit)) if limit.isdecimal() and int(limit) > 0 else share


class ThreadTuner:
    """Chooses the number of CPU threads for each step of training, again and again, by its time.

    No fixed number is right: threads wait for each other by spinning, so that on two busy cores a
    step with two threads can take ten times as long as with one, and on a quiet machine two thirds
    (measured on an AMD EPYC).

    It tries each number of threads, up to `most`, for `BLOCK` steps, and continues with the
    fastest, which is `count`. The next trial follows at once if steps take longer than with one
    thread, otherwise after `SHORTEST` steps, and after twice as many, up to `LONGEST`, each time
    that the number has not changed. Numbers for which `gradient`, that of a fixed batch, has other
    bytes than with one thread are not used.
    """

    BLOCK = 10
    SHORTEST, LONGEST = 160, 1280

    def __init__(self, most: int, gradient: Callable[[], Tensor]) -> None:
        counts = [2**power for power in range(most.bit_length())]
        expected = self._with_threads(1, gradient)
        self.candidates = [
            count
            for count in sorted({*counts, most})
            if count == 1 or torch.equal(self._with_threads(count, gradient), expected)
        ]
        self._schedule = self._make_schedule()
        self.count = next(self._schedule)

    @staticmethod
    def _with_threads(count: int, gradient: Callable[[], Tensor]) -> Tensor:
        torch.set_num_threads(count)
        return gradient().clone()

    def record(self, seconds: float) -> None:
        """Tell how long a step with `count` threads took; sets `count` for the next one."""
        self.count = self._schedule.send(seconds)

    def _make_schedule(self) -> Generator[int, float, None]:
        """Yield the number of threads for each step; receive its seconds."""
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

    def _block(self, count: int, limit: float = math.inf) -> Generator[int, float, float]:
        """Yield a number for `BLOCK` steps, or until they exceed a limit; return their seconds."""
        seconds = 0.0
        for _ in range(self.BLOCK):
            seconds += yield count
            if seconds > limit:
                break
        return seconds
