"""Pictures in directories: their places, or a table of labels, say their classes and splits."""

import unicodedata
from collections import Counter
from collections.abc import Iterator
from functools import partial
from itertools import chain
from pathlib import Path, PureWindowsPath

import numpy as np

from autoencoder.base.errors import UserError, listed
from autoencoder.data.user import pictures, roles, tables
from autoencoder.data.user.account import Account
from autoencoder.data.user.batches import Labels, Source
from autoencoder.data.user.formats import PICTURES, Faults, identify

_composed = partial(unicodedata.normalize, "NFC")  # macOS writes é as two characters
# The pictures in each directory, before those of directories in it, as text: there may be many.
Folders = dict[Path, list[str]]
Named = dict[str, tuple[str, str]]  # label and split of pictures by a table


def add_sources(account: Account, folders: Folders, others: list[Path], name_labels: bool) -> None:
    """Find the splits and classes of pictures: flat, by directory, or labelled by a table."""
    named = _read_labels(account, others, folders)
    for directory, split, inside in _unwrapped(account.root, folders):
        for place, label, below in _classes(account, directory, inside, named):
            for path, its_split, part in _unwrapped(place, below, split):
                files = [*chain.from_iterable(part.values())]
                unnamed = [file for file in files if file not in named]
                if 0 < len(unnamed) < len(files):
                    raise UserError(
                        f"{unnamed[0]}: no label in the table next to it; add its line, or move "
                        "the picture"
                    )
                is_label = name_labels and not named
                rows = [(x, *named.get(x, (Path(x).name if is_label else None, ""))) for x in files]
                batches = partial(pictures.iter_batches, rows, account.unreadable)
                source = Source(path, path.name, "images", "pictures", batches=batches)
                source.split, source.label = its_split, label
                account.sources.append(source)


def _inside(directory: Path, folders: Folders) -> dict[Path, Folders]:
    """Return the directories in a directory, each with those below it."""
    inside: dict[Path, Folders] = {}
    for path, files in folders.items():
        if path != directory:
            name = path.relative_to(directory).parts[0]
            inside.setdefault(directory / name, {})[path] = files
    return inside


def _unwrapped(
    directory: Path, folders: Folders, split: roles.Split | None = None
) -> Iterator[tuple[Path, roles.Split | None, Folders]]:
    """Yield the directories of each split, of what others only wrap."""
    inside = _inside(directory, folders)
    splits = roles.splits_of_directories([path.name for path in inside])
    is_wrapper = len(inside) == 1 and (
        not inside.keys() & folders.keys() or roles.role_of(next(iter(inside)).name) == "images"
    )
    if directory not in folders and (None not in splits or is_wrapper):
        for (path, below), its_split in zip(inside.items(), splits, strict=True):
            yield from _unwrapped(path, below, split or its_split)
    else:
        yield directory, split, folders


def _classes(
    account: Account, directory: Path, folders: Folders, named: Named
) -> list[tuple[Path, str | None, Folders]]:
    """Return the directories of classes, and their names; or all as one, without a class.

    Refuse directories that are probably not classes, and warn if classes may be below them.
    """
    inside = _inside(directory, folders)
    names = [path.name for path in inside]
    splits, flat = roles.splits_of_directories(names), folders.get(directory, [])
    is_labelled = any(file in named for file in chain.from_iterable(folders.values()))
    if not names or (is_labelled and not any(splits)):
        return [(directory, None, folders)]
    if {"train", "test"} <= set(splits):
        others = [name for name, split in zip(names, splits, strict=True) if not split]
        others += [Path(file).name for file in flat]
        raise UserError(f"{directory}: {listed(others)} next to splits; remove or move it")
    if flat:
        raise UserError(f"{listed(flat)}: next to the class directories; remove or move it")
    if any(name.lower() in ("images", "imgs", "mask", "masks") for name in names):
        raise UserError(
            f"{directory}: {listed(names)}: not classes by these names; give the directory of "
            "images alone, or a directory of each class"
        )
    below = [{x.name for x in some if x != path} for path, some in inside.items()]
    if any(map(roles.is_numbered_split, names)) or (any(map(roles.split_of, names)) and any(below)):
        raise UserError(
            f"{directory}: {listed(names)}: classes or splits? Name splits train, validation and "
            "test alone, or put such classes into a directory for each split"
        )
    counts = Counter(name for some in below for name in some if not roles.split_of(name))
    shared = sorted(name for name, count in counts.items() if count > 1)
    if len(shared) > 1:
        account.warnings.append(
            f"{directory}: the classes are {listed(names, 5)}, not the directories in them, "
            f"although several have {listed(shared, 5)}; if those are the classes, move them up"
        )
    return [(path, path.name, some) for path, some in inside.items()]


def _read_labels(account: Account, files: list[Path], folders: Folders) -> Named:
    """Read tables that label pictures; refuse what may be data, and note what else there is."""
    named: Named = {}
    faults = Faults()
    for file in files:
        with faults.noted(file):
            labels = _labels_in(file)
            if not labels or not _name_pictures(file, labels, folders, named):
                account.skipped.append(f"{file.name}: neither a picture nor labels of pictures")
    faults.refuse()
    return named


def _labels_in(file: Path) -> Labels | None:
    """Read the labels in a table; None of what is none, such as notes."""
    kind = identify(file)
    if kind == "picture":
        raise UserError(f"a picture without its suffix, one of {' '.join(PICTURES)}; rename it")
    if kind == "unknown":
        return None
    try:
        content = tables.describe(file)[0] if kind == "table" else None
    except UserError:
        if file.suffix.lower() in (".csv", ".tsv"):
            raise
        return None
    if content is None or content.role == "images":
        raise UserError(
            "a table of images, or an array, next to pictures; move one of them away, or write "
            "labels as a table with the columns path and label"
        )
    return content.labels() if content.role == "labels" else None


def _name_pictures(file: Path, labels: Labels, folders: Folders, named: Named) -> bool:
    """Label pictures below a table, of its split, by the end of their paths, or their stems.

    Return whether there are any, or the labels are of something else, such as of classes.
    """
    if labels.ids is None:
        if len(labels.labels) == sum(map(len, folders.values())):
            raise UserError(
                "a label for each picture, but of which one? Add a column `path` with its path"
            )
        return False
    root, split = file.parent, roles.split_of(file.name)
    names = [
        _composed(PureWindowsPath(name).as_posix().removeprefix("./"))
        for name in labels.ids.tolist()
    ]
    fitting: dict[str, list[str]] = {name: [] for name in names}
    below = {x.relative_to(root).parts: x for x in folders if x.is_relative_to(root)}
    for parts, folder in below.items():
        its_split = next(filter(None, map(roles.split_of, reversed(parts))), split)
        if split and its_split != split:
            continue
        starts = ["/".join((*parts[start:], "")) for start in range(len(parts) + 1)]
        for image in map(Path, folders[folder]):
            ends = {start + name for name in (image.name, image.stem) for start in starts}
            for end in set(map(_composed, ends)) & fitting.keys():
                fitting[end].append(str(image))
    if len(folders) > 1 and not any(fitting.values()):
        return False
    for name, some in fitting.items():
        whole = _composed(str(root / name))
        fitting[name] = [image for image in some if _composed(image) == whole] or some
    if unclear := [name for name, some in fitting.items() if len(some) != 1]:
        raise UserError(
            f"{listed(unclear, 5)}: no such picture below it, or several; write the path of each "
            "from there, with its suffix, or delete its line, or move the table"
        )
    splits = np.full(len(names), split or "") if labels.splits is None else labels.splits
    rows = zip(labels.labels.tolist(), splits.tolist(), strict=True)
    for name, row in zip(names, rows, strict=True):
        known = named.setdefault(fitting[name][0], row)
        if known != row:
            raise UserError(
                f"{file}: {name} is {' '.join(row).strip()}, in another line "
                f"{' '.join(known).strip()}; keep one line of each picture"
            )
    return True
