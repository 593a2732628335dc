"""The files of this project at a revision, also in a subdirectory of its git repository."""

import os
import subprocess
from pathlib import Path

from dvc.api import DVCFileSystem
from dvc.repo import Repo
from dvc.scm import RevError, resolve_rev
from dvc_data.index import DataIndexDirError

from autoencoder.base.errors import UserError, one_line


def git(*arguments: str) -> str:
    """Run git in the current directory and return its output; a failure is a UserError."""
    result = subprocess.run(
        ["git", *arguments],
        capture_output=True,
        text=True,
        check=False,
        # Of an object that is not in this clone, git would ask the remote, and that for a password.
        env={**os.environ, "GIT_NO_LAZY_FETCH": "1", "GIT_TERMINAL_PROMPT": "0"},
    )
    if result.returncode:
        reason = one_line(result.stderr) or f"exit status {result.returncode}"
        raise UserError(f"`git {' '.join(arguments)}` failed: {reason}")
    return result.stdout.removesuffix("\n")


def resolve(revision: str) -> str:
    """Return the commit of a revision or experiment.

    A UserError if there is no such commit, or if this clone lacks some of its files, for which DVC
    would wait for ever.
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
    commit = git("rev-parse", "--verify", f"{digest}^{{}}")  # of a tag, what it names
    kind = git("cat-file", "-t", commit)
    if kind != "commit":
        raise UserError(f"{revision}: a {kind}, expected a branch, tag, commit or experiment")
    if "?" in git("rev-list", "--objects", "--no-object-names", "--missing=print", "-1", commit):
        raise UserError(
            f"{revision}: some of its files are not in this clone, which is a partial one; "
            "`git fetch --refetch --no-filter` completes it"
        )
    return commit


class Files:
    """The files of a revision or experiment, also those that DVC keeps; None is the workspace.

    Making it raises a UserError as `resolve` does. Its methods raise a FileNotFoundError if the
    revision has no such path, or DVC has it neither in its cache nor in a remote.
    """

    def __init__(self, revision: str | None) -> None:
        self.commit = None if revision is None else resolve(revision)
        self._files = DVCFileSystem(rev=self.commit)
        # Of a revision, DVC's paths start at the root of the git repository.
        self._prefix = "" if revision is None else git("rev-parse", "--show-prefix")

    def read(self, path: str | Path) -> bytes:
        """Read a file."""
        content: bytes = self._files.read_bytes(f"{self._prefix}{path}")
        return content

    def copy(self, path: str | Path, directory: Path) -> None:
        """Copy a file or directory to the same path in another directory."""
        try:
            names = self._files.find(f"{self._prefix}{path}")
        except DataIndexDirError:  # which files these are is not known
            names = []
        if not names:
            raise FileNotFoundError(path)
        for name in names:
            target = directory / name.removeprefix(self._prefix)
            target.parent.mkdir(parents=True, exist_ok=True)
            self._files.get_file(name, str(target))
