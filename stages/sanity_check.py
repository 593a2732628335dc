"""Draw the pictures to judge a run by: reconstructions of each class, the worst, and the losses."""

import numpy as np
import torch

from autoencoder import plots
from autoencoder.base.cli import parse_paths, run
from autoencoder.data import table
from autoencoder.network.losses import read_losses
from autoencoder.network.metrics import per_image_losses
from autoencoder.network.model import Autoencoder, training_noise
from autoencoder.network.numerics import configure_numerics

COLUMNS = 16  # images next to each other, at most


def main() -> None:
    """Read model, test table and losses; draw the first image of each label and the worst ones."""
    paths = parse_paths(
        __doc__,
        reads={
            "model": "trained network, safetensors",
            "test": "test table, CSV",
            "losses": "BCE of each epoch, CSV",
        },
        writes={
            "reconstructions": "images, latent codes and reconstructions, PNG",
            "worst": "the same of the images with the highest BCE, PNG",
            "curve": "loss of each epoch, PNG",
        },
    )
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
    bce, _ = per_image_losses(model, torch.from_numpy(images))
    worst = np.argsort(-bce.numpy(), kind="stable")[:COLUMNS]
    plots.save(plots.draw_reconstructions(model, labels[worst], images[worst]), paths.worst)
    plots.save(plots.draw_losses(losses), paths.curve)


if __name__ == "__main__":
    run(main)
