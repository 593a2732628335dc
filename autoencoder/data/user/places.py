"""Pictures in directories: their places, or a table of labels, say their classes and splits."""

from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path, PureWindowsPath

import numpy as np

from autoencoder.base.errors import UserError, listed
from autoencoder.data.user import pictures, tables
from autoencoder.data.user.account import Account
from autoencoder.data.user.batches import Labels, Source
from autoencoder.data.user.formats import PICTURES, explanation
from autoencoder.data.user.roles import Split, is_numbered_split, split_of, splits_of_directories

# The files in each directory, before those of directories in it, as text: there may be many.
Folders = dict[Path, list[str]]
Named = dict[str, tuple[str, str]]  # label and split of pictures by a table


def read_labels(account: Account, files: list[Path], folders: Folders) -> Named:
    """Read tables that label pictures; refuse other files next to them, or note that they are."""
    named: Named = {}
    faults: dict[str, list[Path]] = {}
    strays: dict[Path, list[str]] = {}
    for file in files:
        suffix = file.suffix.lower()
        content = tables.describe(file)[0] if suffix in (".csv", ".tsv", ".txt") else None
        fault = explanation(file) or "rename it to .NAME if it is no data, or move it"
        fault = f"not a picture by its suffix, expected {' '.join(PICTURES)}; {fault}"
        if content and content.role == "labels":
            if not content.is_labelled:
                fault = content.fault.removeprefix(f"{file}: ")
            elif (theirs := content.labels()).files is not None:
                if unclear := _name_pictures(file, theirs, folders, named):
                    strays[file] = unclear
                continue
        elif suffix in (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar"):
            account.skipped.append(f"{file.name}: an archive next to pictures")
            continue
        elif content and content.role == "images":
            fault = "images in a table next to pictures; move one of them away"
        elif content and suffix != ".txt":
            account.skipped.append(f"{file.name}: neither images nor labels of pictures")
            continue
        faults.setdefault(fault, []).append(file)
    if strays:
        lines = next(iter(strays.values()))
        fault = (
            f"{listed(lines, 5)}: no such picture below it, or several; write the path of each "
            "from there, with its suffix, or delete its line, or move the table"
        )
        faults[fault] = [*strays]
    if faults:
        raise UserError("; ".join(f"{listed(some)}: {fault}" for fault, some in faults.items()))
    return named


def _name_pictures(file: Path, theirs: Labels, folders: Folders, named: Named) -> list[str]:
    """Label pictures below a table, of its split, by the end of their paths, or their stems.

    Return the names that fit no picture or several. Refuse pictures with several labels.
    """
    root, split = file.parent, split_of(file.name)
    lines = np.asarray(theirs.files).tolist()
    names = [PureWindowsPath(name).as_posix().removeprefix("./") for name in lines]
    fitting: dict[str, list[str]] = {name: [] for name in names}
    for folder, images in folders.items():
        inside = folder.relative_to(root).parts if folder.is_relative_to(root) else ()
        splits = [found for part in reversed(inside) if (found := split_of(part))]
        if not folder.is_relative_to(root) or (split and splits and splits[0] != split):
            continue
        starts = ["/".join((*inside[start:], "")) for start in range(len(inside) + 1)]
        for image in images:
            own = Path(image)
            ends = {start + name for name in (own.name, own.stem) for start in starts}
            for end in ends & fitting.keys():
                fitting[end].append(image)
    unclear = [
        name for name, some in fitting.items() if len(some) != 1 and str(root / name) not in some
    ]
    if unclear:
        return unclear
    of_each = [split or ""] * len(names) if theirs.splits is None else theirs.splits
    for name, label, its_split in zip(names, theirs.labels, of_each, strict=True):
        some = fitting[name]
        image = some[0] if len(some) == 1 else str(root / name)
        row = str(label), str(its_split)
        if named.setdefault(image, row) != row:
            raise UserError(
                f"{file}: {name} is {' '.join(row).strip()}, in another line "
                f"{' '.join(named[image]).strip()}; keep one line of each picture"
            )
    return []


def iter_sources(
    account: Account,
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
            yield from iter_sources(
                account, path, below, named, name_labels, split or its_split, label
            )
    elif label is not None or not inside or (len(unnamed) < len(files) and not any(splits)):
        if 0 < len(unnamed) < len(files):
            raise UserError(
                f"{unnamed[0]}: no label in the table next to it; add its line, or move the picture"
            )
        rows = [(x, *named.get(x, (Path(x).name if name_labels else None, ""))) for x in files]
        batches = partial(pictures.iter_batches, rows, account.unreadable)
        yield Source(str(directory), "pictures", split, batches, label)
    elif {"train", "test"} <= set(splits):
        known = {path for path, its_split in zip(inside, splits, strict=True) if its_split}
        others = [path.name for path in [*inside, *map(Path, flat)] if path not in known]
        raise UserError(f"{directory}: {listed(others)} next to splits; remove or move it")
    elif flat:
        raise UserError(f"{listed(flat)}: next to the class directories; remove or move it")
    else:
        _check_classes(account, directory, inside)
        for path, below in inside.items():
            yield from iter_sources(account, path, below, named, name_labels, split, path.name)


def _check_classes(account: Account, directory: Path, inside: dict[Path, Folders]) -> None:
    """Refuse directories that are rather no classes; warn if classes may be below them."""
    if any(path.name.lower() in ("images", "imgs") for path in inside):
        raise UserError(
            f"{directory}: {listed([path.name for path in inside])}: not classes by these names; "
            "give the directory of images alone, or a directory of each class"
        )
    numbered = [path.name for path in inside if is_numbered_split(path.name)]
    if numbered:
        raise UserError(
            f"{directory}: {listed(numbered)}: classes or splits? Name splits train, validation "
            "and test alone, or put such classes into a directory for each split"
        )
    below = [{folder.name for folder in some if folder != path} for path, some in inside.items()]
    counts = Counter(name for names in below for name in names if not split_of(name))
    shared = sorted(name for name, count in counts.items() if count > 1)
    if len(shared) > 1:
        account.warnings.append(
            f"{directory}: the classes are {listed([path.name for path in inside], 5)}, not the "
            f"directories in them, although several have {listed(shared, 5)}; if those are the "
            "classes, move them up"
        )
