"""Pictures in directories: their places, or a table of labels, say their classes and splits."""

import unicodedata
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path, PureWindowsPath

from autoencoder.base.errors import UserError, listed
from autoencoder.data.user import pictures, tables
from autoencoder.data.user.account import Account, Faults
from autoencoder.data.user.batches import Labels, Source
from autoencoder.data.user.formats import PICTURES, identify
from autoencoder.data.user.roles import (
    Split,
    is_numbered_split,
    role_of,
    split_of,
    splits_of_directories,
)

# The files in each directory, before those of directories in it, as text: there may be many.
Folders = dict[Path, list[str]]
Named = dict[str, tuple[str, str]]  # label and split of pictures by a table


def read_labels(account: Account, files: list[Path], folders: Folders) -> Named:
    """Read tables that label pictures; refuse what may be data, and note what else there is."""
    named: Named = {}
    faults = Faults()
    for file in files:
        with faults.noted(file):
            if not _label_pictures(file, folders, named):
                account.skipped.append(f"{file.name}: neither a picture nor labels of pictures")
    faults.refuse()
    return named


def _label_pictures(file: Path, folders: Folders, named: Named) -> bool:
    """Label pictures by a table; tell whether the file is one."""
    kind = identify(file)
    if kind == "picture":
        raise UserError(f"a picture without its suffix, one of {' '.join(PICTURES)}; rename it")
    content = _describe_text(file) if kind == "table" else None
    if kind not in ("table", "unknown") or (content and content.role == "images"):
        raise UserError(
            "a table of images, or an array, next to pictures; move one of them away, or write "
            "labels as a table with the columns path and label"
        )
    if not content or content.role != "labels":
        return False
    labels = content.labels()
    if labels.ids is None and len(labels.labels) == sum(map(len, folders.values())):
        raise UserError(
            "a label for each picture, but of which one? Add a column `path` with its path"
        )
    unclear = _name_pictures(file, labels, folders, named)
    if unclear:
        raise UserError(
            f"{listed(unclear, 5)}: no such picture below it, or several; write the path of "
            "each from there, with its suffix, or delete its line, or move the table"
        )
    return unclear is not None


def _describe_text(file: Path) -> Source | None:
    """Describe a table; None of notes and other text that is none."""
    try:
        return tables.describe(file)[0]
    except UserError:
        if file.suffix.lower() in (".csv", ".tsv"):
            raise
        return None


def _name_pictures(file: Path, theirs: Labels, folders: Folders, named: Named) -> list[str] | None:
    """Label pictures below a table, of its split, by the end of their paths, or their stems.

    Return the names that fit no picture or several; None if the labels are of something else, such
    as of classes. Refuse pictures with several labels.
    """
    if theirs.ids is None:
        return None
    root, split = file.parent, split_of(file.name)
    names = [
        _composed(PureWindowsPath(name).as_posix().removeprefix("./"))
        for name in theirs.ids.tolist()
    ]
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
            for end in set(map(_composed, ends)) & fitting.keys():
                fitting[end].append(image)
    if len(folders) > 1 and not any(fitting.values()):
        return None
    unclear = [
        name
        for name, some in fitting.items()
        if len(some) != 1 and str(root / name) not in map(_composed, some)
    ]
    if unclear:
        return unclear
    of_each = [split or ""] * len(names) if theirs.splits is None else theirs.splits
    for name, label, its_split in zip(names, theirs.labels, of_each, strict=True):
        some = fitting[name]
        image = min(some, key=lambda image: len(Path(image).parts))
        row = str(label), str(its_split)
        if named.setdefault(image, row) != row:
            raise UserError(
                f"{file}: {name} is {' '.join(row).strip()}, in another line "
                f"{' '.join(named[image]).strip()}; keep one line of each picture"
            )
    return []


def _composed(name: str) -> str:
    """Write a name in Unicode's NFC, as most systems do; macOS writes é as two characters."""
    return unicodedata.normalize("NFC", name)


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
    is_wrapped = len(inside) == 1 and (
        not inside.keys() & folders.keys() or role_of(next(iter(inside)).name) == "images"
    )
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
        yield Source(directory, "", "images", "pictures", "", batches, label=label, split=split)
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
    """Refuse directories that are probably not classes; warn if classes may be below them."""
    if any(path.name.lower() in ("images", "imgs", "mask", "masks") for path in inside):
        raise UserError(
            f"{directory}: {listed([path.name for path in inside])}: not classes by these names; "
            "give the directory of images alone, or a directory of each class"
        )
    below = [{folder.name for folder in some if folder != path} for path, some in inside.items()]
    counts = Counter(name for names in below for name in names if not split_of(name))
    shared = sorted(name for name, count in counts.items() if count > 1)
    splits = [path.name for path in inside if split_of(path.name)]
    if splits and (any(below) or any(map(is_numbered_split, splits))):
        raise UserError(
            f"{directory}: {listed([path.name for path in inside])}: classes or splits? Name "
            "splits train, validation and test alone, or put such classes into a directory for "
            "each split"
        )
    if len(shared) > 1:
        account.warnings.append(
            f"{directory}: the classes are {listed([path.name for path in inside], 5)}, not the "
            f"directories in them, although several have {listed(shared, 5)}; if those are the "
            "classes, move them up"
        )
