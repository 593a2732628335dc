"""The files of this project at a revision, also in a subdirectory of its git repository."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

from dvc.api import DVCFileSystem
from dvc.repo import Repo
from dvc.scm import RevError, resolve_rev

from autoencoder.base.errors import UserError


def git(*arguments: str) -> str:
    """Run a git query in the current directory and return its output without the line end.

    Raises
    ------
    UserError
        If it fails.
    """
    result = subprocess.run(
        ["git", *arguments],
        capture_output=True,
        text=True,
        check=False,
        # Of an object that is not in this clone, git would ask the remote, and that for a password.
        env={**os.environ, "GIT_NO_LAZY_FETCH": "1", "GIT_TERMINAL_PROMPT": "0"},
    )
    if result.returncode:
        reason = " ".join(result.stderr.split()) or f"exit status {result.returncode}"
        raise UserError(f"`git {' '.join(arguments)}` failed: {reason}")
    return result.stdout.removesuffix("\n")


def resolve(revision: str) -> str:
    """Return the commit of a revision or experiment.

    Raises
    ------
    UserError
        If there is no such commit, or this clone lacks some of its files: DVC would wait for them
        for ever.
    """
    if not revision.strip():
        raise UserError("the revision is empty, expected a branch, tag, commit or experiment")
    with Repo() as repo:
        try:
            digest = resolve_rev(repo.scm, revision)
        except RevError as error:
            raise UserError(
                f"unknown Git revision '{revision}', expected a branch, tag, commit or experiment "
                "in this clone; `git fetch origin NAME:NAME` adds a branch of the remote"
            ) from error
    try:
        commit = git("rev-parse", "--verify", f"{digest}^{{commit}}")
    except UserError as error:
        kind = git("cat-file", "-t", digest)
        raise UserError(
            f"{revision}: a {kind}, expected a branch, tag, commit or experiment"
        ) from error
    if "?" in git("rev-list", "--objects", "--no-object-names", "--missing=print", "-1", commit):
        raise UserError(
            f"{revision}: some of its files are not in this clone, which is a partial one; "
            "`git fetch --refetch --no-filter` completes it"
        )
    return commit


def export(revision: str, path: Path, directory: Path) -> None:
    """Copy a file or directory of a revision, also one that DVC keeps, to the same path elsewhere.

    Raises
    ------
    FileNotFoundError
        If the revision has no such path, or DVC has it neither in its cache nor in a remote.
    """
    files = DVCFileSystem(rev=resolve(revision))
    prefix = git("rev-parse", "--show-prefix")
    names = files.find(f"{prefix}{path.as_posix()}")
    if not names:
        raise FileNotFoundError(path)
    for name in names:
        target = directory / name.removeprefix(prefix)
        target.parent.mkdir(parents=True, exist_ok=True)
        files.get_file(name, str(target))


def reader(revision: str | None) -> Callable[[str], bytes]:
    """Return a function that reads a file of a revision or experiment, also one that DVC keeps.

    Parameters
    ----------
    revision : str or None
        None for the workspace.

    Raises
    ------
    UserError
        If there is no such revision in this clone, see `resolve`.
    """
    files = DVCFileSystem(rev=None if revision is None else resolve(revision))
    # Of a revision, DVC's paths start at the root of the git repository.
    prefix = "" if revision is None else git("rev-parse", "--show-prefix")

    def read(path: str) -> bytes:
        content: bytes = files.read_bytes(prefix + path)
        return content

    return read
