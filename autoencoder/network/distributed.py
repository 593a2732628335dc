"""Training in several processes, started by torchrun: each learns from its shard of every batch.

A single process, started without torchrun, has no process group and waits for nobody.
"""

import logging
import os
import sys
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the name used in PyTorch's documentation
from torch import Tensor, distributed, nn
from torch.distributed import PrefixStore, Store, rendezvous  # type: ignore[attr-defined]
from torch.nn.parallel import DistributedDataParallel

from autoencoder.base.errors import UserError
from autoencoder.data.table import PIXELS
from autoencoder.network.model import add_noise, to_unit_range
from autoencoder.network.step import AdamW
from autoencoder.network.training_network import TrainingNetwork

log = logging.getLogger(__name__)

REPORT_S = 10  # of waiting for the other processes, after which a line says so


@dataclass(frozen=True)
class World:
    """The processes of a run, and the place of this one among them, as torchrun counts them.

    Rank 0 logs and writes.
    """

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    local_world_size: int = 1

    @property
    def is_rank_zero(self) -> bool:
        """Whether this process logs and writes."""
        return self.rank == 0

    def local_shard(self, rows: Tensor) -> Tensor:
        """Take this process's shard of the rows of a tensor; in rank order they make the whole."""
        return rows.tensor_split(self.world_size)[self.rank]

    def broadcast(self, tensors: Iterable[Tensor]) -> None:
        """Overwrite tensors, in place, with their values on rank 0."""
        if self.world_size > 1:
            for tensor in tensors:
                distributed.broadcast(tensor, src=0)

    def all_reduce_sum(self, tensor: Tensor) -> Tensor:
        """Sum a tensor over all processes, in place; each gets the same bytes."""
        if self.world_size > 1:
            distributed.all_reduce(tensor)
        return tensor

    def check_same(self, lineage: Mapping[str, Any]) -> None:
        """Raise UserError in every process if not all of them have the same lineage."""
        if self.world_size == 1:
            return
        lineages = [lineage] * self.world_size
        distributed.all_gather_object(lineages, lineage)
        if any(other != lineage for other in lineages):
            raise UserError(
                "the processes differ in parameters, table, code, packages or device; check out "
                "the same commit on each machine and run `dvc pull`"
            )


SINGLE = World()


def _restart_safe_store(store: Store, world: World) -> Store:
    """Return a part of torchrun's store that contains nothing of processes that no longer exist.

    torchrun of PyTorch 2.15 keeps its store when it restarts killed processes. Read too early, it
    returns addresses of killed processes, and its restart count may differ between machines. So
    each process writes a new name and the names that it reads from the others, until all of them
    have read the same names: a killed process cannot have read the new ones.
    """
    name = uuid.uuid4().hex
    store.set(f"name of {world.rank}", name)
    while True:
        names = [store.get(f"name of {rank}").decode() for rank in range(world.world_size)]
        seen = " ".join(names)
        store.set(f"seen by {name}", seen)
        keys = [f"seen by {other}" for other in names]
        if store.check(keys) and all(store.get(key).decode() == seen for key in keys):
            return PrefixStore(names[0], store)
        time.sleep(0.05)


@contextmanager
def _joining(world: World, address: str) -> Iterator[None]:
    """Say what the block waits for if it takes long, and what is wrong if it fails."""
    others = f"the {world.world_size} processes of this run, through torchrun at {address}"
    timer = threading.Timer(REPORT_S, log.warning, (f"waiting for {others}",))
    timer.daemon = True
    if world.local_rank == 0:
        timer.start()
    try:
        yield
    except distributed.DistError as error:
        (reason, *_) = str(error).splitlines() or [""]
        raise UserError(
            f"could not join {others}: {reason}; that name and port must be reachable from here"
        ) from error
    finally:
        timer.cancel()


@contextmanager
def process_group() -> Iterator[World]:
    """Join the process group that torchrun started, if it did, and leave it at the end.

    User errors are reported once per machine, by its first process.
    """
    environment = os.environ if distributed.is_torchelastic_launched() else {}
    if environment.get("WORLD_SIZE", "1") == "1":
        yield SINGLE
        return
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    world = World(*(int(environment[name]) for name in names))
    try:
        with _joining(world, "{MASTER_ADDR}:{MASTER_PORT}".format(**environment)):
            store, rank, world_size = next(rendezvous("env://"))
            distributed.init_process_group(
                "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo",
                store=_restart_safe_store(store, world),
                rank=rank,
                world_size=world_size,
            )
        yield world
    except (UserError, OSError, KeyboardInterrupt):
        if world.local_rank:
            sys.exit(1)
        raise
    finally:
        if distributed.is_initialized():
            distributed.destroy_process_group()


class AutogradStep:
    """A training step through autograd, in which each process learns from its shard of the batch.

    DistributedDataParallel averages the gradients over the processes. The loss is a sum over
    images, so each process multiplies its own by the number of processes.

    The arguments are those of `step.Step`; `batch_size` counts the images of all processes. Each
    process must seed `generator` with the same seed, because it draws the noise of the whole batch.
    """

    def __init__(
        self,
        network: TrainingNetwork,
        optimizer: AdamW,
        images: Tensor,
        batch_size: int,
        noise: float = 0.0,
        world: World = SINGLE,
    ) -> None:
        self.network = network
        self.forward: nn.Module = network
        if world.world_size > 1:
            self.forward = DistributedDataParallel(network)
        self.optimizer = optimizer
        self.images = images
        self.batch_size = batch_size
        self.noise = noise
        self.world = world
        self.generator = torch.Generator(images.device)

    def __call__(self, rows: Tensor, learning_rate: float) -> Tensor:
        """Take a step, as `step.Step` does; return this process's share of the BCE, shape ()."""
        x = to_unit_range(self.images[rows])
        inputs = add_noise(x, self.noise, self.generator) if self.noise else x
        x, inputs = self.world.local_shard(x), self.world.local_shard(inputs)
        loss = self._loss(self.forward, inputs, x)
        self.optimizer.gradient.zero_()
        (self.world.world_size * loss).backward()
        self.optimizer.learning_rate.fill_(learning_rate)
        self.optimizer.step()
        return loss.detach() / (len(rows) * PIXELS)

    def gradient(self) -> Tensor:
        """Compute this process's gradient of the first batch of images, without updating."""
        x = self.world.local_shard(to_unit_range(self.images[: self.batch_size]))
        self.optimizer.gradient.zero_()
        self._loss(self.network, x, x).backward()
        return self.optimizer.gradient

    @staticmethod
    def _loss(network: nn.Module, inputs: Tensor, target: Tensor) -> Tensor:
        """Compute the summed BCE: row by row, for the same result with any number of threads."""
        losses = F.binary_cross_entropy_with_logits(network(inputs), target, reduction="none")
        return losses.sum(1).sum()
