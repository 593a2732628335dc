"""Score the trained autoencoder on the test table, next to its baselines."""

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pandas as pd

from autoencoder.base.cli import Reads, Writes, run_stage
from autoencoder.base.errors import UserError
from autoencoder.base.files import atomic_write, file_digest
from autoencoder.base.inputs import Inputs
from autoencoder.base.provenance import differences
from autoencoder.data import table
from autoencoder.network.metrics import score
from autoencoder.network.model import Autoencoder
from autoencoder.network.numerics import configure_numerics
from stages.train import USES

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Paths:
    """The files of the stage."""

    model: Annotated[Path, Reads("trained network, safetensors")]
    train: Annotated[Path, Reads("training table, CSV")]
    test: Annotated[Path, Reads("test table, CSV")]
    metrics: Annotated[Path, Writes("scores, JSON")]
    classes: Annotated[Path, Writes("test BCE by class, CSV: label, images, bce")]
    provenance: Annotated[Path, Writes("what the model and the scores were made from, JSON")]


def main(paths: Paths, inputs: Inputs) -> None:
    """Read model and tables; write the metrics, the BCE of each class and what they were made from.

    A model that was trained with other parameters, code or rows than the current ones is refused:
    `dvc commit` after an edit can record a wrong model, also in the run cache.
    """
    configure_numerics()
    model = Autoencoder.load(paths.model)
    if found := differences(
        model.lineage,
        inputs.params.model_dump(mode="json"),
        file_digest(paths.train, "md5"),
        inputs.code,
    ):
        raise UserError(
            f"{paths.model}: was trained with other inputs: {'; '.join(found)}; train again with "
            "`dvc repro --force --single-item train`, then `dvc repro`"
        )
    train, test = table.read(paths.train), table.read(paths.test)
    metrics, bce = score(model, train, test)
    with atomic_write(paths.metrics) as partial:
        rounded = {name: round(value, 6) for name, value in metrics.items()}
        partial.write_text(json.dumps(rounded, indent=2) + "\n")
    by_class = pd.DataFrame({"label": test.labels, "bce": bce}).groupby("label")["bce"]
    classes = by_class.agg(images="size", bce="mean")
    with atomic_write(paths.classes) as partial:
        classes.reindex(table.in_order(classes.index)).to_csv(partial, float_format="%.6f")
    with atomic_write(paths.provenance) as partial:
        made_from = {**model.lineage, "test_md5": file_digest(paths.test, "md5")}
        partial.write_text(json.dumps(made_from, indent=2) + "\n")
    log.info(
        "test BCE %(bce).5f (floor %(bce_floor).5f, mean image %(bce_mean_image).5f); "
        "MSE %(mse).5f (PCA %(mse_pca).5f)",
        metrics,
    )


if __name__ == "__main__":
    run_stage(main, Paths, __doc__, USES)
