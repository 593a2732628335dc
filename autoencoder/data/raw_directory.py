"""The directory that fetch fills, which may contain the user's files, or links.

fetch must leave exactly the files of the data set there, because the directory's digest in dvc.lock
covers all of it. But it deletes only files that it wrote, as its record tells, or can download
again, and neither writes nor deletes anything behind a link.
"""

import json
import logging
from collections.abc import Collection, Iterator
from pathlib import Path

from autoencoder.base.errors import UserError
from autoencoder.base.files import PARTIAL_PATTERN, atomic_write, sha256
from autoencoder.data.datasets import is_published
from autoencoder.data.names import listed

log = logging.getLogger(__name__)


class RawDirectory:
    """A directory together with the record of the files that were written there.

    Parameters
    ----------
    path : Path
        The directory; it need not exist.
    record : Path
        JSON file, outside the directory, with the SHA-256 of each file that was written there, by
        its path relative to the directory.
    """

    def __init__(self, path: Path, record: Path) -> None:
        self.path = path
        self.record = record
        try:
            self._written: dict[str, str] = json.loads(record.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            self._written = {}

    def prepare(self, expected: Collection[Path], changed: Collection[Path]) -> None:
        """Check, before anything is written, that the directory can be made to match.

        Parameters
        ----------
        expected : collection of Path
            All files that are to be there in the end.
        changed : collection of Path
            Those of them that have to be written.

        Raises
        ------
        UserError
            If the directory contains other files that are neither published nor in the record with
            their present content, or if a file to write or delete is behind a link.
        """
        obsolete = self._extra_files(expected)
        foreign = [
            path
            for path in obsolete
            if not is_published(path)
            and not (path.is_file() and self._written.get(self._name(path)) == sha256(path))
        ]
        if foreign:
            raise UserError(
                f"{listed(foreign)}: not written by fetch, so it will not delete them; move them "
                f"out of {self.path} or delete them, then run `dvc repro` again"
            )
        if linked := [path for path in [*changed, *obsolete] if self._is_linked(path)]:
            raise UserError(
                f"{listed(linked)}: behind a link, so fetch will not change them; replace the "
                "link by a directory, or put exactly the files of the data set there"
            )

    def finish(self, expected: Collection[Path]) -> None:
        """Delete what earlier data sets left there, and record the files of this one."""
        for path in self._extra_files(expected):
            log.info("deleting %s, a file of an earlier data set", path)
            path.unlink()
        if not self.path.is_symlink():
            for partial in self.path.rglob(PARTIAL_PATTERN):  # of a killed process
                partial.unlink()
            for directory in sorted(self.path.rglob("*/"), reverse=True):
                is_own = directory.is_dir() and not directory.is_symlink()
                if is_own and not any(directory.iterdir()):
                    directory.rmdir()
        self._written |= {self._name(path): sha256(path) for path in expected}
        with atomic_write(self.record) as partial:
            partial.write_text(json.dumps(self._written, indent=1) + "\n", encoding="utf-8")

    def _name(self, path: Path) -> str:
        return path.relative_to(self.path).as_posix()

    def _extra_files(self, expected: Collection[Path]) -> list[Path]:
        files = {path for path in _walk(self.path, set()) if not path.match(PARTIAL_PATTERN)}
        return sorted(files - set(expected))

    def _is_linked(self, path: Path) -> bool:
        inside = path.relative_to(self.path)
        places = [self.path, *(self.path / part for part in reversed(inside.parents))]
        return any(place.is_symlink() for place in [*places, path])


def _walk(directory: Path, seen: set[Path]) -> Iterator[Path]:
    """Go through all files below a directory, also behind links, each directory once."""
    real = directory.resolve()
    if real in seen or not directory.is_dir():
        return
    seen.add(real)
    for path in sorted(directory.iterdir()):
        if path.is_dir():
            yield from _walk(path, seen)
        else:
            yield path
