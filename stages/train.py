"""Train the autoencoder on the training table, and keep the weights of its best epoch."""

import logging
import math
import platform
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F  # noqa: N812 - the name that PyTorch's own documentation gives it
from torch import Tensor
from tqdm import tqdm

from stages import InputError, table
from stages.autoencoder import Autoencoder, errors, unit
from stages.command import parse, run
from stages.files import replacing, sha256
from stages.params import Params

log = logging.getLogger(__name__)

# Share of the steps in which the learning rate rises.
WARM_UP = 0.05

# AdamW's memory of squared gradients, shorter than the usual 0.999: what a row of digits does to
# the gradient changes quickly at these learning rates.
BETAS = (0.9, 0.99)


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


def split(images: Tensor, fraction: float, seed: int) -> tuple[Tensor, Tensor]:
    """Draw the validation rows from the rows of the training table.

    Parameters
    ----------
    images : uint8 tensor of shape (n, 784)
    fraction : float
        Share of the rows to hold out, between 0 and 1; at least one row is.
    seed : int

    Returns
    -------
    training, validation : uint8 tensors of shape (n - v, 784) and (v, 784)
    """
    order = torch.from_numpy(np.random.default_rng((seed, 0)).permutation(len(images)))
    held_out = max(1, round(fraction * len(images)))
    return images[order[held_out:]], images[order[:held_out]]


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


def fit(
    model: Autoencoder, training: Tensor, validation: Tensor, params: Params
) -> Iterator[Epoch]:
    """Train a network in place, epoch by epoch; in the end it has the weights of its best epoch.

    The order of the rows is drawn from (seed, epoch). Rows that do not fill the last batch are left
    out, others in each epoch.

    Parameters
    ----------
    model : Autoencoder
        With its initial weights, on the device of the images.
    training, validation : uint8 tensors of shape (n, 784)
        Grey values, 0 black to 255 white.
    params : Params
        batch_size, epochs, learning_rate, patience, seed and weight_decay.

    Yields
    ------
    Epoch
        After each one.

    Raises
    ------
    InputError
        If `training` has less rows than a batch, or the loss stops being a number.
    """
    batches = len(training) // params.batch_size
    if not batches:
        raise InputError(
            f"params.yaml: batch_size is {params.batch_size}, expected at most the "
            f"{len(training)} training rows"
        )
    optimizer = torch.optim.AdamW(
        model.parameters(),
        betas=BETAS,
        eps=1e-12,
        weight_decay=params.weight_decay,
        fused=True,
    )
    steps = params.epochs * batches
    losses = torch.empty(batches, device=training.device)
    best, best_loss, best_weights = 0, math.inf, {}
    with tqdm(total=steps, unit="step", disable=not sys.stderr.isatty()) as bar:
        for epoch in range(1, params.epochs + 1):
            order = np.random.default_rng((params.seed, epoch)).permutation(len(training))
            rows = torch.from_numpy(order).to(training.device).split(params.batch_size)
            for step in range(batches):
                done = ((epoch - 1) * batches + step + 1) / (steps + 1)
                optimizer.param_groups[0]["lr"] = learning_rate(done, params.learning_rate)
                x = unit(training[rows[step]])
                # Summed over pixels: the gradients of their mean would be as small as Adam's eps.
                loss = F.binary_cross_entropy_with_logits(model(x), x, reduction="sum") / len(x)
                loss.backward()
                optimizer.step()
                # Kept and zeroed: new gradients each step would fault their pages in again.
                optimizer.zero_grad(set_to_none=False)
                losses[step] = loss.detach()
                bar.update()

            if not losses.isfinite().all():
                step = int(losses.isfinite().int().argmin()) + 1
                raise InputError(
                    f"training diverged: the loss is {losses[step - 1]} in epoch {epoch}, "
                    f"step {step}; try a learning_rate below {params.learning_rate:g}"
                )
            result = Epoch(
                epoch,
                train=losses.double().mean().item() / training.shape[1],
                validation=errors(model, validation)[0].mean().item(),
            )
            if result.validation < best_loss:
                best, best_loss = epoch, result.validation
                best_weights = {name: value.clone() for name, value in model.state_dict().items()}
            bar.set_postfix(epoch=epoch, train=result.train, validation=result.validation)
            yield result
            if params.patience and epoch - best >= params.patience:
                break
    model.load_state_dict(best_weights)


def choose_device(name: str) -> torch.device:
    """Return the device that the parameter `device` names; auto takes a GPU where there is one.

    Raises
    ------
    InputError
        If this machine has no such device.
    """
    there = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        name = next(device for device, present in there.items() if present)
    if not there[name]:
        raise InputError(f"params.yaml: device is {name}, which this machine has not; try auto")
    return torch.device(name)


def main() -> None:
    """Read the training table; train; write the loss of each epoch as it ends, then the model."""
    paths, params = parse(
        __doc__,
        reads={"table": "training table, CSV"},
        writes={
            "losses": "BCE of each epoch, CSV: epoch, train, validation",
            "model": "the trained network, safetensors",
        },
        uses=[
            *("z_size", "activation", "seed", "epochs", "batch_size", "learning_rate"),
            *("weight_decay", "validation_fraction", "patience", "device"),
        ],
    )
    # Weights of pixels that are always 0 decay into denormal numbers, which processors handle
    # slowly.
    torch.set_flush_denormal(True)
    device = choose_device(params.device)
    _, images = table.read(paths.table)
    training, validation = split(torch.from_numpy(images), params.validation_fraction, params.seed)

    model = Autoencoder(params.z_size, params.activation)
    mean = training.sum(0, dtype=torch.int64) / (255 * len(training))
    model.initialise(mean, torch.Generator().manual_seed(params.seed))
    history: list[Epoch] = []
    for epoch in fit(model.to(device), training.to(device), validation.to(device), params):
        history.append(epoch)
        with replacing(paths.losses) as partial:
            pd.DataFrame(map(asdict, history)).to_csv(partial, index=False, float_format="%.6f")
        if not sys.stderr.isatty():
            log.info(
                "epoch %2d of %d: BCE %.5f, validation %.5f",
                *(epoch.epoch, params.epochs, epoch.train, epoch.validation),
            )

    best = min(history, key=lambda epoch: epoch.validation)
    lineage = {
        "parameters": params.model_dump(),
        "table_sha256": sha256(paths.table),
        "best_epoch": best.epoch,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "device": str(device),
        "threads": torch.get_num_threads(),
    }
    model.cpu().save(paths.model, lineage)
    log.info(
        "%s: weights of epoch %d, validation BCE %.5f", paths.model, best.epoch, best.validation
    )


if __name__ == "__main__":
    run(main)
