"""Names of a user's files, directories and arrays: junk, splits, and lists in messages."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

Split = Literal["train", "test"]

# Written by file managers, archivers and editors; hidden files are skipped as well.
_JUNK = {"thumbs.db", "desktop.ini", "__macosx"}

# Validation images are added to training, which holds out its own.
_SPLITS: dict[str, Split] = {
    **dict.fromkeys(("train", "training", "trainset", "val", "valid", "validation"), "train"),
    **dict.fromkeys(("test", "testing", "testset", "t10k"), "test"),
}
_MAX_LISTED = 20  # paths in a message
_FILLERS = {"set", "data", "images", "split"}


def is_visible(path: Path, root: Path) -> bool:
    """Tell whether a path below `root` is the user's, not one of a file manager or tool."""
    return not any(
        part.startswith(".") or part.lower() in _JUNK for part in path.relative_to(root).parts
    )


def visible_entries(directory: Path) -> list[Path]:
    """List the user's files and directories in a directory, sorted by name."""
    return [path for path in sorted(directory.iterdir()) if is_visible(path, directory)]


def listed(paths: Sequence[Path]) -> str:
    """List paths for a message, the first of many."""
    more = f" and {len(paths) - _MAX_LISTED} more" if len(paths) > _MAX_LISTED else ""
    return ", ".join(map(str, paths[:_MAX_LISTED])) + more


def words(name: str) -> list[str]:
    """Split a name at punctuation and capitals: trainingSet-2 is training, set, 2."""
    found = re.findall(r"(?i:t10k)|[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+", name)
    return [word.lower() for word in found]


def splits_of_directories(names: Sequence[str]) -> list[Split | None]:
    """Return the splits that the names of all directories in a place stand for.

    In any case and spelling, and also with words that all of them have: mnist_train, mnist_test.
    """
    of_each = [{word for word in words(name) if word not in _FILLERS} for name in names]
    common = set.intersection(*of_each) - _SPLITS.keys() if len(of_each) > 1 else set()
    found = [[_SPLITS.get(word) for word in some - common] for some in of_each]
    return [splits[0] if len(splits) == 1 else None for splits in found]


def split_of(name: str) -> Split | None:
    """Return the split that a word in the name of a file or array stands for."""
    found = {_SPLITS[word] for word in words(name) if word in _SPLITS}
    return found.pop() if len(found) == 1 else None
