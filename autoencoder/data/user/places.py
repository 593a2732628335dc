"""Pictures in directories: their places, or a table of labels, say their classes and splits."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path, PureWindowsPath

import numpy as np

from autoencoder.base.errors import UserError, listed
from autoencoder.data.user import pictures, tables
from autoencoder.data.user.account import Account
from autoencoder.data.user.batches import Source
from autoencoder.data.user.formats import PICTURES, explanation
from autoencoder.data.user.roles import Split, split_of, splits_of_directories

Folders = dict[Path, list[Path]]  # the files in each directory, before those of directories in it
Named = dict[Path, tuple[str, str]]  # label and split of pictures by a table


def read_labels(account: Account, files: list[Path], images: list[Path]) -> Named:
    """Read tables that label pictures; refuse other files next to them, or note that they are."""
    labels: dict[str, tuple[str, str]] = {}  # by path, name or stem
    unknown = []
    for file in files:
        suffix = file.suffix.lower()
        content = tables.describe(file)[0] if suffix in (".csv", ".tsv", ".txt") else None
        theirs = content.labels() if content and content.role == "labels" else None
        if theirs is not None and theirs.files is not None:
            splits = np.full(len(theirs.labels), split_of(file.name) or "")
            splits = splits if theirs.splits is None else theirs.splits
            for name, label, split in zip(theirs.files, theirs.labels, splits, strict=True):
                path = PureWindowsPath(name).as_posix().removeprefix("./")
                labels[path] = (str(label), str(split))
        elif suffix in (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar"):
            account.skipped.append(f"{file.name}: an archive next to pictures")
        elif content and content.role == "images":
            raise UserError(f"{file}: images in a table next to pictures; move one of them away")
        elif content and content.role is None and suffix != ".txt":
            account.skipped.append(f"{file.name}: neither images nor labels of pictures")
        else:
            unknown.append(file)
    if unknown:
        hint = explanation(unknown[0]) or "rename it to .NAME if it is no data, or move it"
        raise UserError(
            f"{listed(unknown)}: not a picture by its suffix, expected {' '.join(PICTURES)}; {hint}"
        )
    named: Named = {}
    for image in images if labels else []:  # by the end of its path, with suffix or without
        spellings = (image.parts, image.with_suffix("").parts)
        ends = {"/".join(parts[start:]) for parts in spellings for start in range(len(parts))}
        if found_ends := ends & labels.keys():
            named[image] = labels[max(found_ends, key=len)]
    return named


def iter_sources(
    directory: Path,
    folders: Folders,
    named: Named,
    name_labels: bool,
    split: Split | None = None,
    label: str | None = None,
) -> Iterator[Source]:
    """Find the pictures below a directory: flat, by split, by class, or labelled by a table."""
    files = [file for some in folders.values() for file in some]
    flat = folders.get(directory, [])
    inside: dict[Path, Folders] = {}
    for folder, some in folders.items():
        if folder != directory:
            name = folder.relative_to(directory).parts[0]
            inside.setdefault(directory / name, {})[folder] = some
    splits = splits_of_directories([path.name for path in inside])
    unnamed = [file for file in files if file not in named]
    is_wrapped = len(inside) == 1 and not inside.keys() & folders.keys()
    if inside and not flat and (None not in splits or is_wrapped):
        for (path, below), its_split in zip(inside.items(), splits, strict=True):
            yield from iter_sources(path, below, named, name_labels, split or its_split, label)
    elif label is not None or not inside or (len(unnamed) < len(files) and not any(splits)):
        if 0 < len(unnamed) < len(files):
            raise UserError(
                f"{unnamed[0]}: no label in the table next to it; add its line, or move the picture"
            )
        rows = [(x, *named.get(x, (x.name if name_labels else None, ""))) for x in files]
        batches = partial(pictures.iter_batches, rows)
        yield Source(str(directory), "pictures", split, batches, label)
    elif {"train", "test"} <= set(splits):
        known = {path for path, its_split in zip(inside, splits, strict=True) if its_split}
        others = [path.name for path in [*inside, *flat] if path not in known]
        raise UserError(f"{directory}: {listed(others)} next to splits; remove or move it")
    elif flat:
        raise UserError(f"{listed(flat)}: next to the class directories; remove or move it")
    else:
        for path, below in inside.items():
            yield from iter_sources(path, below, named, name_labels, split, path.name)
