"""Find: a path becomes a list of sources, each with its split and reader."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

from autoencoder.base.errors import UserError, listed
from autoencoder.data.names import is_visible
from autoencoder.data.user import arrays, pairs, parquet, places, tables
from autoencoder.data.user.account import Account
from autoencoder.data.user.batches import LITTER, Source
from autoencoder.data.user.formats import PICTURES, Faults, identify, is_company, is_unpacked

# The readers of files, by the kinds of `identify`. Pictures are read by directory.
READERS: dict[str, Callable[[Path], list[Source]]] = {
    "table": tables.describe,
    "parquet": parquet.describe,
    **{kind: partial(arrays.describe, kind=kind) for kind in ("npy", "npz", "idx")},
}


def find_sources(account: Account, name_labels: bool = False) -> None:
    """Find the images of a file or directory, the root of the account.

    With `name_labels`, pictures without classes are labelled by their file names. Files that cannot
    be read are refused, and those of which it is not clear what belongs together.
    """
    path = account.root
    files = _walk(account) if path.is_dir() else [str(path)]
    if not files:
        what = f"nothing but {listed(account.skipped)}" if account.skipped else "nothing"
        raise UserError(f"{path}: {what} in it, expected tables, arrays or pictures")
    pictures = [file for file in files if Path(file).suffix.lower() in PICTURES]
    kinds = {} if pictures else _identify(files)
    pictures = pictures or [file for file, kind in kinds.items() if kind == "picture"]
    if not pictures:
        sources = [x for file, kind in kinds.items() for x in READERS[kind](Path(file))]
        pairs.add_sources(account, sources)
        return
    folders: places.Folders = {}
    for file in pictures:
        folders.setdefault(Path(file).parent if path.is_dir() else path, []).append(file)
    known = set(pictures)
    others = [Path(file) for file in files if file not in known]
    places.add_sources(account, folders, others, name_labels)


def _identify(files: list[str]) -> dict[str, str]:
    """Return the kind of each file; refuse those that cannot be read, all at once."""
    kinds: dict[str, str] = {}
    faults = Faults()
    for path in map(Path, files):
        with faults.noted(path):
            kinds[str(path)] = identify(path)
            if kinds[str(path)] == "unknown":
                hint = "expected a table, arrays or pictures; write it as CSV or with numpy.savez"
                raise UserError(f"of no known format, {hint}")
    faults.refuse()
    return kinds


def _walk(account: Account) -> list[str]:
    """List the user's files, those in a directory before those below it; note what is skipped."""
    files: list[str] = []
    litter = 0

    def fail(error: OSError) -> None:
        raise error

    for folder, directories, names in os.walk(account.root, onerror=fail):
        path = Path(folder)
        hidden = {name for name in (*directories, *names) if not is_visible(path / name, path)}
        litter += len(hidden)
        directories[:] = sorted(set(directories) - hidden)
        if links := [path / name for name in directories if (path / name).is_symlink()]:
            raise UserError(
                f"{listed(links)}: links to directories; copy them here, or remove them"
            )
        for file in (path / name for name in sorted(set(names) - hidden)):
            name = str(file.relative_to(account.root))
            if is_company(file):
                account.skipped.append(name)
            elif file.suffix.lower() not in PICTURES and is_unpacked(file):
                account.skipped.append(f"{name}: also unpacked")
            else:
                files.append(str(file))
    if litter:
        account.skipped.append(f"{litter} {LITTER}")
    return files
