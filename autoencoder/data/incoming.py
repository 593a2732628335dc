"""Copying a user's data to the raw directory."""

import filecmp
import logging
import shutil
from pathlib import Path

from tqdm import tqdm

from autoencoder.base.errors import UserError
from autoencoder.base.files import atomic_write
from autoencoder.data.names import is_visible
from autoencoder.data.raw_directory import RawDirectory

log = logging.getLogger(__name__)


def copy_user_data(source: Path, raw: RawDirectory) -> None:
    """Make `raw` contain a copy of a user's file or directory, under its name, and nothing else.

    Hidden files, those of file managers and directories without files are skipped.

    Raises UserError if `source` is missing, hidden or empty, or contains a link to a directory, or
    if `raw` contains other files, and OSError if a file cannot be read or written.
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
    raw.prepare(copies, changed)
    for copy in tqdm(changed, unit="file", disable=None):  # none without a terminal
        with atomic_write(copy) as partial:
            shutil.copyfile(copies[copy], partial)
    raw.finish(copies)
    size = f", {len(copies)} files" if source.is_dir() else ""
    log.info("%s: a copy of %s%s", raw.path, source, size)
