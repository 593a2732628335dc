"""Tables and arrays: which images and labels belong together, and to which split."""

import re
from collections.abc import Iterator
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoencoder.base.errors import UserError, listed
from autoencoder.data.user.account import Account
from autoencoder.data.user.batches import Batch, Content, Source, Texts
from autoencoder.data.user.roles import Split, is_numbered_split, role_of, split_of, stem


def add_sources(account: Account, contents: list[Content]) -> None:
    """Pair images with labels, by split and in the natural order of their names."""
    root = account.root
    images = sorted((x for x in contents if x.role == "images"), key=_natural)
    labels = sorted((x for x in contents if x.role == "labels"), key=_natural)
    faults = [x.fault for x in contents if x.role is None]
    if qmnist := [x.path for x in labels if "labels-idx2-int" in x.path.name]:
        raise UserError(f"{listed(qmnist)}: QMNIST; set `dataset: qmnist` in params.yaml instead")
    if not images:
        if labels:
            first = labels[0]
            fault = f"{first.path}: labels in {first.name}, expected their images next to them"
            faults = [first.fault or fault, *faults]
        raise UserError(listed(faults, 3, "; ") or f"{root}: no image in it")
    numbered = [x for x in contents if re.fullmatch(r"arr_\d+", x.name)]
    if len({x.role for x in numbered}) > 1:
        raise UserError(
            f"{numbered[0].path}: arrays without names, not all of images; save them with names, "
            "as in numpy.savez(FILE, x_train=…, y_train=…, x_test=…, y_test=…)"
        )
    account.skipped += faults
    groups: dict[Split | None, list[Content]] = {}
    for content in images:
        groups.setdefault(_split(root, content), []).append(content)
    if classes := _classes(root, images, labels, groups):
        for content, label in zip(images, classes, strict=True):
            split = None if None in groups else _split(root, content)
            account.sources.append(_source(content, None, split, label))
        return
    if len(groups) > 1 and None in groups:
        raise UserError(
            f"{root}: {listed([x.name for x in groups[None]])} next to splits; expected one table, "
            "or `train` and `test` in the names of all; merge, rename or move it"
        )
    for split, group in groups.items():
        theirs = [x for x in labels if _split(root, x) == split or len(images) == 1]
        _add_group(account, split, group, theirs)


def _classes(
    root: Path,
    images: list[Content],
    labels: list[Content],
    groups: dict[Split | None, list[Content]],
) -> list[str]:
    """Return the classes of images that have no labels but names, if they are classes."""
    if labels or len(images) < 2 or any(x.is_labelled for x in images):
        return []
    folders = [_class_folder(root, x) for x in images]
    if len(set(folders)) > 1 and all(folders):
        return folders
    names = [stem(Path(x.name)) for x in images]
    splits = [_split(root, x) for x in images]
    if any(map(role_of, names)) or len(set(zip(names, splits, strict=True))) < len(names):
        return []
    if None in groups:
        return names
    if max(map(len, groups.values())) == 1:
        return []
    if not any(map(split_of, names)):  # train/cat.npy, train/dog.npy; but not parts with numbers
        kinds = {re.sub(r"\d+", "#", name) for name in names}
        return names if len(kinds) > 1 or kinds == {"#"} else []
    if all(map(is_numbered_split, names)):
        raise UserError(
            f"{images[0].path}: {listed([x.name for x in images])}: classes or parts? Save "
            "classes as train/0.npy, in a directory for each split, or name parts x_train_0"
        )
    return []


def _add_group(
    account: Account, split: Split | None, images: list[Content], labels: list[Content]
) -> None:
    """Pair the images of a split with labels."""
    alone = [content for content in images if not content.is_labelled]
    if len(alone) > max(1, len(labels)) and len({content.path for content in alone}) == 1:
        copies = [x for x in alone[1:] if _is_copy(x, alone[0])]
        alone, images = ([x for x in some if x not in copies] for some in (alone, images))
    names = [f"{x.path if labels or x.is_labelled else x.path.name} {x.name}" for x in images]
    patterns = {re.sub(r"\d+", "#", name) for name in names}
    if len(patterns) > 1 or len(set(names)) < len(names):
        account.rivals = (
            f"{listed(images)} are all images"
            f"{f' to {split} on' if split else ''}; expected one of each split, named for "
            "instance x_train and y_train, or train.csv and test.csv, or parts with numbers"
        )
    if not alone:
        account.skipped += [f"{x.path.name}: labels, but the images have their own" for x in labels]
        labels = []
    if labels and len(labels) != len(alone):
        raise UserError(
            account.rivals
            or f"{listed(labels)} are all labels of "
            f"{alone[0].name}; keep one, and rename the others"
        )
    unpaired = iter(labels)
    for content in images:
        theirs = None if content.is_labelled else next(unpaired, None)
        account.sources.append(_source(content, theirs, split))


def _split(root: Path, content: Content) -> Split | None:
    """Return the split that an array's name says, or its file's, or that of a directory."""
    names = [content.name, *content.path.relative_to(root.parent).parts[:0:-1]]
    return next((split for split in map(split_of, names) if split), None)


def _class_folder(root: Path, content: Content) -> str:
    """Return the directory of a file that may be a class, "" if there is none.

    Those of Parquet are named label=5.
    """
    parts = content.path.relative_to(root).parts[:-1] if content.path != root else ()
    named = [x for x in parts if "=" in x and role_of(x.partition("=")[0]) == "labels"]
    others = [x for x in parts if not split_of(x) and role_of(x) != "images"]
    return ["", *others, *named][-1].rpartition("=")[2]


def _natural(content: Content) -> list[tuple[int, str]]:
    parts = re.split(r"(\d+)", f"{content.path} {content.name}")
    return [(int(part), "") if part.isdecimal() else (0, part) for part in parts]


def _is_copy(one: Content, other: Content) -> bool:
    """Tell whether arrays have the same values in other shapes, as scikit-learn's load_digits."""

    def pixels(content: Content) -> Iterator[NDArray[Any]]:
        for batch in content.images(None):
            yield from batch.values.reshape(len(batch.values), -1)

    return all(np.array_equal(a, b) for a, b in zip_longest(pixels(one), pixels(other)))


def _source(
    content: Content, theirs: Content | None, split: Split | None, label: str | None = None
) -> Source:
    text = content.text
    if theirs:
        text += f", labels in {theirs.name}"
    elif not content.is_labelled and label is None:
        text += ", no labels"
    text += ", turned upright, because EMNIST's files are transposed" * content.is_transposed
    return Source(str(content), text, split, partial(_batches, content, theirs), label)


def _batches(content: Content, theirs: Content | None) -> Iterator[Batch]:
    """Read images, with labels from elsewhere if there are any."""
    labels = theirs.labels() if theirs else None
    count = None if labels is None else len(labels.labels)
    ids: dict[str, int] = {}  # and their lines
    if labels and labels.files is not None:
        ids = {name: line for line, name in enumerate(labels.files.tolist())}
    row = 0
    for batch in content.images(count):
        rows: Any = range(row, row + len(batch.values))
        row = rows.stop
        if content.is_transposed:
            batch.values = batch.values.swapaxes(1, 2)
        if theirs and labels and row <= len(labels.labels):
            if ids:
                rows = _lines_of(theirs, ids, rows, batch.ids)
            batch.labels = labels.labels[rows]
            batch.splits = None if labels.splits is None else labels.splits[rows]
        yield batch
        del batch
    if theirs and row != count:
        hints = {
            row + 1: "; if its first line is a header, write `label` there",
            row - 1: "; if its first line is no header, write `label` above it",
        }
        raise UserError(
            f"{theirs.path}: {count} labels in {theirs.name}, expected one for each of {row} "
            f"images in {content.name}{hints.get(count or 0, '')}"
        )


def _lines_of(theirs: Content, lines: dict[str, int], rows: range, ids: Texts | None) -> list[int]:
    """Return the lines of labels with the ids of images, or with their numbers from 0 or 1 on."""
    names = [str(row + ("0" not in lines)) for row in rows] if ids is None else ids.tolist()
    if missing := [name for name in names if name not in lines]:
        raise UserError(
            f"{theirs.path}: no label with the id {listed(missing, 5)}; give each image the label "
            "with its id, or delete the ids if both are in the same order"
        )
    return [lines[name] for name in names]
