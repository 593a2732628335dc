"""The directory that fetch fills, which may contain the user's files, or links.

fetch must leave exactly the files of the data set there, because the directory's digest in dvc.lock
covers all of it. But it deletes only published files, those that the user's data or DVC's cache
has with the same bytes, and all of them if they are as dvc.lock records them. Who wrote them does
not matter: fetch, `dvc pull`, `dvc checkout` or an experiment. fetch neither writes nor deletes
anything behind a link.
"""

import filecmp
import logging
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from autoencoder.base.errors import UserError, listed
from autoencoder.base.files import PARTIAL_PATTERN, atomic_write, file_digest, walk_files
from autoencoder.data.datasets import has_digest, is_published
from autoencoder.data.names import is_visible

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RawDirectory:
    """A directory of copies, and `incoming`, that of the user's data; both may be missing."""

    path: Path
    incoming: Path

    @contextmanager
    def replacing(self, expected: Collection[Path], changed: Collection[Path]) -> Iterator[None]:
        """Delete all but the expected files after the block, which writes those that `changed`.

        Raises UserError, before the block, if other files' content would be lost, or if a file to
        write or delete is behind a link.
        """
        files = {path for path in walk_files(self.path) if not path.match(PARTIAL_PATTERN)}
        obsolete = sorted(files - set(expected))
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
        yield
        if obsolete:
            log.info("%s: deleting %d files of an earlier data set", self.path, len(obsolete))
        for path in obsolete:
            path.unlink(missing_ok=True)
        if not self.path.is_symlink():
            for partial in self.path.rglob(PARTIAL_PATTERN):  # of a killed process
                partial.unlink()
            for path in sorted(self.path.rglob("*"), reverse=True):
                with suppress(OSError):  # not an empty directory
                    path.rmdir()

    def _is_linked(self, path: Path) -> bool:
        places = [path, *path.parents]
        return any(place.is_symlink() for place in places if place.is_relative_to(self.path))

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
        return {md5 for md5 in digests.values() if has_digest(Path(cache.oid_to_path(md5)), md5)}


def copy_user_data(source: Path, raw: RawDirectory) -> None:
    """Make `raw` contain a copy of a user's file or directory, under its name, and nothing else.

    Hidden files, those of file managers and directories without files are skipped. Raises UserError
    if `source` is missing, hidden or empty, or contains a link to a directory, or if `raw` contains
    other files, and OSError if a file cannot be read or written.
    """
    if not is_visible(source, source.parent):
        raise UserError(
            f"{source}: hidden, or of a file manager, by its name; rename it, also in params.yaml"
        )
    found = [
        path for path in [source, *sorted(source.rglob("*"))] if is_visible(path, source.parent)
    ]
    for path in found[1:]:
        if path.is_symlink() and path.is_dir():
            raise UserError(f"{path}: a link to a directory, expected the directory itself")
    files = [path for path in found if not path.is_dir()]
    if not files or not source.exists():
        raise UserError(
            f"{source}: nothing there; put the table or the directory of pictures that `dataset:` "
            "in params.yaml names there, or `dvc pull` it"
        )
    copied = {directory for path in files for directory in path.parents}
    for path in found:
        if path.is_dir() and path not in copied and path.parent in copied:
            log.info("%s: skipped, nothing in it", path)
    copies = {raw.path / path.relative_to(source.parent): path for path in files}
    changed = [
        copy
        for copy, path in copies.items()
        if not (copy.is_file() and filecmp.cmp(path, copy, shallow=False))
    ]
    with raw.replacing(copies, changed):
        for copy in tqdm(changed, unit="file", disable=None):  # none without a terminal
            with atomic_write(copy) as partial:
                shutil.copyfile(copies[copy], partial)
    size = f", {len(copies)} files" if source.is_dir() else ""
    log.info("%s: a copy of %s%s", raw.path, source, size)
