"""Tables and arrays: which images and labels belong together, and to which split."""

import re
from collections.abc import Callable, Iterator
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoencoder.base.errors import UserError, listed
from autoencoder.data.user.account import Account
from autoencoder.data.user.batches import Batch, Source
from autoencoder.data.user.roles import Split, is_numbered_split, role_of, split_of, stem


def add_sources(account: Account, sources: list[Source]) -> None:
    """Pair images with labels, by split and in the natural order of their names."""
    root = account.root
    sources = sorted(sources, key=_natural)
    images, labels = ([x for x in sources if x.role == role] for role in ("images", "labels"))
    faults = [x.fault for x in sources if x.role is None]
    if qmnist := [x.path for x in labels if "labels-idx2-int" in x.path.name]:
        raise UserError(f"{listed(qmnist)}: QMNIST; set `dataset: qmnist` in params.yaml instead")
    if not images:
        if labels:
            first = labels[0]
            fault = f"{first.path}: labels in {first.part}, expected their images next to them"
            faults = [first.fault or fault, *faults]
        raise UserError(listed(faults, 3, "; ") or f"{root}: no image in it")
    numbered = [x for x in sources if re.fullmatch(r"arr_\d+", x.part)]
    if len({x.role for x in numbered}) > 1:
        raise UserError(
            f"{numbered[0].path}: arrays without names, not all of images; save them with names, "
            "as in numpy.savez(FILE, x_train=…, y_train=…, x_test=…, y_test=…)"
        )
    account.skipped += faults
    groups: dict[Split | None, list[Source]] = {}
    for source in sources:
        source.split = _split(root, source)
        if source.role == "images":
            groups.setdefault(source.split, []).append(source)
    classes = [] if labels or any(x.is_labelled for x in images) else _classes(root, images)
    if len(groups) > 1 and None in groups and not classes:
        raise UserError(
            f"{root}: {listed([x.part for x in groups[None]])} next to splits; expected one table, "
            "or `train` and `test` in the names of all; merge, rename or move it"
        )
    for source, label in zip(images, classes, strict=False):
        source.label = label
        source.split = None if None in groups else source.split
    for split, group in groups.items():
        theirs = [x for x in labels if x.split == split or len(images) == 1]
        account.sources += group if classes else _paired(account, group, theirs)


def _split(root: Path, source: Source) -> Split | None:
    """Return the split that an array's name says, or its file's, or that of a directory."""
    names = [source.part, *source.path.relative_to(root.parent).parts[:0:-1]]
    return next((split for split in map(split_of, names) if split), None)


def _natural(source: Source) -> list[tuple[int, str]]:
    parts = re.split(r"(\d+)", f"{source.path} {source.part}")
    return [(int(part), "") if part.isdecimal() else (0, part) for part in parts]


def _classes(root: Path, images: list[Source]) -> list[str]:
    """Return the classes of images without labels, by their names; none if these are others."""
    folders = [_class_folder(root, x) for x in images]
    if len(set(folders)) > 1 and all(folders):
        return folders
    names = [stem(Path(x.part)) for x in images]
    splits = [x.split for x in images]
    is_distinct = len(set(zip(names, splits, strict=True))) == len(names) > 1
    if not is_distinct or any(map(role_of, names)):
        return []
    if None in splits:
        return names
    if len(set(splits)) < len(splits) and all(map(is_numbered_split, names)):
        raise UserError(
            f"{images[0].path}: {listed([x.part for x in images])}: classes or parts? Save "
            "classes as train/0.npy, in a directory for each split, or name parts x_train_0"
        )
    # Such as train/cat.npy, train/dog.npy; but not parts with numbers.
    kinds = {re.sub(r"\d+", "#", name) for name in names}
    is_split = len(set(splits)) == len(splits) or any(map(split_of, names))
    return [] if is_split or (len(kinds) == 1 and kinds != {"#"}) else names


def _class_folder(root: Path, source: Source) -> str:
    """Return the directory of a file that may be a class, "" if there is none.

    Those of Parquet are named label=5.
    """
    parts = source.path.relative_to(root).parts[:-1] if source.path != root else ()
    named = [x for x in parts if "=" in x and role_of(x.partition("=")[0]) == "labels"]
    others = [x for x in parts if not split_of(x) and role_of(x) != "images"]
    return ["", *others, *named][-1].rpartition("=")[2]


def _paired(account: Account, images: list[Source], labels: list[Source]) -> list[Source]:
    """Give the images of a split their labels, if there are any; leave out copies of others."""
    alone = [x for x in images if not x.is_labelled]
    if len(alone) > max(1, len(labels)) and len({x.path for x in alone}) == 1:
        copies = [x for x in alone[1:] if _is_copy(x, alone[0])]
        alone, images = ([x for x in some if x not in copies] for some in (alone, images))
    names = [f"{x.path if labels or x.is_labelled else x.path.name} {x.part}" for x in images]
    patterns = {re.sub(r"\d+", "#", name) for name in names}
    if len(patterns) > 1 or len(set(names)) < len(names):
        account.rivals = (
            f"{listed([x.name for x in images])} are all images"
            f"{f' to {images[0].split} on' if images[0].split else ''}; expected one of each "
            "split, named for instance x_train and y_train, or train.csv and test.csv, or parts "
            "with numbers"
        )
    if not alone:
        account.skipped += [f"{x.path.name}: labels, but the images have their own" for x in labels]
    elif not labels:
        for source in alone:
            source.text += ", no labels"
    elif len(labels) != len(alone):
        raise UserError(
            account.rivals
            or f"{listed([x.name for x in labels])} are all labels of {alone[0].part}; keep one, "
            "and rename the others"
        )
    for source, theirs in zip(alone, labels, strict=False):
        source.text += f", labels in {theirs.part}"
        source.batches = partial(_labelled, source.batches, source.part, theirs)
    return images


def _is_copy(one: Source, other: Source) -> bool:
    """Tell whether arrays have the same values in other shapes, as scikit-learn's load_digits."""

    def pixels(source: Source) -> Iterator[NDArray[Any]]:
        for batch in source.batches():
            yield from batch.values.reshape(len(batch.values), -1)

    return all(np.array_equal(a, b) for a, b in zip_longest(pixels(one), pixels(other)))


def _labelled(
    batches: Callable[[int], Iterator[Batch]], part: str, theirs: Source
) -> Iterator[Batch]:
    """Read images with the labels of another source, by id if both have ids."""
    known = theirs.labels()
    count = len(known.labels)
    lines = {} if known.ids is None else {name: x for x, name in enumerate(known.ids.tolist())}
    row = 0
    for batch in batches(count):
        rows = list(range(row, row + len(batch.values)))
        row += len(rows)
        if row <= count:
            if lines:
                numbers = [str(x + ("0" not in lines)) for x in rows]
                ids = numbers if batch.ids is None else batch.ids.tolist()
                if missing := [x for x in ids if x not in lines]:
                    raise UserError(
                        f"{theirs.path}: no label with the id {listed(missing, 5)}; give each "
                        "image the label with its id, or delete the ids if both are in the same "
                        "order"
                    )
                rows = [lines[x] for x in ids]
            batch.labels = known.labels[rows]
            batch.splits = None if known.splits is None else known.splits[rows]
        yield batch
        del batch
    if row != count:
        hints = {
            row + 1: "; if its first line is a header, write `label` there",
            row - 1: "; if its first line is no header, write `label` above it",
        }
        raise UserError(
            f"{theirs.path}: {count} labels in {theirs.part}, expected one for each of {row} "
            f"images in {part}{hints.get(count, '')}"
        )
