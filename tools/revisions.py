"""The files of this project at a revision, also in a subdirectory of its git repository."""

import subprocess
from collections.abc import Callable

from dvc.api import DVCFileSystem


def git(*arguments: str) -> str:
    """Run a git query in the current directory and return its output without the line end."""
    return subprocess.run(
        ["git", *arguments], capture_output=True, text=True, check=True
    ).stdout.removesuffix("\n")


def reader(revision: str | None) -> Callable[[str], bytes]:
    """Return a function that reads a file of a revision or experiment, also one that DVC keeps.

    Parameters
    ----------
    revision : str or None
        None for the workspace.

    Raises
    ------
    DvcException
        If there is no such revision.
    """
    files = DVCFileSystem(rev=revision)
    # Of a revision, DVC's paths start at the root of the git repository.
    prefix = git("rev-parse", "--show-prefix") if revision else ""

    def read(path: str) -> bytes:
        content: bytes = files.read_bytes(prefix + path)
        return content

    return read
