"""What is found in a path, and what readers yield."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autoencoder.base.errors import UserError
from autoencoder.data.user.roles import Role, Split

Texts = NDArray[np.str_]

# Values that a reader holds at a time. One image may be larger. Whoever has a batch deletes it
# before the next one is read, because generators would keep it meanwhile.
BATCH_BYTES = 4 << 20
MIN_SIDE = 7  # of images
UNLABELLED = "unlabelled"
LITTER = "hidden or of a file manager or editor"

Place = Callable[[int], str]
Cell = Callable[[int | None], str]  # where a value of an image is, or its label


@dataclass
class Batch:
    """Images of one shape, as they are stored, and what the file says about each."""

    values: NDArray[Any]  # (n, height, width) or (n, height, width, channels)
    place: Place  # of an image, for messages
    labels: Texts | None = None
    splits: Texts | None = None
    ids: Texts | None = None
    white: float | None = None  # if the format defines it
    cell: Cell = lambda _: ""


@dataclass
class Labels:
    """Labels that are stored without their images."""

    labels: Texts
    splits: Texts | None = None  # "" if the file does not say it
    ids: Texts | None = None  # of their images, such as the names of pictures


@dataclass
class Source:
    """Images that are read one after the other, or labels, in a table, an array or pictures."""

    path: Path
    part: str  # the name of the array, or of the file
    role: Role | None
    text: str  # what it is, for the account
    fault: str = ""  # why it is not images
    # Yields the batches, given the number of labels elsewhere, if there are any.
    batches: Callable[..., Iterator[Batch]] = lambda: iter(())
    labels: Callable[[], Labels] = lambda: Labels(np.array([], str))
    is_labelled: bool = False  # whether the batches have labels
    label: str | None = None  # of all images, if the batches have none
    split: Split | None = None

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"{self.path}" + f": array {self.part}" * (self.path.suffix == ".npz")


# An image, what white is, its place, its label and its split.
Item = tuple[NDArray[Any], float | None, str, str | None, str]


def group(items: Iterable[Item], cell: Cell = lambda _: "") -> Iterator[Batch]:
    """Make batches of images that are read one by one, each batch of one shape and type."""
    for (shape, dtype, white), alike in groupby(items, lambda x: (x[0].shape, x[0].dtype, x[1])):
        count = min(256, rows_of(math.prod(shape) * dtype.itemsize))
        while some := list(islice(alike, count)):
            values, _, places, labels, splits = zip(*some, strict=True)
            named = None if None in labels else np.array(labels)
            place, said = places.__getitem__, np.array(splits)
            yield Batch(np.stack(values), place, named, said, white=white, cell=cell)


def rows_of(item_bytes: int) -> int:
    """Return how many items of a size make a batch."""
    return max(1, BATCH_BYTES // max(1, item_bytes))


def is_square(count: int) -> bool:
    """Tell whether a number of pixels is that of a square image that is not too small."""
    return count >= MIN_SIDE**2 and math.isqrt(count) ** 2 == count


def refuse_alpha(path: object, values: NDArray[Any]) -> None:
    """Refuse images (n, height, width) that were flattened if they seem to be of RGBA."""
    flat = values[:64].reshape(min(64, len(values)), -1)
    if flat.shape[1] % 4 == 0 and (flat[:, 3::4] == 255).all() and (flat != 255).any():
        raise UserError(
            f"{path}: every fourth of {flat.shape[1]} values is 255, as in pixels of red, green, "
            "blue and alpha; save one grey value for each pixel"
        )
