"""Account: what was read, image by image; every rule and every message uses it."""

import bisect
import hashlib
import re
import unicodedata
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from autoencoder.base.errors import listed
from autoencoder.data import table
from autoencoder.data.user.batches import UNLABELLED, Batch, Cell, Place, Source, Texts
from autoencoder.data.user.fit import border
from autoencoder.data.user.formats import Faults
from autoencoder.data.user.roles import split_of

_FRACTION = re.compile(r"[+-]?\d+(\.0*|(\.\d*)?e[+-]\d\d+)", re.ASCII | re.IGNORECASE)


def tidy_label(text: str) -> str:
    """Write a label in one way: Unicode's NFC, and integral fractions as integers.

    Numbers as Python and NumPy write them: 5.0, 5E+00; not 007, nor code points such as 0E01.
    """
    text = unicodedata.normalize("NFC", text)
    if _FRACTION.fullmatch(text) and (number := float(text)).is_integer() and abs(number) < 2**53:
        return str(int(number))
    return text


@dataclass
class Account:
    """Facts about each image, collected batch by batch, and what was decided from them."""

    root: Path
    sources: list[Source] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    rivals: str = ""  # why sources may not be used together
    unreadable: Faults = field(default_factory=Faults)
    warnings: list[str] = field(default_factory=list)
    white: float = 255  # where the format does not define it
    border: float = 0  # mean grey value, 0..255, after an exchange of black and white
    ink: str = ""
    _columns: dict[str, list[Any]] = field(default_factory=lambda: defaultdict(list))
    # The number of each text in columns of text.
    _texts: dict[str, dict[str, int]] = field(default_factory=lambda: defaultdict(dict))
    _places: list[tuple[int, Place, Cell]] = field(default_factory=list)  # from a row on
    _count: int = 0

    def add(self, number: int, batch: Batch, values: NDArray[Any]) -> None:
        """Note the facts of a batch of a source, given its grey values (n, height, width).

        They are in 0..255 if the format defines white.
        """
        count, height, width = values.shape
        flat = values.reshape(count, -1)
        source = self.sources[number]
        labels = batch.labels if source.label is None else None
        splits = None if source.split else batch.splits
        digests = [hashlib.blake2b(image.tobytes(), digest_size=8).digest() for image in flat]
        facts = {
            "minimum": flat.min(1).astype(np.float32),
            "maximum": flat.max(1).astype(np.float32),
            "lowest": flat.argmin(1).astype(np.int32),
            "highest": flat.argmax(1).astype(np.int32),
            "fractions": (flat != np.rint(flat)).any(1) if values.dtype.kind == "f" else False,
            "border": border(values).mean(1, dtype=np.float32),
            "has_white": batch.white is not None,
            "bits": np.int8(batch.values.dtype.itemsize),
            "height": np.int32(height),
            "width": np.int32(width),
            "source": np.int32(number),
            "label": self._numbers("label", labels, source.label or UNLABELLED),
            "split_name": self._numbers("split_name", splits, source.split or ""),
            "digest": np.frombuffer(b"".join(digests), np.int64),
        }
        for name, fact in facts.items():
            self._columns[name].append(np.broadcast_to(fact, count))
        self._places.append((self._count, batch.place, batch.cell))
        self._count += count

    def _numbers(self, column: str, texts: Texts | None, of_all: str) -> NDArray[np.int32]:
        """Return numbers for the texts of a column, or the one of all; they take less memory."""
        known = self._texts[column]
        names, rows = np.unique([of_all] if texts is None else texts, return_inverse=True)
        numbers = [known.setdefault(tidy_label(name), len(known)) for name in names.tolist()]
        return np.array(numbers, np.int32)[rows]

    @cached_property
    def facts(self) -> pd.DataFrame:
        """A row for each image, once all are added."""
        parts = self._columns
        columns: dict[str, Any] = {name: np.concatenate(parts.pop(name)) for name in [*parts]}
        for name, texts in self._texts.items():
            columns[name] = pd.Categorical.from_codes(columns[name], pd.Index(texts, dtype=object))
        facts = pd.DataFrame(columns)
        facts["split"] = facts["split_name"].map(_purpose).astype("category")
        return facts

    @property
    def labels(self) -> Texts:
        """The label of each image."""
        column = self.facts["label"].cat
        return np.array(column.categories, str)[column.codes]

    def place(self, row: int) -> str:
        """Return where an image is, such as the line of a file."""
        start, place, _ = self._batch(row)
        return place(row - start)

    def cell(self, row: int, pixel: int | None) -> str:
        """Return where a pixel of an image is, or its label, such as the column of a table."""
        _, _, cell = self._batch(row)
        return self.place(row) + cell(pixel)

    def _batch(self, row: int) -> tuple[int, Place, Cell]:
        """Return the first row of an image's batch, and what names the places in it."""
        return self._places[bisect.bisect(self._places, row, key=lambda x: x[0]) - 1]

    def warn(self, text: str, row: int | None = None) -> None:
        """Add a warning about the data, or about an image."""
        self.warnings.append(f"{self.root if row is None else self.place(row)}: {text}")

    def lines(self, in_test: NDArray[np.bool_], is_drawn: bool) -> list[str]:
        """Describe what was read and decided."""
        facts = self.facts
        lines = []
        for text in dict.fromkeys(source.text for source in self.sources):
            numbers = [x for x, source in enumerate(self.sources) if source.text == text]
            part = facts[facts["source"].isin(numbers)]
            sizes = Counter(zip(part["height"], part["width"], strict=True)).most_common()
            shapes = [f"{count} of {height}x{width}" for (height, width), count in sizes]
            names = listed([self.sources[number].name for number in numbers], 1)
            lines.append(f"{names}: {text}; {listed(shapes, 3)}")
        low, high = facts["minimum"].min(), facts["maximum"].max()
        scaling = ", multiplied by 255" if self.white == 1 else ""
        rounding = " and rounded" if facts["fractions"].any() else ""
        lines.append(f"values: {low:.4g} to {high:.4g}{scaling}{rounding}")
        lines.append(f"ink: {self.ink}, mean border {self.border:.0f} of 255")
        for name, rows in (("training", ~in_test), ("test", in_test)):
            classes = table.describe_classes(Counter(self.labels[rows].tolist()))
            drawn = ", drawn" if is_drawn else ""
            lines.append(f"{name}: {rows.sum()} images{drawn}, {classes}")
        if self.skipped:
            lines.append(f"skipped: {listed(self.skipped)}")
        return lines


def _purpose(split_name: str) -> str:
    """Return the split of a name. Training holds out its own validation images."""
    split = split_of(split_name)
    return "train" if split == "validation" else split or ""
