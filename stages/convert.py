"""Convert the raw files to CSV tables, one to train on and one to test on."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from autoencoder.base.cli import Reads, Writes, run_stage
from autoencoder.base.inputs import Inputs
from autoencoder.data import table
from autoencoder.data.datasets import DATASETS, read_published
from autoencoder.data.user.images import read_user_data

log = logging.getLogger(__name__)

USES = ["dataset", "test_fraction", "invert", "fit"]


@dataclass(frozen=True)
class Paths:
    """The files of the stage."""

    raw: Annotated[Path, Reads("directory of the raw files")]
    train: Annotated[Path, Writes("training table, CSV")]
    test: Annotated[Path, Writes("test table, CSV")]


def main(paths: Paths, inputs: Inputs) -> None:
    """Read the raw files; write the tables."""
    params = inputs.params
    if dataset := DATASETS.get(params.dataset):
        train, test = read_published(dataset, paths.raw)
        if params.invert is True:  # auto: they are all white on black
            train, test = (
                (chunk._replace(images=255 - chunk.images) for chunk in chunks)
                for chunks in (train, test)
            )
    else:
        original = Path(params.dataset)
        train, test = read_user_data(
            paths.raw / original.name,
            params.test_fraction,
            params.invert,
            params.fit,
            shown_as=original,
        )
    for path, chunks in ((paths.train, train), (paths.test, test)):
        log.info("%s: %s", path, table.describe_classes(table.write(path, chunks)))


if __name__ == "__main__":
    run_stage(main, Paths, __doc__, USES)
