"""What the names of a user's files, directories and arrays tell: junk, and splits."""

import re
from pathlib import Path
from typing import Literal

Split = Literal["train", "test"]

# Written by file managers, archivers and editors; hidden files are skipped as well.
_JUNK = {"thumbs.db", "desktop.ini", "__macosx"}

# Validation images are added to training, which holds out its own.
_SPLITS: dict[str, Split] = {
    **dict.fromkeys(("train", "training", "val", "valid", "validation"), "train"),
    **dict.fromkeys(("test", "testing", "t10k"), "test"),
}
_FILLERS = {"set", "data", "images", "split"}


def is_visible(path: Path, root: Path) -> bool:
    """Tell whether a path below `root` is the user's, not one of a file manager or tool."""
    return not any(
        part.startswith(".") or part.lower() in _JUNK for part in path.relative_to(root).parts
    )


def visible_entries(directory: Path) -> list[Path]:
    """List the user's files and directories in a directory, sorted by name."""
    return [path for path in sorted(directory.iterdir()) if is_visible(path, directory)]


def words(name: str) -> list[str]:
    """Split a name at punctuation and capitals: trainingSet-2 is training, set, 2."""
    found = re.findall(r"(?i:t10k)|[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+", name)
    return [word.lower() for word in found]


def split_of_directory(name: str) -> Split | None:
    """Return the split that a directory's name stands for, in any case and spelling."""
    found = [_SPLITS.get(word) for word in words(name) if word not in _FILLERS]
    return found[0] if len(found) == 1 else None


def split_of(name: str) -> Split | None:
    """Return the split that a word in the name of a file or array stands for."""
    found = {_SPLITS[word] for word in words(name) if word in _SPLITS}
    return found.pop() if len(found) == 1 else None
