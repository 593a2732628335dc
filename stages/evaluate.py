"""Score the trained autoencoder on the test table, next to its baselines."""

import json
import logging

import pandas as pd

from autoencoder.cli import parse_paths, run
from autoencoder.data import table
from autoencoder.files import atomic_write
from autoencoder.network.metrics import score
from autoencoder.network.model import Autoencoder
from autoencoder.network.numerics import configure_numerics

log = logging.getLogger(__name__)


def main() -> None:
    """Read model and tables; write the metrics and the BCE of each class."""
    paths = parse_paths(
        __doc__,
        reads={
            "model": "trained network, safetensors",
            "train": "training table, CSV",
            "test": "test table, CSV",
        },
        writes={
            "metrics": "scores, JSON",
            "classes": "test BCE by class, CSV: label, images, bce",
        },
    )
    configure_numerics()
    model = Autoencoder.load(paths.model)
    _, train = table.read(paths.train)
    labels, test = table.read(paths.test)
    metrics, bce = score(model, train, test)
    with atomic_write(paths.metrics) as partial:
        rounded = {name: round(value, 6) for name, value in metrics.items()}
        partial.write_text(json.dumps(rounded, indent=2) + "\n")
    by_class = pd.DataFrame({"label": labels, "bce": bce}).groupby("label")["bce"]
    in_order = labels[table.first_row_per_label(labels)]
    with atomic_write(paths.classes) as partial:
        classes = by_class.agg(images="size", bce="mean").reindex(in_order)
        classes.to_csv(partial, float_format="%.6f")
    log.info(
        "test BCE %.5f (floor %.5f, mean image %.5f); MSE %.5f (PCA %.5f)",
        *(metrics[name] for name in ("bce", "bce_floor", "bce_mean_image", "mse", "mse_pca")),
    )


if __name__ == "__main__":
    run(main)
