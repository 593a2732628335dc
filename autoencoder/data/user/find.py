"""Find: a path becomes a list of sources, each with its split, class and reader."""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoencoder.base.errors import UserError, listed
from autoencoder.data import table
from autoencoder.data.names import is_visible
from autoencoder.data.user import arrays, parquet, pictures, tables
from autoencoder.data.user.batches import Batch, Content, Split, role_of, stem, words
from autoencoder.data.user.formats import PICTURES, explanation, identify, is_company

# The readers of files, by the kinds of `identify`. Pictures are read by directory.
READERS: dict[str, Callable[[Path], list[Content]]] = {
    "table": tables.describe,
    "parquet": parquet.describe,
    **{kind: partial(arrays.describe, kind=kind) for kind in ("npy", "npz", "idx")},
}
# Validation images are added to training, which holds out its own.
_VALIDATION = ("val", "valid", "validation", "dev")
_SPLITS: dict[str, Split] = {
    **dict.fromkeys(("train", "training", "trainset", *_VALIDATION), "train"),
    **dict.fromkeys(("test", "testing", "testset", "t10k"), "test"),
}
_FILLERS = {"set", "data", "images", "split"}

_Tree = dict[Path, tuple[list[str], list[Path]]]  # the directories and files in each directory
_Labels = dict[str, tuple[str, str]]  # of pictures: label and split by path, name or stem
_LabelOf = Callable[[Path], tuple[str | None, str]]  # label and split of a picture


@dataclass
class Source:
    """Images that are read one after the other: a table, an array, the pictures of a class."""

    name: str  # for messages
    text: str  # what it is, for the account
    split: Split | None
    batches: Callable[[], Iterator[Batch]]


@dataclass
class Found:
    """What there is in a path."""

    sources: list[Source] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    rivals: str = ""  # why sources may not be used together


def find_sources(path: Path, name_labels: bool = False) -> Found:
    """Find the images of a file or directory.

    With `name_labels`, pictures without classes are labelled by their file names. Files that cannot
    be read are refused, and those of which it is not clear what belongs together.
    """
    found = Found()
    unclassed = _name if name_labels else partial(_class, None)
    if not path.is_dir():
        if (kind := identify(path)) == "picture":
            found.sources = [_pictures(path, [path], None, unclassed)]
        else:
            _add_contents(found, path, READERS[kind](path))
        return found
    tree = _walk(path, found)
    files = [file for _, inside in tree.values() for file in inside]
    if not files and not any(directories for directories, _ in tree.values()):
        what = f"nothing but {listed(found.skipped)}" if found.skipped else "nothing"
        raise UserError(f"{path}: {what} in it, expected tables, arrays or pictures")
    others = [file for file in files if not _is_picture(file)]
    if len(others) < len(files):
        labels = _labels_of_pictures(found, others)
        for folder, (names, inside) in tree.items():
            tree[folder] = (names, [file for file in inside if _is_picture(file)])
        _add_pictures(found, tree, path, None, labels, unclassed)
    else:
        _add_contents(found, path, [x for file in others for x in READERS[identify(file)](file)])
    return found


def split_of(name: str) -> Split | None:
    """Return the split that a word in the name of a file or array stands for."""
    found = {_SPLITS[word] for word in words(name) if word in _SPLITS}
    return found.pop() if len(found) == 1 else None


def splits_of_directories(names: Sequence[str]) -> list[Split | None]:
    """Return the splits that the names of all directories in a place stand for.

    In any case and spelling, and also with words that all of them have: mnist_train, mnist_test.
    """
    of_each = [{word for word in words(name) if word not in _FILLERS} for name in names]
    common = set.intersection(*of_each) - _SPLITS.keys() if len(of_each) > 1 else set()
    found = [[_SPLITS.get(word) for word in some - common] for some in of_each]
    return [splits[0] if len(splits) == 1 else None for splits in found]


def _walk(root: Path, found: Found) -> _Tree:
    """List the user's directories and files; note what is skipped."""
    tree: _Tree = {}
    litter = 0
    for folder, directories, files in os.walk(root):
        path = Path(folder)
        hidden = {name for name in (*directories, *files) if not is_visible(path / name, path)}
        litter += len(hidden)
        directories[:] = sorted(set(directories) - hidden)
        visible = [path / name for name in sorted(set(files) - hidden)]
        found.skipped += [str(file.relative_to(root)) for file in visible if is_company(file)]
        tree[path] = ([*directories], [file for file in visible if not is_company(file)])
    if litter:
        found.skipped.append(f"{litter} hidden or of a file manager or editor")
    return tree


def _add_contents(found: Found, root: Path, contents: list[Content]) -> None:
    """Pair images with labels, by split."""
    images = [content for content in contents if content.role == "images"]
    labels = [content for content in contents if content.role == "labels"]
    if not images:
        if labels and not labels[0].fault:
            raise UserError(
                f"{labels[0].path}: labels in {labels[0].name}, expected their images next to them"
            )
        raise UserError(contents[0].fault if contents else f"{root}: no image in it")
    found.skipped += [x.fault for x in contents if x.role is None]

    def key(content: Content) -> tuple[Split | None, bool]:
        names = [content.name, *content.path.relative_to(root.parent).parts[:0:-1]]
        split = next((split for split in map(split_of, names) if split), None)
        return split, any(word in _VALIDATION for name in names for word in words(name))

    groups: dict[tuple[Split | None, bool], list[Content]] = {}
    for content in sorted(images, key=_natural):
        groups.setdefault(key(content), []).append(content)
    is_bare = not labels and not any(x.is_labelled or role_of(x.name) for x in images)
    if is_bare and len(images) > 1 and any(split is None for split, _ in groups):
        found.sources = [_source(x, None, partial(_labelled_by_name, x)) for x in images]
        return
    if len(groups) > 1 and (strangers := [x.name for x in groups.get((None, False), [])]):
        raise UserError(
            f"{root}: {listed(strangers)} next to splits; expected one table, or `train` and "
            "`test` in the names of all; merge, rename or move it"
        )
    for kind, group in groups.items():
        theirs = [x for x in labels if key(x) == kind or len(images) == 1]
        _add_group(found, kind[0], group, sorted(theirs, key=_natural))


def _add_group(
    found: Found, split: Split | None, images: list[Content], labels: list[Content]
) -> None:
    """Pair the images of a split with labels, in the order of their names."""
    alone = [content for content in images if not content.is_labelled]
    if len(alone) > max(1, len(labels)) and len({content.path for content in alone}) == 1:
        alone = _without_copies(alone)
        images = [content for content in images if content in alone or content.is_labelled]
    names = [content.name for content in images]
    is_numbered = len(names) == 1 or re.search(r"\d", names[0])
    if not is_numbered or len({re.sub(r"\d+", "#", name) for name in names}) > 1:
        found.rivals = (
            f"{images[0].path}: {listed(names)} are all images"
            f"{f' to {split} on' if split else ''}; expected one of each split, named for "
            "instance x_train and y_train, or train.csv and test.csv, or parts with numbers"
        )
    if labels and len(labels) != len(alone):
        raise UserError(
            found.rivals
            or f"{labels[0].path}: {listed([x.name for x in labels])} are all labels of "
            f"{alone[0].name if alone else 'labelled images'}; keep one, and rename the others"
        )
    unpaired = iter(labels)
    for content in images:
        theirs = None if content.is_labelled else next(unpaired, None)
        batches = partial(_paired, content, theirs) if theirs else partial(content.images, None)
        found.sources.append(_source(content, split, batches))


def _natural(content: Content) -> list[tuple[int, str]]:
    parts = re.split(r"(\d+)", f"{content.path} {content.name}")
    return [(int(part), "") if part.isdecimal() else (0, part) for part in parts]


def _without_copies(contents: list[Content]) -> list[Content]:
    """Keep one of arrays of the same values in other shapes, as in scikit-learn's load_digits."""
    first, *others = contents
    pixels = _pixels(first)
    return [first, *(x for x in others if not np.array_equal(pixels, _pixels(x)))]


def _pixels(content: Content) -> NDArray[Any]:
    batches = content.images(None)
    return np.concatenate([batch.values.reshape(len(batch.values), -1) for batch in batches])


def _source(
    content: Content, split: Split | None, batches: Callable[[], Iterator[Batch]]
) -> Source:
    text = content.text
    if "emnist" in words(content.path.name):
        text += ", turned upright, because EMNIST's files are transposed"
        batches = partial(_transposed, batches)
    name = str(content.path) + f": array {content.name}" * (content.path.suffix == ".npz")
    return Source(name, text, split, batches)


def _transposed(batches: Callable[[], Iterator[Batch]]) -> Iterator[Batch]:
    for batch in batches():
        batch.values = batch.values.swapaxes(1, 2)
        yield batch


def _labelled_by_name(content: Content) -> Iterator[Batch]:
    for batch in content.images(None):
        batch.labels = np.full(len(batch.values), stem(Path(content.name)))
        yield batch


def _paired(content: Content, theirs: Content) -> Iterator[Batch]:
    """Read images with labels from elsewhere."""
    labels = theirs.labels()
    row = 0
    for batch in content.images(len(labels.labels)):
        rows = slice(row, row + len(batch.values))
        row = rows.stop
        batch.labels = labels.labels[rows]
        batch.splits = None if labels.splits is None else labels.splits[rows]
        if row <= len(labels.labels):
            yield batch
    if row != len(labels.labels):
        raise UserError(
            f"{theirs.path}: {len(labels.labels)} labels in {theirs.name}, expected one for each "
            f"of {row} images in {content.name}"
        )


def _labels_of_pictures(found: Found, files: list[Path]) -> _Labels:
    """Read tables that label picture files: label and split by path, name or stem."""
    labels: _Labels = {}
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
                labels[path] = (str(label), split_of(split) or "")
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


def _add_pictures(
    found: Found,
    tree: _Tree,
    directory: Path,
    split: Split | None,
    labels: _Labels,
    unclassed: _LabelOf,
) -> None:
    """Add the pictures below a directory: flat, by class, by split, or labelled by a table."""
    directories, files = tree[directory]
    splits = splits_of_directories(directories)
    inner = [directory / name for name in directories]
    if labels and not any(splits):
        below = _below(tree, directory)
        is_labelled = any(_keys(file) & labels.keys() for file in below)
        label = partial(_look_up, labels) if is_labelled else partial(_class, None)
        found.sources.append(_pictures(directory, below, split, label))
    elif not directories:
        found.sources.append(_pictures(directory, files, split, unclassed))
    elif not files and (None not in splits or (len(inner) == 1 and not tree[inner[0]][1])):
        for each, its_split in zip(inner, splits, strict=True):
            _add_pictures(found, tree, each, split or its_split, labels, unclassed)
    elif {"train", "test"} <= set(splits):
        known = {each for each, its_split in zip(inner, splits, strict=True) if its_split}
        others = [path.name for path in [*inner, *files] if path not in known]
        raise UserError(f"{directory}: {listed(others)} next to splits; remove or move it")
    elif files:
        raise UserError(f"{listed(files)}: next to the class directories; remove or move it")
    else:
        _check_names(inner)
        for each in inner:
            _add_class(found, tree, each, split)


def _add_class(found: Found, tree: _Tree, directory: Path, split: Split | None) -> None:
    """Add the pictures of a class, which may be split."""
    parts = {directory: split}
    directories, files = tree[directory]
    splits = splits_of_directories(directories)
    if splits and None not in splits and not files:
        inner = [directory / name for name in directories]
        parts = dict(zip(inner, splits, strict=True))
    for path, its_split in parts.items():
        if below := _below(tree, path):
            label = partial(_class, directory.name)
            found.sources.append(_pictures(path, below, its_split, label))
        else:
            found.skipped.append(f"{path.name}: no picture in it")


def _below(tree: _Tree, directory: Path) -> list[Path]:
    """List the pictures below a directory, in the order of their directories."""
    return [
        x for folder in sorted(tree) if folder.is_relative_to(directory) for x in tree[folder][1]
    ]


def _is_picture(file: Path) -> bool:
    return file.suffix.lower() in PICTURES


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


def _pictures(path: Path, files: list[Path], split: Split | None, label: _LabelOf) -> Source:
    if label is _name:
        _check_names(files)
    return Source(str(path), "pictures", split, partial(pictures.iter_batches, files, label))


def _name(file: Path) -> tuple[str, str]:
    return file.name, ""


def _class(name: str | None, _: Path) -> tuple[str | None, str]:
    return name, ""


def _look_up(labels: _Labels, file: Path) -> tuple[str, str]:
    """Return label and split of a picture by as much of its path as the table of labels has."""
    if found := _keys(file) & labels.keys():
        return labels[max(found, key=len)]
    raise UserError(f"{file}: no label in the table next to it; add its line, or move the picture")


def _keys(file: Path) -> set[str]:
    """Return what may name a picture: the ends of its path, with its suffix and without."""
    paths = (file.parts, file.with_suffix("").parts)
    return {"/".join(parts[start:]) for parts in paths for start in range(len(parts))}
