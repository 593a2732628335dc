"""The directory that fetch fills, which may contain the user's files, or links.

fetch must leave exactly the files of the data set there, because the directory's digest in dvc.lock
covers all of it. But it deletes only published files, those that the user's data or DVC's cache
has with the same bytes, and all of them if they are as dvc.lock records them. Who wrote them does
not matter: fetch, `dvc pull`, `dvc checkout` or an experiment. fetch neither writes nor deletes
anything behind a link.
"""

import filecmp
import logging
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path

from autoencoder.base.errors import UserError, listed
from autoencoder.base.files import PARTIAL_PATTERN, file_digest, walk_files
from autoencoder.data.datasets import is_published

log = logging.getLogger(__name__)


class RawDirectory:
    """A directory of copies, and `incoming`, that of the user's data; both may be missing."""

    def __init__(self, path: Path, incoming: Path) -> None:
        self.path = path
        self.incoming = incoming

    def prepare(self, expected: Collection[Path], changed: Collection[Path]) -> None:
        """Check, before anything is written, that the directory can be made to match.

        `expected` are all files that are to be there in the end, `changed` those of them that have
        to be written. Raises UserError if the directory contains other files whose content would be
        lost, or if a file to write or delete is behind a link.
        """
        obsolete = self._extra_files(expected)
        if unique := self._only_copies(obsolete):
            raise UserError(
                f"{listed(unique)}: neither published nor in {self.incoming} or DVC's cache, so "
                f"fetch will not delete the only copy; move it out of {self.path}, or delete it, "
                "then run `dvc repro` again"
            )
        if linked := [path for path in [*changed, *obsolete] if self._is_linked(path)]:
            raise UserError(
                f"{listed(linked)}: behind a link, so fetch will not change them; replace the "
                "link by a directory, or put exactly the files of the data set there"
            )

    def finish(self, expected: Collection[Path]) -> None:
        """Delete what earlier data sets left there."""
        if obsolete := self._extra_files(expected):
            log.info("%s: deleting %d files of an earlier data set", self.path, len(obsolete))
        for path in obsolete:
            path.unlink()
        if not self.path.is_symlink():
            for partial in self.path.rglob(PARTIAL_PATTERN):  # of a killed process
                partial.unlink()
            for path in sorted(self.path.rglob("*"), reverse=True):
                with suppress(OSError):  # not an empty directory
                    path.rmdir()

    def _extra_files(self, expected: Collection[Path]) -> list[Path]:
        files = {path for path in walk_files(self.path) if not path.match(PARTIAL_PATTERN)}
        return sorted(files - set(expected))

    def _only_copies(self, files: Collection[Path]) -> list[Path]:
        """Return those files whose content is not known to exist elsewhere."""
        unknown = [path for path in files if not is_published(path)]
        links = [path for path in unknown if not path.is_file()]  # that lead nowhere, for instance
        digests = {path: file_digest(path, "md5") for path in unknown if path.is_file()}
        for known in (self._in_incoming, self._in_dvc):
            if digests:
                found = known(digests)
                digests = {path: md5 for path, md5 in digests.items() if md5 not in found}
        return links + list(digests)

    def _in_incoming(self, digests: Mapping[Path, str]) -> set[str]:
        """Return the MD5 of each file in the user's data that is as large as one of `digests`."""
        sizes = {path.stat().st_size for path in digests}
        real = self.path.resolve()
        return {
            file_digest(path, "md5")
            for path in walk_files(self.incoming)
            if path.is_file()
            and path.stat().st_size in sizes
            and not path.resolve().is_relative_to(real)  # a link to the file itself
        }

    def _in_dvc(self, digests: Mapping[Path, str]) -> set[str]:
        """Return those of the digests that dvc.lock or DVC's cache, wherever it is, vouches for."""
        # Here, because DVC takes a second, and most runs never get here.
        from dvc.exceptions import NotDvcRepoError, OutputNotFoundError
        from dvc.repo import Repo

        try:
            repo = Repo()
        except NotDvcRepoError:
            return set()
        with suppress(OutputNotFoundError):
            (output,) = repo.find_outs_by_path(str(self.path))
            if not output.changed_checksum():
                return set(digests.values())
        cache = repo.cache.local
        return {
            digest
            for path, digest in digests.items()
            if (copy := Path(cache.oid_to_path(digest))).is_file()
            and filecmp.cmp(path, copy, shallow=False)
        }

    def _is_linked(self, path: Path) -> bool:
        above = [place for place in path.parents if place.is_relative_to(self.path)]
        return any(place.is_symlink() for place in [path, *above])
