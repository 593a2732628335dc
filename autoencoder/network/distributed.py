"""The processes of a run, which torchrun starts: each learns from its share of every batch.

One process, without torchrun, has no process group: there is nobody to wait for.
"""

import os
import sys
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - the name that PyTorch's own documentation gives it
from torch import Tensor, distributed
from torch.distributed import PrefixStore, Store, rendezvous  # type: ignore[attr-defined]
from torch.nn.parallel import DistributedDataParallel

from autoencoder.errors import UserError
from autoencoder.network.model import PIXELS, Autoencoder, noisy, unit
from autoencoder.network.step import AdamW


@dataclass(frozen=True)
class Processes:
    """The place of this process among those of its run.

    Attributes
    ----------
    rank, count : int
        Its number, 0 for the one that logs and writes, and how many there are on all machines.
    local_rank, local_count : int
        The same among those on its machine.
    """

    rank: int = 0
    count: int = 1
    local_rank: int = 0
    local_count: int = 1

    def share(self, rows: Tensor) -> Tensor:
        """Take this process's part of the rows of a tensor; in order, the parts are the whole."""
        return rows.tensor_split(self.count)[self.rank]

    def broadcast(self, tensors: Iterable[Tensor]) -> None:
        """Give tensors, in place, the values that they have in process 0."""
        if self.count > 1:
            for tensor in tensors:
                distributed.broadcast(tensor, src=0)

    def total(self, tensor: Tensor) -> Tensor:
        """Sum a tensor over all processes, in place; each gets the same bytes."""
        if self.count > 1:
            distributed.all_reduce(tensor)
        return tensor

    def differ(self, digest: bytes) -> bool:
        """Whether any process gives other bytes than process 0; all of them learn it."""
        mine = torch.tensor(list(digest))
        first = mine.clone()
        self.broadcast([first])
        return bool(self.total((mine != first).any().int()))


ALONE = Processes()


def _of_this_start(store: Store, processes: Processes) -> Store:
    """Find a part of torchrun's store that holds nothing of processes which are gone.

    PyTorch 2.15's torchrun keeps the store when it starts killed processes anew. Read too early, it
    tells the addresses of the killed ones, and its count of restarts may differ between machines.
    So each process gives itself a name; the names are right once every one of them has seen the
    same ones, since what is gone has not seen ours.
    """
    own = uuid.uuid4().hex
    store.set(f"name of {processes.rank}", own)
    while True:
        names = [store.get(f"name of {rank}").decode() for rank in range(processes.count)]
        seen = " ".join(names)
        store.set(f"seen by {own}", seen)
        keys = [f"seen by {name}" for name in names]
        if store.check(keys) and all(store.get(key).decode() == seen for key in keys):
            return PrefixStore(names[0], store)
        time.sleep(0.05)


@contextmanager
def joined() -> Iterator[Processes]:
    """Join the processes that torchrun started with this one, and leave them in the end.

    What a user can mend is said once: by the first process on each machine.

    Yields
    ------
    Processes
        `ALONE` without torchrun.
    """
    environment = os.environ if distributed.is_torchelastic_launched() else {}
    if environment.get("WORLD_SIZE", "1") == "1":
        yield ALONE
        return
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    processes = Processes(*(int(environment[name]) for name in names))
    store, rank, count = next(rendezvous("env://"))
    distributed.init_process_group(
        "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo",
        store=_of_this_start(store, processes),
        rank=rank,
        world_size=count,
    )
    try:
        yield processes
    except (UserError, OSError, KeyboardInterrupt):
        if processes.local_rank:
            sys.exit(1)
        raise
    finally:
        distributed.destroy_process_group()


class SharedStep:
    """A training step by autograd, in which each process learns from its share of the batch.

    PyTorch's DistributedDataParallel takes the mean of the gradients over the processes. The loss
    is a sum over images, so each process counts its own as many times as there are processes.

    Parameters
    ----------
    model : Autoencoder
        To be trained, in place, after `flatten`.
    optimizer : AdamW
        Of what `flatten` returned: that is where the gradients land.
    images : uint8 tensor of shape (n, 784)
        What there is to learn, on the model's device.
    noise : float
        Added to the input, not to the target of the loss, by `noisy`.
    processes : Processes
        With one, a plain step by autograd.

    Attributes
    ----------
    generator : Generator
        Source of the noise, on the model's device; to be seeded by the caller, the same in each
        process: each draws the noise of the whole batch.
    """

    def __init__(
        self,
        model: Autoencoder,
        optimizer: AdamW,
        images: Tensor,
        noise: float = 0.0,
        processes: Processes = ALONE,
    ) -> None:
        self.network = DistributedDataParallel(model) if processes.count > 1 else model
        self.optimizer = optimizer
        self.images = images
        self.noise = noise
        self.processes = processes
        self.generator = torch.Generator(images.device)

    def __call__(self, rows: Tensor, learning_rate: float) -> Tensor:
        """Take a step on the BCE, summed over pixels and the images of all processes.

        Parameters
        ----------
        rows : int64 tensor of shape (batch_size,)
            Which of the images to learn, all processes together.
        learning_rate : float

        Returns
        -------
        float tensor of shape ()
            What this process adds to the BCE before the update, mean over pixels and images.
        """
        x = unit(self.images[rows])
        seen = noisy(x, self.noise, self.generator) if self.noise else x
        x, seen = self.processes.share(x), self.processes.share(seen)
        loss = F.binary_cross_entropy_with_logits(self.network(seen), x, reduction="sum")
        self.optimizer.gradient.zero_()
        (self.processes.count * loss).backward()
        self.optimizer.learning_rate.fill_(learning_rate)
        self.optimizer.step()
        return loss.detach() / (len(rows) * PIXELS)
