"""Convert the raw files to CSV tables, one to train on and one to test on."""

import logging
from pathlib import Path

from autoencoder.base.cli import parse_paths, run
from autoencoder.data import table
from autoencoder.data.datasets import DATASETS, read_published_split
from autoencoder.data.user_data import invert_chunks, read_user_data

log = logging.getLogger(__name__)

USES = ["dataset", "test_fraction", "invert"]


def main() -> None:
    """Read the raw files; write the tables."""
    paths = parse_paths(
        __doc__,
        reads={"raw": "directory of the raw files"},
        writes={"train": "training table, CSV", "test": "test table, CSV"},
        uses=USES,
    )
    params = paths.inputs.params
    if dataset := DATASETS.get(params.dataset):
        train, test = (
            read_published_split(dataset, paths.raw, files)
            for files in (dataset.train, dataset.test)
        )
        if params.invert:
            train, test = invert_chunks(train), invert_chunks(test)
    else:
        original = Path(params.dataset)
        train, test = read_user_data(
            paths.raw / original.name, params.test_fraction, params.invert, shown_as=original
        )
    for path, chunks in ((paths.train, train), (paths.test, test)):
        log.info("%s: %s", path, table.describe_classes(table.write(path, chunks)))


if __name__ == "__main__":
    run(main)
