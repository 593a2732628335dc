"""Count the images of the training table."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from autoencoder.base.cli import Reads, Writes, run_stage
from autoencoder.base.files import atomic_write
from autoencoder.base.inputs import Inputs
from autoencoder.data import table


@dataclass(frozen=True)
class Paths:
    """The files of the stage."""

    table: Annotated[Path, Reads("training table, CSV")]
    metrics: Annotated[Path, Writes("number of images, JSON")]


def main(paths: Paths, _: Inputs) -> None:
    """Read the table; write the number of its images."""
    labels, _images = table.read(paths.table)
    with atomic_write(paths.metrics) as partial:
        partial.write_text(json.dumps({"images": len(labels)}) + "\n")


if __name__ == "__main__":
    run_stage(main, Paths, __doc__)
