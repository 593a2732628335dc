"""Atomic writes and file digests."""

import hashlib
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

log = logging.getLogger(__name__)


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path next to `path`, and rename it to `path` if the block succeeds.

    Parameters
    ----------
    path : Path
        The file to create or replace; missing parent directories are created.

    Yields
    ------
    Path
        ``.NAME.partial`` in the same directory. It is deleted if the block raises; one that a
        killed process left is overwritten.

    Raises
    ------
    OSError
        If the directory cannot be created or the file cannot be written, with the name of `path`,
        which is then unchanged. Errors that name another file, such as an input that is read in the
        block, keep that name.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    try:
        yield partial
        with partial.open("rb+") as written:
            os.fsync(written)
        partial.replace(path)
    except OSError as error:
        # Some errors, of a full disk for instance, name no file.
        ours = error.filename is None or str(partial) in map(str, (error.filename, error.filename2))
        if error.strerror and ours:
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    finally:
        with suppress(OSError):  # already renamed, or never created
            partial.unlink()


def sha256(path: Path) -> str:
    """Compute the SHA-256 of a file, as 64 hexadecimal digits."""
    return file_digest(path, "sha256")


def file_digest(path: Path, algorithm: str) -> str:
    """Compute the digest of a file in hexadecimal, by one of hashlib's algorithms."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def source_digests() -> dict[str, str]:
    """Compute the SHA-256 of each module of this project that is loaded, by its relative path."""
    root = Path(__file__).parents[1]
    files = {
        Path(module.__file__)
        for name, module in list(sys.modules.items())
        if name.partition(".")[0] in ("__main__", "autoencoder", "stages") and module.__file__
    }
    return {file.relative_to(root).as_posix(): sha256(file) for file in sorted(files)}


def delete_extra_files(directory: Path, expected: set[Path]) -> None:
    """Delete everything in `directory` except the expected files."""
    for path in sorted(directory.rglob("*"), reverse=True):  # contents before their directory
        if path.is_dir() and not path.is_symlink():
            if not any(path.iterdir()):
                path.rmdir()
        elif path not in expected:
            log.info("removing %s: not a file of the data set", path)
            path.unlink()
