"""The number of CPU threads: how many a process may use, and how many are fastest."""

import logging
import math
import os
from collections.abc import Callable, Generator
from pathlib import Path

import torch
from torch import Tensor

from autoencoder.network.distributed import SINGLE, World

log = logging.getLogger(__name__)

_CGROUPS = Path("/sys/fs/cgroup")
_OWN_CGROUPS = Path("/proc/self/cgroup")


def available_cores() -> int:
    """Return how many cores this process may keep busy: those of the machine, a container or job.

    A container's quota, as `docker run --cpus=2` sets it, counts as that many whole cores.
    """
    cores = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    return max(1, int(min(cores, _cgroup_quota())))


def _cgroup_quota() -> float:
    """Return how many cores Linux' control groups allow this process; inf without a quota.

    A group's quota bounds the groups in it, so the smallest one of this process's group and those
    that contain it counts. Of the lines "ID:CONTROLLERS:PATH", version 2 has the one without
    controllers, and cpu.max is "QUOTA PERIOD" or "max PERIOD"; version 1 has cpu.cfs_quota_us, -1
    for none, and cpu.cfs_period_us (cgroups(7)).
    """
    try:
        lines = _OWN_CGROUPS.read_text().splitlines()
    except OSError:
        return math.inf
    quotas = [math.inf]
    for line in lines:
        match line.split(":", 2):
            case [_, "", name]:
                root = _CGROUPS
            case [_, controllers, name] if "cpu" in controllers.split(","):
                root = _CGROUPS / "cpu"
            case _:
                continue
        group = root / name.lstrip("/")
        # In a container, the path may be the host's, and the group the root.
        for directory in [group, *group.parents]:
            if directory.is_relative_to(root):
                quotas.append(_quota(directory))
    return min(quotas)


def _quota(group: Path) -> float:
    """Read the quota of a control group, in cores; inf if it has none."""
    try:
        if (group / "cpu.max").exists():
            quota, period = (group / "cpu.max").read_text().split()
        else:
            quota, period = (
                (group / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period")
            )
        return float(quota) / float(period) if float(quota) > 0 else math.inf
    except (OSError, ValueError):  # "max" among them
        return math.inf


def available_threads(world: World = SINGLE) -> int:
    """Return how many CPU threads this process may use.

    Its share of the available cores, at most OMP_NUM_THREADS.
    """
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
    that the number has not changed.

    `gradient` computes the gradient of a fixed batch, without updating the weights. A number of
    threads is used only if the gradient has the same bytes as with one.
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
        """Yield the same number for `BLOCK` steps, or until they have taken longer than a limit.

        Returns the seconds of these steps.
        """
        seconds = 0.0
        for _ in range(self.BLOCK):
            seconds += yield count
            if seconds > limit:
                break
        return seconds
