"""Files: writing so that nothing half-written is ever seen, and the digest of what was written."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` to write to; it takes the name `path` when the block ends well.

    Parameters
    ----------
    path : Path
        The file to make or replace; missing parent folders are made.

    Yields
    ------
    Path
        ``.NAME.partial`` in the same folder. It is removed if the block raises, and what a killed
        process left there is overwritten by the next one.

    Raises
    ------
    OSError
        If the folder cannot be made or the file cannot be written, naming it; `path` is then as it
        was. One that names another file, which was being read for instance, stays as it is.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    try:
        yield partial
        with partial.open("rb+") as written:
            os.fsync(written)
        partial.replace(path)
    except OSError as error:
        # The disk is full, say: the system does not say where. What is read to be written here
        # keeps its own name.
        ours = error.filename is None or str(partial) in map(str, (error.filename, error.filename2))
        if error.strerror and ours:
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    finally:
        with suppress(OSError):  # it has its new name, or could not be made
            partial.unlink()


def sha256(path: Path) -> str:
    """SHA-256 of a file, as 64 hexadecimal digits."""
    return digest(path, "sha256")


def digest(path: Path, algorithm: str) -> str:
    """Digest of a file, in hexadecimal, by one of hashlib's algorithms."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()
