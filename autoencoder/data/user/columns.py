"""What the columns of a table are, by their names and the cells of the first row."""

import logging
import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import pandas as pd

from autoencoder.base.errors import UserError, listed
from autoencoder.data import table
from autoencoder.data.user.batches import MIN_SIDE, is_square
from autoencoder.data.user.formats import PICTURES
from autoencoder.data.user.roles import LABELS, Role, role_of

log = logging.getLogger(__name__)

_INDEX = {"", "id", "index"}
_SPLIT = {"split", "usage", "set", "subset", "partition", "fold"}
_FILES = {"file", "filename", "file name", "path", "filepath", "file path", "image", "img", "id"}
_FILES |= {"image id", "image path", "image name", "img path", "name", "picture"}
# Names of pixels that give the column before the row: x0y0, w0_h0, j0_i0, col0_row0.
_COLUMN_FIRST = re.compile(r"(?i)(x|\b[cwj]|col\w*|width)\W?_?\d+\D*?(y|r|h|i|row|height)\W?_?\d")


@dataclass
class Columns:
    """Which column is what, each by its number; columns are numbered from 0."""

    names: list[str]
    label: int | None = None
    split: int | None = None
    files: int | None = None
    index: list[int] = field(default_factory=list)
    pixels: list[int] = field(default_factory=list)  # row by row; or the one that has them all
    shape: tuple[int, int] = (0, 0)  # of the images, if a column is a pixel
    is_guess: bool = False  # only its place, or that no other column is left, tells the label
    role: Role | None = "images"
    fault: str = ""  # why they are not images

    @property
    def is_packed(self) -> bool:
        """Whether all pixels of an image are in one cell."""
        return len(self.pixels) == 1

    @property
    def may_be_last(self) -> bool:
        """Whether the label is the first column only because nothing tells otherwise."""
        return self.is_guess and not self.is_packed and self.label != len(self.names) - 1

    def name(self, column: int) -> str:
        """Return the name of a column, or its number, counted from 1."""
        return self.names[column] or str(column + 1)

    def cell(self, pixel: int) -> str:
        """Say in which column a pixel is, for messages."""
        return f", column {self.name(self.pixels[0 if self.is_packed else pixel])}"

    def describe(self) -> str:
        """Describe the columns in a few words, for the account."""
        parts = ["a header" if any(self.names) else "no header"]
        if self.label is not None:
            parts.append(f"labels in column {self.name(self.label)}" + " (a guess)" * self.is_guess)
        if self.index:
            parts.append(f"index in {', '.join(map(self.name, self.index))} dropped")
        if len(self.pixels) > 1:
            parts.append(f"pixels {self.name(self.pixels[0])} to {self.name(self.pixels[-1])}")
        if self.pixels != sorted(self.pixels):
            parts.append("in the order of their names")
        return ", ".join(parts)


def names_in(path: Path, cells: list[str]) -> list[str] | None:
    """Return the names of columns in a first line, or None if it is an image."""
    if any(_suffix(cell) in PICTURES for cell in cells):
        return None
    if len(cells) < MIN_SIDE**2 and cells[0].lower() in _INDEX:  # pandas leaves it blank
        return cells
    if {cell.lower() for cell in cells} & (LABELS - {"y"}):  # a letter is a label, too
        return cells
    inner = cells[1:-1] if len(cells) > 2 else cells
    numbers = list(filter(_is_number, inner))
    if len(numbers) < len(inner) / 2:
        return None if any(map(_is_packed, cells)) else cells
    if all(number.isascii() and number.isdecimal() for number in numbers):
        values = set(map(int, numbers))
        is_range = 0 < max(values) - min(values) < len(inner)
        if len(values) == len(numbers) and (is_range or len(numbers) > 256):
            return cells
    if len(numbers) < len(inner):
        return None
    # pandas makes names distinct: 0, 0, 5, 0 become 0, 0.1, 5, 0.2.
    base = pd.Series(cells).str.partition(".")[0]
    times = base.groupby(base).cumcount()
    distinct = base.where(times == 0, base + "." + times.astype(str))
    if not times.any() or distinct.tolist() != cells:
        return None
    log.warning("%s: line 1 was an image before it became a header; it is lost", path.name)
    return [""] * len(cells)


def assign(path: Path, names: list[str], first: Sequence[object], stem: str) -> Columns:
    """Decide what each column is, by its name, blank without a header, and its first cell.

    The file's name without suffix may say that it contains labels.
    """
    columns = Columns(names)
    lower = [" ".join(re.findall(r"[^\W_]+", name.lower())) for name in names]
    labels = [column for column, name in enumerate(lower) if name in LABELS]
    if len(labels) > 1:
        raise UserError(
            f"{path}: columns {', '.join(names[column] for column in labels)} may all be the "
            "label; delete all but one, or rename the others `index`"
        )
    columns.label = labels[0] if labels else None
    columns.split = next((column for column, name in enumerate(lower) if name in _SPLIT), None)
    rest = [x for x in range(len(names)) if x not in (columns.label, columns.split)]
    packed = [column for column in rest if _is_packed(first[column])]
    files = [x for x in rest if lower[x] in _FILES or _suffix(first[x]) in PICTURES]
    index = [x for x in rest if any(names) and _is_index(lower[x])]
    others = [x for x in rest if x not in (*packed, *files, *index)]
    if packed:
        columns.pixels = packed[:1]
        if columns.label is None and len(others) > 1:
            raise UserError(_label_fault(path, columns, others))
        if columns.label is None and others:
            columns.label, columns.is_guess = others[0], True
    elif len(names) < MIN_SIDE**2:
        _assign_labels(path, columns, files, others, stem)
    else:
        columns.index = [x for x in rest if any(names) and x not in others]
        _assign_pixels(path, columns, rest, first)
    return columns


def _is_number(cell: str) -> bool:
    return table.is_number(cell.replace(",", "."))


def _is_text(cell: object) -> bool:
    """Tell whether a cell is neither a number nor missing."""
    text = str(cell)
    is_missing = text.lower() in ("nan", "na", "null", "none")
    return not is_missing and not _is_number(text) and any(map(str.isalpha, text))


def _suffix(cell: object) -> str:
    return Path(str(cell)).suffix.lower()


def _is_index(name: str) -> bool:
    return name in _INDEX or name.startswith(("index level", "unnamed"))


def _assign_labels(
    path: Path, columns: Columns, files: list[int], others: list[int], stem: str
) -> None:
    """Decide what the columns of a table without pixels are, given those of file names."""
    columns.files = files[0] if files else None
    if columns.label is None and len(others) == 1 and (files or role_of(stem) == "labels"):
        columns.label = others[0]
    is_labels = columns.label is not None or (files and others) or role_of(stem) == "labels"
    columns.role = "labels" if is_labels else None
    columns.fault = _count_fault(path, columns.names)
    if columns.label is None and files and others:
        columns.fault = _label_fault(path, columns, others)


def _assign_pixels(path: Path, columns: Columns, rest: list[int], first: Sequence[object]) -> None:
    """Decide which columns are pixels, an index, and the label if no name says it."""
    names = columns.names
    if not any(names):
        columns.index = [len(names) - 1] * (first[-1] == "")  # a separator at the end of lines
        if is_square(len(names) - len(columns.index) - 2):
            columns.index.append(0)  # checked to count up when it is read
    rest = [column for column in rest if column not in columns.index]
    columns.is_guess = columns.label is None and not is_square(len(rest))
    odd = _odd_names(names, rest)
    has_label = columns.is_guess and is_square(len(rest) - 1)
    is_last_text = _is_text(first[rest[-1]]) and not _is_text(first[rest[0]])
    if has_label and (odd == rest[-1:] or is_last_text):
        *rest, columns.label = rest
    elif has_label and odd in ([], rest[:1]):
        if not odd and re.match(r"(?i)\W*(p|px|pix|pixels?)\W?_?\d", names[rest[0]]):
            raise UserError(
                f"{path}: line 1: {len(rest)} names of pixels, {names[rest[0]]} to "
                f"{names[rest[-1]]}, expected {len(rest) - 1} and a label; rename the label's "
                "column `label`, or delete the column that is no pixel"
            )
        columns.label, *rest = rest
    elif not is_square(len(rest)) or odd:
        if odd and len(odd) < len(rest) / 2:
            one_hot = "; of one-hot columns, save one column `label` instead" * (len(odd) > 1)
            raise UserError(
                f"{path}: line 1: {listed([names[column] for column in odd])}: neither the label, "
                f"an index nor a pixel as the other {len(rest) - len(odd)} columns by its name; "
                "rename the label's column `label`, and delete others or rename them `index`"
                f"{one_hot}"
            )
        raise UserError(_count_fault(path, names))
    columns.pixels, columns.shape = _in_order(path, names, rest)


def _label_fault(path: Path, columns: Columns, others: list[int]) -> str:
    how = "name it `label` in a header line"
    if any(columns.names):
        how = f"rename one of {listed([columns.names[column] for column in others])} `label`"
    return f"{path}: line 1: which column is the label is unclear; {how}, or delete them"


def _count_fault(path: Path, names: list[str]) -> str:
    count = len(names)
    hint = ""
    if any(is_square(x // n) and x % n == 0 for x in (count, count - 1) for n in (3, 4)):
        hint = "; of images in colour, save one grey value for each pixel"
    elif is_square(count - 10) or is_square(count - 11):
        hint = "; of ten one-hot columns, save one column with their label instead"
    return (
        f"{path}: line 1 has {count} cells, expected {len(table.COLUMNS)}: a label and "
        f"{table.PIXELS} grey values, or these alone, or those of another square size{hint}"
    )


def _is_packed(cell: object) -> bool:
    """Tell whether a cell contains an image: 0 0 255 …, [0, 0, 255, …], or a picture file."""
    if isinstance(cell, (bytes, dict, list)):
        return True
    return isinstance(cell, str) and len(re.findall(r"\d+", cell[:4096])) >= MIN_SIDE**2


def _odd_names(names: list[str], columns: list[int]) -> list[int]:
    """Return the columns whose names differ from most others by more than numbers."""
    kinds = [re.sub(r"\d+", "#", names[column].strip()) for column in columns]
    usual, count = Counter(kinds).most_common(1)[0]
    if count < len(columns) / 2:
        return []
    return [column for column, kind in zip(columns, kinds, strict=True) if kind != usual]


def _in_order(
    path: Path, names: list[str], columns: list[int]
) -> tuple[list[int], tuple[int, int]]:
    """Order pixels by their names, such as pixelN, N, RxC, r_c, x3y4 or AB12, if they say it.

    Return the height and width of the images, too.
    """
    side = math.isqrt(len(columns))
    found = [tuple(map(int, re.findall(r"\d+", names[column]))) for column in columns]
    cells = [re.fullmatch(r"([A-Z]{1,2})(\d+)", names[column]) for column in columns]
    if len({cell and cell[1] for cell in cells}) > 1 and None not in cells:  # of a spreadsheet
        order = sorted({cell[1] for cell in cells if cell}, key=lambda x: (len(x), x))
        found = [(int(cell[2]), order.index(cell[1])) for cell in cells if cell]
    if {len(numbers) for numbers in found} not in ({1}, {2}) or len(set(found)) < len(found):
        return columns, (side, side)
    if len(found[0]) == 2 and _COLUMN_FIRST.search(names[columns[0]]):
        found = [numbers[::-1] for numbers in found]
    for numbers in zip(*found, strict=True):
        values = sorted(set(numbers))
        gaps = [low + 1 for low, high in pairwise(values) if high > low + 1]
        if gaps:
            name = names[columns[numbers.index(values[-1])]]
            raise UserError(
                f"{path}: line 1: the names of the pixels skip {gaps[0]} but reach {name}, so "
                "their order is unclear; number them without gaps, or delete the header"
            )
    extents = [len(set(numbers)) for numbers in zip(*found, strict=True)]
    is_grid = len(extents) == 2 and min(extents) > 1 and math.prod(extents) == len(found)
    ordered = [column for _, column in sorted(zip(found, columns, strict=True))]
    return ordered, (extents[0], extents[1]) if is_grid else (side, side)
