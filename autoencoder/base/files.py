"""Atomic writes, locks, named errors and digests of files."""

import fcntl
import hashlib
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from autoencoder.base.errors import UserError

# Matches the names of `atomic_write`'s temporary files.
PARTIAL_PATTERN = ".*.partial"


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path next to `path`, and rename it to `path` if the block succeeds.

    Missing parent directories are created. A link is replaced, not followed. A pipe or character
    device, such as ``/dev/stdout``, receives the content at the end instead. The temporary file is
    empty at first, locked while the block runs, and deleted if it raises; those that killed
    processes left are deleted, too.

    Raises UserError if `path` is a block device or a socket, and OSError with the name of `path`,
    which is then unchanged, if it cannot be written.
    """
    stream = _stream(path)
    if stream is not None:
        with tempfile.NamedTemporaryFile() as content:
            yield Path(content.name)
            with named_errors(path), open(stream, "wb") as file:  # noqa: PTH123 - or a descriptor
                shutil.copyfileobj(content, file)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, partial = _create_partial(path)
    try:
        with named_errors(path, partial):
            yield partial
            os.fsync(descriptor)
            partial.replace(path)
    finally:
        with suppress(FileNotFoundError):  # renamed
            partial.unlink()
        os.close(descriptor)


def _stream(path: Path) -> Path | int | None:
    """Return what to open if content goes to what `path` names; None if it is to be replaced."""
    if not path.exists() or path.is_dir():
        return None
    status = path.stat()
    mode = status.st_mode
    if stat.S_ISBLK(mode) or stat.S_ISSOCK(mode):
        raise UserError(f"{path}: a device or socket, expected a file; name another output")
    for descriptor in (1, 2):
        with suppress(OSError):  # closed
            if os.path.samestat(status, os.fstat(descriptor)):
                return os.dup(descriptor)  # opening the file behind /dev/stdout would empty it
    return None if stat.S_ISREG(mode) else path


def _create_partial(path: Path) -> tuple[int, Path]:
    """Create a temporary file for `path`, locked, and delete those that are not locked."""
    start = f".{path.name[:48]}."  # with a random part, within the 255 bytes that names may have
    for stale in path.parent.iterdir():
        if stale.name.startswith(start) and stale.name.endswith(".partial"):
            with suppress(OSError):  # in use, or already deleted
                descriptor = os.open(stale, os.O_RDWR | os.O_NOFOLLOW)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    stale.unlink()
                finally:
                    os.close(descriptor)
    while True:
        partial = path.with_name(f"{start}{secrets.token_hex(4)}.partial")
        with named_errors(path, partial):
            descriptor = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        with suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if partial.exists():  # else another process found it before it was locked
            return descriptor, partial
        os.close(descriptor)


@contextmanager
def process_lock(path: Path) -> Iterator[None]:
    """Let one process at a time run the block; the system frees the lock of a killed one.

    The file stays, because another process may have opened it already. Raises UserError with the
    process ID, which the file contains, if another process holds the lock.
    """
    with ExitStack() as stack:
        # Without a lock file, on a full disk for instance: writing the outputs will report that.
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            stack.callback(os.close, descriptor)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                holder = path.read_text().strip()
                raise UserError(
                    f"{path}: another run is using these files, process {holder}; wait for it, or "
                    f"stop it with `kill {holder}`, and run again"
                ) from error
            os.truncate(descriptor, 0)
            os.write(descriptor, f"{os.getpid()}\n".encode())
        yield


@contextmanager
def named_errors(path: Path, partial: Path | None = None) -> Iterator[None]:
    """Give I/O errors without a file's name that of the file that the block reads or writes.

    Those with the name of `partial`, its temporary file, get it, too.
    """
    try:
        yield
    except OSError as error:
        names = [str(name) for name in (error.filename, error.filename2) if name is not None]
        if names and str(partial) not in names:
            raise
        if error.strerror:
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise OSError(f"{path}: {error}") from error  # of libraries that give no number


def walk_files(path: Path) -> Iterator[Path]:
    """Yield a file, or all files below a directory, also behind links, each directory once."""
    seen = set()
    for root, directories, names in os.walk(path, followlinks=True):
        real = Path(root).resolve()
        if real in seen:
            directories.clear()
        else:
            seen.add(real)
            yield from (Path(root, name) for name in names)
    if not path.is_dir() and path.exists():
        yield path


def file_digest(path: Path, algorithm: str = "sha256") -> str:
    """Compute the digest of a file in hexadecimal, by one of hashlib's algorithms."""
    with path.open("rb") as file, named_errors(path):
        return hashlib.file_digest(file, algorithm).hexdigest()
