"""Convert the raw files to CSV tables, one to train on and one to test on."""

from pathlib import Path

from autoencoder.cli import parse_paths, run
from autoencoder.data import table
from autoencoder.data.datasets import DATASETS, read_published_split
from autoencoder.data.user_data import read_user_data

USES = ["dataset", "test_fraction"]


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
    else:
        user_data = paths.raw / Path(params.dataset).name
        train, test = read_user_data(user_data, params.test_fraction)
    table.write(paths.train, train)
    table.write(paths.test, test)


if __name__ == "__main__":
    run(main)
