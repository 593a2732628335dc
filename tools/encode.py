"""Encode images as latent codes, for search, visualization or classification.

Images are a table, an array, a picture, or a directory of them, as for `dataset:`.
"""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from autoencoder.base.cli import Writes, run_stage
from autoencoder.base.files import atomic_write
from autoencoder.base.inputs import Inputs
from autoencoder.data.table import Chunk
from autoencoder.network.model import Autoencoder, to_unit_range
from tools.images import ModelAndImages

log = logging.getLogger(__name__)


def iter_codes(
    model: Autoencoder, chunks: Iterable[Chunk]
) -> Iterator[tuple[NDArray[np.str_], NDArray[np.float32]]]:
    """Encode images chunk by chunk.

    Parameters
    ----------
    model : Autoencoder
        On the CPU.
    chunks : iterable of (str array of shape (n,), uint8 array of shape (n, 784))
        Labels, and grey values from 0 black to 255 white.

    Yields
    ------
    labels : str array of shape (n,)
    codes : float32 array of shape (n, z_size)
        Between 0 and 1.
    """
    for labels, images in chunks:
        with torch.no_grad():
            codes = model.encode(to_unit_range(torch.from_numpy(images)))
        yield labels, codes.numpy()


@dataclass(frozen=True)
class Paths(ModelAndImages):
    """The files and options of the tool."""

    codes: Annotated[Path, Writes("latent code of each image, CSV: label, z0, z1, ...")]


def main(paths: Paths, _: Inputs) -> None:
    """Read model and images; write the codes."""
    model, images = paths.load()
    count = 0
    with atomic_write(paths.codes) as partial, partial.open("w", encoding="utf-8") as file:
        file.write(",".join(["label", *(f"z{number}" for number in range(model.z_size))]) + "\n")
        for labels, codes in iter_codes(model, images):
            # Nine digits distinguish any two float32 values.
            pd.DataFrame(codes, labels).to_csv(file, header=False, float_format="%.9g")
            count += len(labels)
    log.info("%s: latent codes of shape (%d, %d)", paths.codes, count, model.z_size)


if __name__ == "__main__":
    run_stage(main, Paths, __doc__)
