"""Find: a path becomes a list of sources, each with its split and reader."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

from autoencoder.base.errors import UserError, listed
from autoencoder.data.names import is_visible
from autoencoder.data.user import arrays, pairs, parquet, places, tables
from autoencoder.data.user.batches import Content, Found
from autoencoder.data.user.formats import PICTURES, identify, is_company

# The readers of files, by the kinds of `identify`. Pictures are read by directory.
READERS: dict[str, Callable[[Path], list[Content]]] = {
    "table": tables.describe,
    "parquet": parquet.describe,
    **{kind: partial(arrays.describe, kind=kind) for kind in ("npy", "npz", "idx")},
}


def find_sources(path: Path, name_labels: bool = False) -> Found:
    """Find the images of a file or directory.

    With `name_labels`, pictures without classes are labelled by their file names. Files that cannot
    be read are refused, and those of which it is not clear what belongs together.
    """
    found = Found()
    folders = _walk(path, found) if path.is_dir() else {path: [path]}
    files = [file for some in folders.values() for file in some]
    if not files:
        what = f"nothing but {listed(found.skipped)}" if found.skipped else "nothing"
        raise UserError(f"{path}: {what} in it, expected tables, arrays or pictures")
    pictures = [file for file in files if file.suffix.lower() in PICTURES]
    pictures = pictures or [file for file in files if identify(file) == "picture"]
    if pictures:
        is_picture = set(pictures).__contains__
        named = places.read_labels(found, [x for x in files if not is_picture(x)], pictures)
        folders = {folder: [*filter(is_picture, some)] for folder, some in folders.items()}
        folders = {folder: some for folder, some in folders.items() if some}
        found.sources = list(places.iter_sources(path, folders, named, name_labels and not named))
    else:
        contents = [x for file in files for x in READERS[identify(file)](file)]
        pairs.add_sources(found, path, contents)
    return found


def _walk(root: Path, found: Found) -> places.Folders:
    """List the user's files by directory; note what is skipped."""
    folders: places.Folders = {}
    litter = 0
    for folder, directories, names in os.walk(root):
        path = Path(folder)
        hidden = {name for name in (*directories, *names) if not is_visible(path / name, path)}
        litter += len(hidden)
        directories[:] = sorted(set(directories) - hidden)
        files = [path / name for name in sorted(set(names) - hidden)]
        found.skipped += [str(file.relative_to(root)) for file in files if is_company(file)]
        folders[path] = [file for file in files if not is_company(file)]
    if litter:
        found.skipped.append(f"{litter} hidden or of a file manager or editor")
    return folders
