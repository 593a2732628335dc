"""What the columns of a table are, by their names and the cells of the first row."""

import io
import logging
import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from autoencoder.base.errors import UserError, listed
from autoencoder.data import table
from autoencoder.data.user.batches import MIN_SIDE, is_square
from autoencoder.data.user.formats import PICTURES, UPRIGHT, is_emnist
from autoencoder.data.user.roles import LABELS, Role, role_of

log = logging.getLogger(__name__)

_KINDS = ("label", "split", "packed", "file", "index", "other")  # of columns
_INDEX = {"", "id", "index"}
_SPLIT = {"split", "usage", "set", "subset", "partition", "fold"}
_FILES = {"file", "filename", "file name", "path", "filepath", "file path", "image", "img", "id"}
_FILES |= {"image id", "image path", "image name", "img path", "name", "picture"}
# Names of pixels that give the column before the row: x0y0, w0_h0, j0_i0, col0_row0.
_COLUMN_FIRST = re.compile(r"(?i)(x|\b[cwj]|col\w*|width)\W?_?\d+\D*?(y|r|h|i|row|height)\W?_?\d")


@dataclass
class Columns:
    """Which column is what, each by its number; columns are numbered from 0."""

    path: Path
    names: list[str]
    label: int | None = None
    is_guess: bool = False  # only its place, or that no other column is left, tells the label
    may_be_last: bool = False  # it is the first column only because nothing tells otherwise
    split: int | None = None
    ids: int | None = None  # of images, such as the names of their files
    index: list[int] = field(default_factory=list)
    pixels: list[int] = field(default_factory=list)  # row by row; or the one that has them all
    shape: tuple[int, int] = (0, 0)  # of the images, if a column is a pixel
    is_transposed: bool = False  # whether rows and columns of the images are exchanged
    role: Role | None = "images"
    fault: str = ""  # why they are not images

    @property
    def is_packed(self) -> bool:
        """Whether all pixels of an image are in one cell."""
        return len(self.pixels) == 1

    def name(self, column: int) -> str:
        """Return the name of a column, or its number, counted from 1."""
        return self.names[column] or str(column + 1)

    def cell(self, pixel: int | None) -> str:
        """Say in which column a pixel is, or the label, for messages."""
        column = self.label if pixel is None else self.pixels[0 if self.is_packed else pixel]
        return "" if column is None else f", column {self.name(column)}"

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
        return ", ".join(parts) + UPRIGHT * self.is_transposed

    def unclear(self, columns: list[int], reason: str) -> str:
        """Say why columns are not understood, and what to do."""
        which = f"column{'s' * (len(columns) > 1)} {listed(list(map(self.name, columns)))}"
        one_hot = "; of one-hot columns, save one column `label` instead" * (len(columns) > 2)
        return (
            f"{self.path}: line 1, {which}: {reason}; name the label's column `label` in a header "
            f"line, and delete others or name them `index`{one_hot}"
        )

    def miscounted(self) -> str:
        """Say that the number of columns is not that of an image."""
        count = len(self.names)
        hint = ""
        if any(is_square(x // n) and x % n == 0 for x in (count, count - 1) for n in (3, 4)):
            hint = "; of images in colour, save one grey value for each pixel"
        elif is_square(count - 10) or is_square(count - 11):
            hint = "; of ten one-hot columns, save one column with their label instead"
        return (
            f"{self.path}: line 1 has {count} cells, expected {len(table.COLUMNS)}: a label and "
            f"{table.PIXELS} grey values, or these alone, or those of another square size{hint}"
        )


def names_in(path: Path, cells: list[str]) -> list[str] | None:
    """Return the names of columns in a first line, or None if it is an image."""
    contents = list(map(_content, cells))
    if "file" in contents:
        return None
    if len(cells) < MIN_SIDE**2 and cells[0].lower() in _INDEX:  # pandas leaves it blank
        return cells
    if {cell.lower() for cell in cells} & (LABELS - {"y"}):  # a letter is a label, too
        return cells
    inner = list(zip(cells, contents, strict=True))
    inner = inner[1:-1] if len(inner) > 2 else inner
    numbers = [cell for cell, content in inner if content == "number"]
    if len(numbers) < len(inner) / 2:
        return None if "image" in contents else cells
    if all(number.isascii() and number.isdecimal() for number in numbers):
        values = set(map(int, numbers))
        is_range = 0 < max(values) - min(values) < len(inner)
        if len(values) == len(numbers) and (is_range or len(numbers) > 256):
            return cells
    # pandas makes names distinct: of an image as a header, 0, 0, 5, 0 become 0, 0.1, 5, 0.2.
    bases = [cell.partition(".")[0] for cell in cells]
    if len(numbers) < len(inner) or len(set(bases)) == len(bases):
        return None
    if pd.read_csv(io.StringIO(",".join(bases))).columns.tolist() != cells:
        return None
    log.warning("%s: line 1 was an image before it became a header; it is lost", path.name)
    return [""] * len(cells)


def assign(path: Path, names: list[str], first: Sequence[object], stem: str) -> Columns:
    """Decide what each column is, by its name, blank without a header, and its first cell.

    The file's name without suffix may say that it contains labels.
    """
    columns = Columns(path, names)
    kinds = list(map(_kind, names, first))
    labels, splits, packed, files, index, others = (
        [x for x, its in enumerate(kinds) if its == kind] for kind in _KINDS
    )
    if not others and (not any(names) or len(index) >= MIN_SIDE**2):
        others, index = index, []
    if len(labels) > 1:
        raise UserError(columns.unclear(labels, "each may be the label"))
    columns.label = labels[0] if labels else None
    columns.split = splits[0] if splits else None
    if len(names) >= MIN_SIDE**2 and others and not packed:
        if len(splits) > 1:
            raise UserError(columns.unclear(splits, "each may be the split"))
        columns.index = sorted(files + index)
        columns.ids = next((x for x in columns.index if x in files or names[x]), None)
        _assign_pixels(columns, others, first)
        return columns
    columns.pixels = packed[:1]
    is_labels = labels or (files and others) or role_of(stem) == "labels"
    if not packed:
        columns.role = "labels" if is_labels else None
        columns.ids = files[0] if files else None
        columns.fault = columns.miscounted()
    if columns.role and not labels and len(others) == 1:
        columns.label, columns.is_guess = others[0], True
    elif columns.role and not labels and others:
        columns.fault = columns.unclear(others, "it is unclear which one is the label")
    if packed and columns.fault:
        raise UserError(columns.fault)
    return columns


def _kind(name: str, cell: object) -> str:
    """Tell what a column is by its name and first cell."""
    words = " ".join(re.findall(r"[^\W_]+", name.lower()))
    if words in LABELS:
        return "label"
    if words in _SPLIT:
        return "split"
    content = _content(cell)
    if content == "image":
        return "packed"
    if words in _FILES or content == "file":
        return "file"
    is_index = words in _INDEX or words.startswith(("index level", "unnamed"))
    return "index" if is_index else "other"


def _content(cell: object) -> str:
    """Tell what a cell contains: an image, the name of a picture, a number, text, or nothing."""
    text = str(cell)
    # Such as 0 0 255 … or [0, 0, 255, …], or a picture file.
    if isinstance(cell, (bytes, dict, list)) or len(re.findall(r"\d+", text[:4096])) >= MIN_SIDE**2:
        return "image"
    if Path(text).suffix.lower() in PICTURES:
        return "file"
    if table.is_number(text.replace(",", ".")):
        return "number"
    is_missing = text.lower() in ("nan", "na", "null", "none") or not any(map(str.isalpha, text))
    return "nothing" if is_missing else "text"


def _assign_pixels(columns: Columns, rest: list[int], first: Sequence[object]) -> None:
    """Decide which columns are pixels, an index, and the label if no name says it."""
    names = columns.names
    if not any(names):
        columns.is_transposed = is_emnist(columns.path)
        if first[-1] == "":  # a separator at the end of lines
            columns.index.append(rest.pop())
        if is_square(len(rest) - 2):  # checked to count up when it is read
            columns.index.append(rest.pop(0))
    patterns = {column: re.sub(r"\d+", "#", names[column].strip()) for column in rest}
    usual, count = Counter(patterns.values()).most_common(1)[0]
    odd = [x for x in rest if patterns[x] != usual and count > len(rest) / 2]
    pixels = [x for x in rest if x not in odd]
    if columns.label is None and odd in (rest[:1], rest[-1:]) and is_square(len(pixels)):
        columns.label, columns.is_guess = odd.pop(), True
    elif columns.label is None and not odd and is_square(len(pixels) - 1):
        start, end = (_content(first[pixels[x]]) for x in (0, -1))
        is_last = end == "text" and start != "text"
        if not is_last and re.match(r"(?i)\W*(p|px|pix|pixels?)\W?_?\d", names[pixels[0]]):
            reason = f"the first of {len(pixels)} names of pixels, expected {len(pixels) - 1}"
            raise UserError(columns.unclear(pixels[:1], f"{reason} and a label"))
        columns.label = pixels.pop(-1 if is_last else 0)
        columns.is_guess, columns.may_be_last = True, not is_last
    if odd:
        reason = "neither the label, an index nor a pixel as most others by name"
        raise UserError(columns.unclear(odd, reason))
    if not is_square(len(pixels)):
        raise UserError(columns.miscounted())
    _order_pixels(columns, pixels)


def _order_pixels(columns: Columns, pixels: list[int]) -> None:
    """Order pixels by their names, such as pixelN, N, RxC, r_c, x3y4 or AB12, if they say it."""
    side = math.isqrt(len(pixels))
    columns.pixels, columns.shape = pixels, (side, side)
    names = [columns.names[column] for column in pixels]
    found = [tuple(map(int, re.findall(r"\d+", name))) for name in names]
    cells = [re.fullmatch(r"([A-Z]{1,2})(\d+)", name) for name in names]
    if len({cell and cell[1] for cell in cells}) > 1 and None not in cells:  # of a spreadsheet
        letters = sorted({cell[1] for cell in cells if cell}, key=lambda x: (len(x), x))
        found = [(int(cell[2]), letters.index(cell[1])) for cell in cells if cell]
    if {len(numbers) for numbers in found} not in ({1}, {2}) or len(set(found)) < len(found):
        return
    if len(found[0]) == 2 and _COLUMN_FIRST.search(names[0]):
        found = [numbers[::-1] for numbers in found]
    axes = [sorted(set(numbers)) for numbers in zip(*found, strict=True)]
    for numbers in axes:
        if gaps := set(range(numbers[0], numbers[0] + len(numbers))).difference(numbers):
            raise UserError(
                f"{columns.path}: line 1: the numbers in names of pixels skip {min(gaps)} but "
                f"reach {numbers[-1]}, so their order is unclear; number them without gaps, or "
                "delete the header"
            )
    columns.pixels = [column for _, column in sorted(zip(found, pixels, strict=True))]
    height, width = len(axes[0]), len(axes[-1])
    if min(height, width) > 1 and height * width == len(pixels):
        columns.shape = height, width
