"""Draw the pictures to judge a run by: reconstructions of each class, the worst, and the losses."""

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
from autoencoder.network.metrics import per_image_losses
from autoencoder.network.model import Autoencoder, training_noise
from autoencoder.network.numerics import configure_numerics

COLUMNS = 16  # images next to each other, at most


@dataclass(frozen=True)
class Paths:
    """The files of the stage."""

    model: Annotated[Path, Reads("trained network, safetensors")]
    test: Annotated[Path, Reads("test table, CSV")]
    losses: Annotated[Path, Reads("BCE of each epoch, CSV")]
    reconstructions: Annotated[Path, Writes("images, latent codes and reconstructions, PNG")]
    worst: Annotated[Path, Writes("the same of the images with the highest BCE, PNG")]
    curve: Annotated[Path, Writes("loss of each epoch, PNG")]


def main(paths: Paths, _: Inputs) -> None:
    """Read model, test table and losses; draw the first image of each label and the worst ones."""
    configure_numerics()
    model = Autoencoder.load(paths.model)
    labels, images = table.read(paths.test)
    losses = read_losses(paths.losses)
    rows = table.first_row_per_label(labels)
    if len(rows) == 1:  # a single class, or images without labels
        rows = np.arange(len(labels))
    shown = plots.evenly_spaced(rows, COLUMNS)
    noise = training_noise(paths.model)
    figure = plots.draw_reconstructions(model, labels[shown], images[shown], noise)
    plots.save(figure, paths.reconstructions)
    bce = per_image_losses(model, torch.from_numpy(images))[0].numpy()
    worst = np.argsort(-bce, kind="stable")[:COLUMNS]
    plots.save(plots.draw_reconstructions(model, labels[worst], images[worst]), paths.worst)
    plots.save(plots.draw_losses(losses), paths.curve)


if __name__ == "__main__":
    run_stage(main, Paths, __doc__)
