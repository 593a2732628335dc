"""The training loop: epochs over the training images, the best weights, the state to resume."""

import math
import time
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from autoencoder.base.errors import UserError
from autoencoder.base.params import Params
from autoencoder.network.distributed import SINGLE, AutogradStep, World
from autoencoder.network.losses import Epoch
from autoencoder.network.metrics import per_image_losses
from autoencoder.network.model import Autoencoder
from autoencoder.network.numerics import SCORING_THREADS
from autoencoder.network.step import AdamW, Step, can_compute
from autoencoder.network.threads import ThreadTuner, available_threads
from autoencoder.network.training_network import TrainingNetwork

# Fraction of the steps during which the learning rate rises.
WARMUP_FRACTION = 0.05


def split_validation(images: Tensor, fraction: float, seed: int) -> tuple[Tensor, Tensor]:
    """Split images, uint8 (n, 784), at random into training and validation images.

    `fraction`, 0..1, is the share held out for validation, at least one image. Raises UserError if
    no image is left to train on.
    """
    order = torch.from_numpy(np.random.default_rng((seed, 0)).permutation(len(images)))
    held_out = max(1, round(fraction * len(images)))
    if held_out >= len(images):
        raise UserError(
            f"params.yaml: validation_fraction is {fraction:g}, which holds out all {len(images)} "
            "training rows; expected a smaller one, or more rows"
        )
    return images[order[held_out:]], images[order[:held_out]]


def build_network(training: Tensor, params: Params) -> TrainingNetwork:
    """Build a network with initial weights, for training images, uint8 (n, 784), on the CPU."""
    network = TrainingNetwork(params.hidden_sizes, params.z_size, params.activation)
    # NumPy's sum: PyTorch's would copy all images to int64 first.
    total = torch.from_numpy(training.numpy().sum(0, dtype=np.int64))
    network.initialise(total / (255 * len(training)), torch.Generator().manual_seed(params.seed))
    return network


def learning_rate(progress: float, peak: float) -> float:
    """Compute the learning rate of a piecewise linear one-cycle schedule with a peak.

    `progress` is the fraction of the steps taken, this one included, 0..1. After Smith and Topin,
    "Super-Convergence", 2018.
    """
    return peak * min(progress / WARMUP_FRACTION, (1 - progress) / (1 - WARMUP_FRACTION))


class Trainer:
    """Trains a network epoch by epoch.

    The order of the images and their noise are drawn from (seed, epoch). Images that do not fill
    the last batch are left out, different ones in each epoch.

    The network has its initial weights and is trained in place. It is on the device of the images,
    which are uint8, (n, 784), 0 black to 255 white, and the same in each process of `world`.

    Raises UserError if there are fewer training images than a batch needs, or a batch has fewer
    images than there are processes.
    """

    def __init__(
        self,
        network: TrainingNetwork,
        training: Tensor,
        validation: Tensor,
        params: Params,
        world: World = SINGLE,
    ) -> None:
        if params.batch_size > len(training):
            raise UserError(
                f"params.yaml: batch_size is {params.batch_size}, expected at most the "
                f"{len(training)} training rows"
            )
        if params.batch_size < world.world_size:
            raise UserError(
                f"params.yaml: batch_size is {params.batch_size}, expected at least one row for "
                f"each of the {world.world_size} processes that the launcher starts"
            )
        self.network = network
        self.training = training
        self.validation = validation
        self.params = params
        self.world = world
        # Of each epoch, training and validation; as tensors, because processes exchange them.
        self.losses = torch.zeros((params.epochs, 2), dtype=torch.float64)
        self.epochs_done = torch.zeros((), dtype=torch.int64)
        self.batches = len(training) // params.batch_size
        self.optimizer = AdamW(network, params.weight_decay)
        self.weights = self.optimizer.weights
        arguments = (network, self.optimizer, training, params.batch_size, params.noise)
        is_manual = world.world_size == 1 and can_compute(network)
        self.train_step = Step(*arguments) if is_manual else AutogradStep(*arguments, world)
        self.best_weights = self.weights.clone()
        self.tuner: ThreadTuner | None = None  # of a CPU, once training has started

    @property
    def history(self) -> list[Epoch]:
        """The epochs so far."""
        losses = self.losses[: int(self.epochs_done)].tolist()
        return [Epoch(number, *both) for number, both in enumerate(losses, start=1)]

    @property
    def best(self) -> Epoch:
        """The first of the epochs with the lowest validation loss."""
        return min(self.history, key=lambda epoch: epoch.validation)

    @property
    def finished(self) -> bool:
        """Whether all epochs are done, or the last `patience` of them did not improve."""
        epochs, patience = len(self.history), self.params.patience
        stalled = epochs > 0 and patience > 0 and epochs - self.best.epoch >= patience
        return epochs == self.params.epochs or stalled

    def run_epoch(self, on_step: Callable[[], object] = lambda: None) -> None:
        """Train for one epoch and add it to the history; call `on_step` after each step.

        Raises UserError if the loss is no longer finite; history and best weights are kept.
        """
        epoch = len(self.history) + 1
        if self.tuner is None and self.training.device.type == "cpu":
            self.tuner = ThreadTuner(available_threads(self.world), self.train_step.gradient)
        rng = np.random.default_rng((self.params.seed, epoch))
        order = torch.from_numpy(rng.permutation(len(self.training))).to(self.training.device)
        self.train_step.generator.manual_seed(int(rng.integers(2**63)))
        losses = torch.empty(self.batches, device=self.training.device)
        for batch, rows in enumerate(order.split(self.params.batch_size)[: self.batches]):
            steps_done = (epoch - 1) * self.batches + batch
            progress = (steps_done + 1) / (self.params.epochs * self.batches + 1)
            losses[batch] = self._take_step(rows, progress)
            on_step()

        losses = self.world.all_reduce_sum(losses).cpu()
        for batch, loss in enumerate(losses.tolist(), start=1):
            self._check_finite(loss, epoch, f"step {batch}")
        # The last step may have spoilt the weights, which only this shows.
        validation = self._validate()
        self._check_finite(validation, epoch, "validation")
        # In double precision, which the CPU has and Apple's GPUs do not.
        self.losses[epoch - 1] = torch.tensor([losses.double().mean(), validation])
        self.epochs_done.fill_(epoch)
        if self.best.epoch == epoch:
            self.best_weights = self.weights.clone()

    def _take_step(self, rows: Tensor, progress: float) -> Tensor:
        """Train on a batch, on a CPU with the fastest number of threads; return its loss."""
        rate = learning_rate(progress, self.params.learning_rate)
        if self.tuner is None:
            return self.train_step(rows, rate)
        torch.set_num_threads(self.tuner.count)
        start = time.perf_counter()
        loss = self.train_step(rows, rate)
        self.tuner.record(time.perf_counter() - start)
        return loss

    def _validate(self) -> float:
        """Compute the BCE of the validation images, mean over pixels and images."""
        torch.set_num_threads(SCORING_THREADS)
        bce, _ = per_image_losses(self.network, self.world.local_shard(self.validation))
        return float(self.world.all_reduce_sum(bce.sum())) / len(self.validation)

    def _check_finite(self, loss: float, epoch: int, where: str) -> None:
        """Raise UserError if a loss is not finite."""
        if not math.isfinite(loss):
            raise UserError(
                f"training diverged: the loss is {loss} in epoch {epoch}, {where}; lower the "
                f"learning_rate ({self.params.learning_rate:g}) or the weight_decay "
                f"({self.params.weight_decay:g})"
            )

    def best_model(self) -> Autoencoder:
        """Return the network of the best epoch; training cannot continue after that."""
        self.weights.copy_(self.best_weights)
        return self.network.plain()

    def state(self) -> dict[str, Tensor]:
        """Return everything that the next epoch depends on, by name; training changes it."""
        return {
            "weights": self.weights,
            "best_weights": self.best_weights,
            **self.optimizer.state,
            "losses": self.losses,
            "epochs_done": self.epochs_done,
        }

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Resume from an earlier `state`."""
        for name, tensor in self.state().items():
            tensor.copy_(state[name])
