"""Account: what was read, image by image; every rule and every message uses it."""

import bisect
import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from autoencoder.base.errors import UserError, listed
from autoencoder.data import table
from autoencoder.data.user.batches import UNLABELLED, Batch, Found, Source, Texts
from autoencoder.data.user.fit import border
from autoencoder.data.user.roles import split_of


@dataclass
class Account:
    """Facts about each image, collected batch by batch, and what was decided from them."""

    root: Path
    found: Found
    warnings: list[str] = field(default_factory=list)
    examples: dict[str, tuple[str, float]] = field(default_factory=dict)  # place and value
    border: float = 0  # mean grey value, 0..255, after an exchange of black and white
    ink: str = ""
    _columns: dict[str, list[Any]] = field(default_factory=dict)
    _places: list[tuple[int, Callable[[int], str]]] = field(default_factory=list)
    _count: int = 0

    @property
    def sources(self) -> list[Source]:
        """The sources that were found."""
        return self.found.sources

    def add(self, number: int, batch: Batch, values: NDArray[Any], labels: Texts) -> None:
        """Note the facts of a batch of a source, given its grey values (n, height, width).

        They are in 0..255 if the format defines white.
        """
        count, height, width = values.shape
        flat = values.reshape(count, -1)
        low, high = flat.min(1), flat.max(1)
        fractions = np.zeros(count, bool)
        if values.dtype.kind == "f":
            is_fraction = flat != np.rint(flat)
            fractions = is_fraction.any(1)
            self._keep_example("fraction", batch, flat, is_fraction)
        if not (low.min() > -0.5 and high.max() < 255.5):
            self._keep_example("outlier", batch, flat, ~((flat > -0.5) & (flat < 255.5)))
        source = self.sources[number]
        splits = np.full(count, source.split or "")
        if batch.splits is not None and not source.split:
            splits = np.array([split_of(name) or "" for name in batch.splits.tolist()])
        digests = [hashlib.blake2b(image.tobytes(), digest_size=8).digest() for image in flat]
        facts = {
            "minimum": low.astype(np.float32),
            "maximum": high.astype(np.float32),
            "fractions": fractions,
            "border": border(values).mean(1, dtype=np.float32),
            "has_white": np.full(count, batch.white is not None),
            "bits": np.full(count, batch.values.dtype.itemsize, np.int8),
            "height": np.full(count, height, np.int32),
            "width": np.full(count, width, np.int32),
            "source": np.full(count, number, np.int32),
            "label": labels,
            "digest": np.frombuffer(b"".join(digests), np.int64),
            # Training holds out its own validation images.
            "split": np.where(splits == "validation", "train", splits),
        }
        for name, column in facts.items():
            self._columns.setdefault(name, []).append(column)
        self._places.append((self._count, batch.place))
        self._count += count

    def _keep_example(
        self, name: str, batch: Batch, flat: NDArray[Any], wrong: NDArray[np.bool_]
    ) -> None:
        """Note place and value of the first value of a kind."""
        if name not in self.examples and wrong.any():
            row, cell = np.argwhere(wrong)[0].tolist()
            self.examples[name] = (batch.place(row) + batch.cell(cell), float(flat[row, cell]))

    @cached_property
    def facts(self) -> pd.DataFrame:
        """A row for each image, once all are added."""
        if not self._count:
            raise UserError(f"{self.root}: no image in it")
        columns: dict[str, Any] = {name: np.concatenate(x) for name, x in self._columns.items()}
        for name in ("label", "split"):  # categories need no object for each row
            names, codes = np.unique(columns[name], return_inverse=True)
            columns[name] = pd.Categorical.from_codes(codes, pd.Index(names.tolist(), dtype=object))
        self._columns.clear()
        return pd.DataFrame(columns)

    @property
    def labels(self) -> Texts:
        """The label of each image."""
        return self.facts["label"].to_numpy(str)

    def scale(self, white: float) -> NDArray[np.float64]:
        """Return by what the values of each image are multiplied."""
        return np.where(self.facts["has_white"], 1, 255 / white)

    def place(self, row: int) -> str:
        """Return where an image is, such as the line of a file."""
        start, place = self._places[bisect.bisect(self._places, row, key=lambda x: x[0]) - 1]
        return place(row - start)

    def part_names(self, rows: NDArray[np.bool_]) -> list[str]:
        """Return the names of the parts that have images among `rows`."""
        parts = self.facts[rows][["source", "label"]].drop_duplicates()
        return [
            self.sources[source].name + (f" ({label})" if label != UNLABELLED else "")
            for source, label in parts.itertuples(index=False)
        ]

    def lines(self, white: float, in_test: NDArray[np.bool_], is_drawn: bool) -> list[str]:
        """Describe what was read and decided."""
        facts = self.facts
        lines = []
        for text in dict.fromkeys(source.text for source in self.sources):
            numbers = [x for x, source in enumerate(self.sources) if source.text == text]
            sizes = facts[facts["source"].isin(numbers)][["height", "width"]].value_counts()
            shapes = [f"{count} of {size[0]}x{size[1]}" for size, count in sizes.items()]
            names = listed([self.sources[number].name for number in numbers], 1)
            lines.append(f"{names}: {text}; {listed(shapes, 3)}")
        low, high = facts["minimum"].min(), facts["maximum"].max()
        scaling = ", multiplied by 255" if white == 1 else ""
        rounding = " and rounded" if facts["fractions"].any() else ""
        lines.append(f"values: {low:.4g} to {high:.4g}{scaling}{rounding}")
        lines.append(f"ink: {self.ink}, mean border {self.border:.0f} of 255")
        for name, rows in (("training", ~in_test), ("test", in_test)):
            classes = table.describe_classes(Counter(self.labels[rows].tolist()))
            drawn = ", drawn" if is_drawn else ""
            lines.append(f"{name}: {rows.sum()} images{drawn}, {classes}")
        if self.found.skipped:
            lines.append(f"skipped: {listed(self.found.skipped)}")
        return lines
