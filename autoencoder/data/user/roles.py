"""What the names of files, arrays and directories say: a split, images or labels."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

Split = Literal["train", "validation", "test"]
Role = Literal["images", "labels"]

_SPLITS: dict[str, Split] = {
    **dict.fromkeys(("train", "training", "trainset", "trn", "tra"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "validation"),
    **dict.fromkeys(("test", "testing", "testset", "t10k", "tst", "tes", "holdout"), "test"),
}
_FILLERS = {"set", "data", "images", "split"}  # of names of splits
LABELS = {"label", "class", "target", "digit", "y", "labels", "classes", "targets", "digits"}
_IMAGES = {"x", "images", "image", "imgs", "img", "data", "pixels"}
_SUFFIXES = {"idx", "ubyte", "int", "v", *_SPLITS}  # of roles
_PARTS, _SPLIT_WORDS = map("|".join, (sorted(_FILLERS | LABELS | _IMAGES), _SPLITS))
_JOINED = re.compile(f"({_PARTS})?({_SPLIT_WORDS})({_PARTS})?")


def split_of(name: str) -> Split | None:
    """Return the split that a word in the name of a file or array stands for."""
    found = {_SPLITS[word] for word in words(name) if word in _SPLITS}
    if found == {"train", "validation"}:
        return "train"
    return found.pop() if len(found) == 1 else None


def is_numbered_split(name: str) -> bool:
    """Tell whether there is nothing but a number or letter next to a split: train2017, testA."""
    others = [word for word in words(name) if word not in _SPLITS]
    return bool(split_of(name) and others) and all(x.isdecimal() or len(x) == 1 for x in others)


def splits_of_directories(names: Sequence[str]) -> list[Split | None]:
    """Return the splits that the names of all directories in a place stand for.

    In any case and spelling, and also with words that all of them have: mnist_train, mnist_test.
    """
    of_each = [set(words(name)) - _FILLERS for name in names]
    common = set.intersection(*of_each) - _SPLITS.keys() if len(of_each) > 1 else set()
    found = [[_SPLITS.get(word) for word in some - common] for some in of_each]
    return [splits[0] if len(splits) == 1 else None for splits in found]


def role_of(name: str) -> Role | None:
    """Return what the name of an array says that it is: x_train, train-labels-idx1-ubyte."""
    if re.fullmatch(r"(?i)(digit|class|\w+=)[\W_]*\d+", name):
        return None  # one of many classes
    found = [word for word in words(name) if word not in _SUFFIXES and not word[0].isdecimal()]
    if found and found[-1] in LABELS:
        return "labels"
    return "images" if _IMAGES & set(found) else None


def words(name: str) -> list[str]:
    """Split a name at punctuation, capitals and splits: trainSet-2 is train, set, 2; ytest y, test.

    Sizes such as 60000x1 are one word.
    """
    found = re.findall(r"(?i:t10k)|\d+(?:x\d+)*|[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)
    parts: list[str] = []
    for word in map(str.lower, found):
        joined = _JOINED.fullmatch(word)
        parts += filter(None, joined.groups()) if joined else [word]
    return parts


def stem(path: Path) -> str:
    """Return a file's name without its suffixes of formats and compressions."""
    suffixes = r"(\.(csv|tsv|txt|npy|npz|parquet|zip|gz|bz2|xz|zst))+$"
    return re.sub(suffixes, "", path.name, flags=re.IGNORECASE)
