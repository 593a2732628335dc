"""Draw the pictures to judge a run by: a typical image of each class, the worst, the losses."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch

from autoencoder import plots
from autoencoder.base.cli import Reads, Writes, run_stage
from autoencoder.base.inputs import Inputs
from autoencoder.data import table
from autoencoder.network.losses import read_losses
from autoencoder.network.metrics import entropy, per_image_losses
from autoencoder.network.model import Autoencoder
from autoencoder.network.numerics import configure_numerics

MAX_IMAGES = 16  # in a picture


@dataclass(frozen=True)
class Paths:
    """The files of the stage."""

    model: Annotated[Path, Reads("trained network, safetensors")]
    test: Annotated[Path, Reads("test table, CSV")]
    losses: Annotated[Path, Reads("BCE of each epoch, CSV")]
    reconstructions: Annotated[Path, Writes("images, latent codes and reconstructions, PNG")]
    worst: Annotated[Path, Writes("images with the highest BCE, and reconstructions, PNG")]
    curve: Annotated[Path, Writes("loss of each epoch, PNG")]


def main(paths: Paths, _: Inputs) -> None:
    """Read model, test table and losses; draw a typical image of each class and the worst ones."""
    configure_numerics()
    model = Autoencoder.load(paths.model)
    labels, images = table.read(paths.test)
    losses = read_losses(paths.losses)
    bce = per_image_losses(model, torch.from_numpy(images))[0].numpy()
    typical = plots.median_row_per_label(labels, bce)
    if len(typical) == 1:  # a single class, or images without labels
        typical = np.arange(len(labels))
    shown = plots.evenly_spaced(typical, MAX_IMAGES)
    figure = plots.draw_reconstructions(model, labels[shown], images[shown], model.training_noise)
    plots.save(figure, paths.reconstructions)
    worst = np.argsort(-bce, kind="stable")[:MAX_IMAGES]
    figure = plots.draw_worst(model, labels[worst], images[worst], worst + 1)
    plots.save(figure, paths.worst)
    plots.save(plots.draw_losses(losses, entropy(images)), paths.curve)


if __name__ == "__main__":
    run_stage(main, Paths, __doc__)
