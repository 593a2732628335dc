"""Account: what was read, image by image; every rule and every message uses it."""

import bisect
import hashlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from autoencoder.base.errors import UserError, listed
from autoencoder.data import table
from autoencoder.data.user.batches import Batch, Place, Source, Texts
from autoencoder.data.user.fit import border
from autoencoder.data.user.roles import split_of


class Faults(dict[Path, str]):
    """What is wrong with files, collected to be refused all at once."""

    @contextmanager
    def noted(self, path: Path) -> Iterator[None]:
        """Note a UserError of the block as the fault of a file."""
        try:
            yield
        except UserError as error:
            self[path] = str(error).removeprefix(f"{path}: ")

    def refuse(self) -> None:
        """Refuse the files, if there are any; those whose faults differ in names only, once."""
        groups: dict[str, list[Path]] = {}
        for path, fault in self.items():
            groups.setdefault(fault.replace(f"{path.stem}.", "."), []).append(path)
        if self:
            raise UserError(
                listed([f"{listed(x)}: {self[x[0]]}" for x in groups.values()], separator="; ")
            )


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
    split_names: dict[int, set[str]] = field(default_factory=dict)  # of images, by source
    _columns: dict[str, list[Any]] = field(default_factory=dict)
    _names: dict[str, list[str]] = field(default_factory=dict)  # categories of columns
    _places: list[tuple[int, Place, Place]] = field(default_factory=list)  # from which row on
    _count: int = 0

    def add(self, number: int, batch: Batch, values: NDArray[Any], labels: Texts) -> None:
        """Note the facts of a batch of a source, given its grey values (n, height, width).

        They are in 0..255 if the format defines white.
        """
        count, height, width = values.shape
        flat = values.reshape(count, -1)
        source = self.sources[number]
        splits = np.full(count, source.split or "")
        if batch.splits is not None and not source.split:
            splits = np.array([split_of(name) or "" for name in batch.splits.tolist()])
            self.split_names.setdefault(number, set()).update(batch.splits.tolist())
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
            "label": self._codes("label", labels),
            "digest": np.frombuffer(b"".join(digests), np.int64),
            # Training holds out its own validation images.
            "split": self._codes("split", np.where(splits == "validation", "train", splits)),
        }
        for name, fact in facts.items():
            self._columns.setdefault(name, []).append(np.broadcast_to(fact, count))
        self._places.append((self._count, batch.place, batch.cell))
        self._count += count

    def _codes(self, name: str, texts: Texts) -> NDArray[np.int32]:
        """Return numbers for the texts of a column, which take less memory as categories."""
        known = self._names.setdefault(name, [])
        names, rows = np.unique(texts, return_inverse=True)
        known += [x for x in names.tolist() if x not in known]
        return np.array([known.index(x) for x in names.tolist()], np.int32)[rows]

    @cached_property
    def facts(self) -> pd.DataFrame:
        """A row for each image, once all are added."""
        parts = self._columns
        columns: dict[str, Any] = {name: np.concatenate(parts.pop(name)) for name in [*parts]}
        for name in ("label", "split"):
            names = pd.Index(self._names[name], dtype=object)
            columns[name] = pd.Categorical.from_codes(columns[name], names)
        return pd.DataFrame(columns)

    @property
    def labels(self) -> Texts:
        """The label of each image."""
        column = self.facts["label"].cat
        return np.array(column.categories, str)[column.codes]

    def place(self, row: int, pixel: int | None = None) -> str:
        """Return where an image or a pixel of it is, such as the line of a file."""
        start, place, cell = self._places[bisect.bisect(self._places, row, key=lambda x: x[0]) - 1]
        return place(row - start) + ("" if pixel is None else cell(pixel))

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
