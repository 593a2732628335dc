"""Draw the pictures to judge a run by: a reconstruction of each class, and the losses."""

import numpy as np

from autoencoder import plots
from autoencoder.cli import parse_paths, run
from autoencoder.data import table
from autoencoder.network.losses import read_losses
from autoencoder.network.model import Autoencoder, lineage
from autoencoder.network.numerics import configure_numerics

COLUMNS = 16  # images next to each other, at most


def main() -> None:
    """Read model, test table and losses; draw an image of each label, and the losses."""
    paths = parse_paths(
        __doc__,
        reads={
            "model": "trained network, safetensors",
            "test": "test table, CSV",
            "losses": "BCE of each epoch, CSV",
        },
        writes={
            "reconstructions": "images, latent codes and reconstructions, PNG",
            "curve": "loss of each epoch, PNG",
        },
    )
    configure_numerics()
    model = Autoencoder.load(paths.model)
    labels, images = table.read(paths.test)
    losses = read_losses(paths.losses)
    rows = table.first_row_per_label(labels)
    if len(rows) == 1:  # images without labels
        rows = np.arange(len(labels))
    shown = plots.evenly_spaced(rows, COLUMNS)
    noise = lineage(paths.model)["parameters"]["noise"]
    figure = plots.draw_reconstructions(model, labels[shown], images[shown], noise)
    plots.save(figure, paths.reconstructions)
    plots.save(plots.draw_losses(losses), paths.curve)


if __name__ == "__main__":
    run(main)
