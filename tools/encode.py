"""Encode images as latent codes, for search, visualization or classification.

Images are a table, an array, a picture, or a directory of them, as for `dataset:`.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pandas as pd
import torch

from autoencoder.base.cli import Writes, run_stage
from autoencoder.base.files import atomic_write
from autoencoder.base.inputs import Inputs
from autoencoder.network.model import to_unit_range
from tools.images import ModelAndImages

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Paths(ModelAndImages):
    """The files and options of the tool."""

    codes: Annotated[Path, Writes("latent code of each image, CSV: label, z0, z1, ...")]


@torch.no_grad()
def main(paths: Paths, _: Inputs) -> None:
    """Read model and images; write the codes, which are between 0 and 1."""
    model, chunks = paths.load()
    count = 0
    with atomic_write(paths.codes) as partial, partial.open("w", encoding="utf-8") as file:
        file.write(",".join(["label", *(f"z{number}" for number in range(model.z_size))]) + "\n")
        for labels, images in chunks:
            codes = model.encode(to_unit_range(torch.from_numpy(images))).numpy()
            # Nine digits distinguish any two float32 values.
            pd.DataFrame(codes, labels).to_csv(file, header=False, float_format="%.9g")
            count += len(labels)
    log.info("%s: latent codes of shape (%d, %d)", paths.codes, count, model.z_size)


if __name__ == "__main__":
    run_stage(main, Paths, __doc__)
