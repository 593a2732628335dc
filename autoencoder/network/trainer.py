"""The training loop: epochs over the training rows, the best weights so far, the state to go on."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from autoencoder.errors import UserError
from autoencoder.network.model import Autoencoder, errors
from autoencoder.network.distributed import ALONE, Processes, SharedStep
from autoencoder.params import Params
from autoencoder.network.step import AdamW, Step, flatten

# Share of the steps in which the learning rate rises.
WARM_UP = 0.05


@dataclass(frozen=True)
class Epoch:
    """What one pass over the training rows came to.

    Attributes
    ----------
    epoch : int
        1 for the first.
    train, validation : float
        BCE, mean over pixels and images: of the training rows while they were learned, and of the
        validation rows at the end of the epoch.
    """

    epoch: int
    train: float
    validation: float


def learning_rate(done: float, peak: float) -> float:
    """Learning rate of a one-cycle schedule that goes up and down in straight lines.

    After Smith and Topin, "Super-Convergence", 2018.

    Parameters
    ----------
    done : float
        Share of the steps behind us, between 0 and 1.
    peak : float
        The highest learning rate.
    """
    return peak * min(done / WARM_UP, (1 - done) / (1 - WARM_UP))


class Trainer:
    """Trains a network epoch by epoch.

    The order of the rows, and their noise, are drawn from (seed, epoch). Rows that do not fill the
    last batch are left out, others in each epoch. All that the next epoch depends on is in `state`.

    Parameters
    ----------
    model : Autoencoder
        With its initial weights, on the device of the images; trained in place.
    training, validation : uint8 tensors of shape (n, 784)
        Grey values, 0 black to 255 white.
    params : Params
        batch_size, epochs, learning_rate, noise, patience, seed and weight_decay.
    processes : Processes
        Those that train together, each with a trainer on the same network and images. All of them
        come to the same history.

    Raises
    ------
    UserError
        If `training` has less rows than a batch, or a batch less rows than there are processes.
    """

    def __init__(
        self,
        model: Autoencoder,
        training: Tensor,
        validation: Tensor,
        params: Params,
        processes: Processes = ALONE,
    ) -> None:
        if params.batch_size > len(training):
            raise UserError(
                f"params.yaml: batch_size is {params.batch_size}, expected at most the "
                f"{len(training)} training rows"
            )
        if params.batch_size < processes.count:
            raise UserError(
                f"params.yaml: batch_size is {params.batch_size}, expected at least a row for each "
                f"of the {processes.count} processes that the launcher starts"
            )
        self.model = model
        self.training = training
        self.validation = validation
        self.params = params
        self.processes = processes
        self.losses = torch.full((params.epochs, 2), torch.nan, dtype=torch.float64)
        self.batches = len(training) // params.batch_size
        self.weights = flatten(model)
        self.optimizer = AdamW(self.weights, params.weight_decay)
        self.step = (
            Step(model, self.optimizer, training, params.batch_size, params.noise)
            if processes.count == 1
            else SharedStep(model, self.optimizer, training, params.noise, processes)
        )
        self.best_weights = self.weights.detach().clone()

    @property
    def history(self) -> list[Epoch]:
        """The epochs so far."""
        done = self.losses[~self.losses[:, 0].isnan()]
        return [Epoch(number, *losses) for number, losses in enumerate(done.tolist(), start=1)]

    @property
    def best(self) -> Epoch:
        """The first of the epochs with the lowest validation loss."""
        return min(self.history, key=lambda epoch: epoch.validation)

    @property
    def finished(self) -> bool:
        """Whether all epochs are done, or the last `patience` of them brought no gain."""
        done, patience = len(self.history), self.params.patience
        stalled = done > 0 and patience > 0 and done - self.best.epoch >= patience
        return done == self.params.epochs or stalled

    def run_epoch(self, on_step: Callable[[], object] = lambda: None) -> None:
        """Train for an epoch and add it to the history.

        Parameters
        ----------
        on_step : callable, optional
            Called after each step.

        Raises
        ------
        UserError
            If the loss stops being a number; the history and the best weights stay.
        """
        epoch = len(self.history) + 1
        losses = torch.empty(self.batches, device=self.training.device)
        rng = np.random.default_rng((self.params.seed, epoch))
        order = rng.permutation(len(self.training))
        self.step.generator.manual_seed(int(rng.integers(2**63)))
        rows = torch.from_numpy(order).to(self.training.device).split(self.params.batch_size)
        for number in range(self.batches):
            steps_done = (epoch - 1) * self.batches + number + 1
            rate = learning_rate(
                steps_done / (self.params.epochs * self.batches + 1), self.params.learning_rate
            )
            losses[number] = self.step(rows[number], rate)
            on_step()

        self.processes.total(losses)
        if not losses.isfinite().all():
            number = int(losses.isfinite().int().argmin())
            raise UserError(
                f"training diverged: the loss is {losses[number]} in epoch {epoch}, step "
                f"{number + 1}; try a learning_rate below {self.params.learning_rate:g}"
            )
        bce = errors(self.model, self.processes.share(self.validation))[0].sum()
        self.losses[epoch - 1, 0] = losses.double().mean()
        self.losses[epoch - 1, 1] = self.processes.total(bce) / len(self.validation)
        if self.best.epoch == epoch:
            self.best_weights = self.weights.detach().clone()

    def restore_best(self) -> None:
        """Give the model the weights of the best epoch."""
        self.weights.detach().copy_(self.best_weights)

    def state(self) -> dict[str, Tensor]:
        """All that the next epoch depends on, by name; it changes as training goes on."""
        weights = {"weights": self.weights.detach(), "best_weights": self.best_weights}
        return {**weights, **self.optimizer.state, "losses": self.losses}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from what `state` was."""
        for name, tensor in self.state().items():
            tensor.copy_(state[name])
