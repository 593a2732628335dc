"""Pictures in directories: their places, or a table of labels, say their classes and splits."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path, PureWindowsPath

import numpy as np

from autoencoder.base.errors import UserError, listed
from autoencoder.data import table
from autoencoder.data.user import pictures, tables
from autoencoder.data.user.batches import Found, Source
from autoencoder.data.user.formats import PICTURES, explanation
from autoencoder.data.user.roles import Split, split_of, splits_of_directories

Folders = dict[Path, list[Path]]  # the files in each directory, before those of directories in it
Labels = dict[str, tuple[str, str]]  # label and split of pictures by path, name or stem


def read_labels(found: Found, files: list[Path]) -> Labels:
    """Read tables that label pictures; refuse other files next to them, or note that they are."""
    labels: Labels = {}
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
            found.skipped.append(f"{file.name}: an archive next to pictures")
        elif content and content.role == "images":
            raise UserError(f"{file}: images in a table next to pictures; move one of them away")
        elif content and content.role is None and suffix != ".txt":
            found.skipped.append(f"{file.name}: neither images nor labels of pictures")
        else:
            unknown.append(file)
    if unknown:
        hint = explanation(unknown[0]) or "rename it to .NAME if it is no data, or move it"
        raise UserError(
            f"{listed(unknown)}: not a picture by its suffix, expected {' '.join(PICTURES)}; {hint}"
        )
    return labels


def iter_sources(
    directory: Path,
    folders: Folders,
    labels: Labels,
    name_labels: bool,
    split: Split | None = None,
    label: str | None = None,
) -> Iterator[Source]:
    """Find the pictures below a directory: flat, by split, by class, or labelled by a table."""
    flat = folders.get(directory, [])
    inside: dict[Path, Folders] = {}
    for folder, files in folders.items():
        if folder != directory:
            name = folder.relative_to(directory).parts[0]
            inside.setdefault(directory / name, {})[folder] = files
    splits = splits_of_directories([path.name for path in inside])
    is_wrapped = len(inside) == 1 and not inside.keys() & folders.keys()
    if inside and not flat and (None not in splits or is_wrapped):
        for (path, below), its_split in zip(inside.items(), splits, strict=True):
            yield from iter_sources(path, below, labels, name_labels, split or its_split, label)
    elif label is not None or not inside or (labels and not any(splits)):
        files = [file for some in folders.values() for file in some]
        rows = _rows(files, labels if label is None else {}, name_labels, label)
        yield Source(str(directory), "pictures", split, partial(pictures.iter_batches, rows))
    elif {"train", "test"} <= set(splits):
        known = {path for path, its_split in zip(inside, splits, strict=True) if its_split}
        others = [path.name for path in [*inside, *flat] if path not in known]
        raise UserError(f"{directory}: {listed(others)} next to splits; remove or move it")
    elif flat:
        raise UserError(f"{listed(flat)}: next to the class directories; remove or move it")
    else:
        _check_names(list(inside))
        for path, below in inside.items():
            yield from iter_sources(path, below, labels, name_labels, split, path.name)


def _rows(
    files: list[Path], labels: Labels, name_labels: bool, label: str | None
) -> list[pictures.Row]:
    """Return the label and split of each picture: by the table if it has any of them."""
    # Tables have the end of a path, with its suffix or without.
    keys = [max(_keys(x) & labels.keys(), key=len, default="") for x in files if labels]
    if any(keys):
        if "" in keys:
            raise UserError(
                f"{files[keys.index('')]}: no label in the table next to it; add its line, or move "
                "the picture"
            )
        return [(file, *labels[key]) for file, key in zip(files, keys, strict=True)]
    if name_labels and label is None:
        _check_names(files)
        return [(file, file.name, "") for file in files]
    return [(file, label, "") for file in files]


def _keys(file: Path) -> set[str]:
    paths = (file.parts, file.with_suffix("").parts)
    return {"/".join(parts[start:]) for parts in paths for start in range(len(parts))}


def _check_names(paths: list[Path]) -> None:
    """Refuse names that cannot be labels, all at once."""
    bad = [(path.name, fault) for path in paths if (fault := table.label_fault(path.name))]
    if bad:
        names = listed([f"{name!r:.80}" for name, _ in bad])
        is_one = len(bad) == 1
        raise UserError(
            f"{paths[0].parent}: the name{'s' * (not is_one)} {names} cannot be "
            f"{'a label' if is_one else 'labels'}: {bad[0][1]}; rename {'it' if is_one else 'them'}"
        )
