"""The losses of each epoch, and their file: CSV with the columns epoch, train and validation."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from autoencoder.base.errors import UserError
from autoencoder.base.files import atomic_write, named_errors

_HEADER = "epoch,train,validation"
_ROW = r"[0-9]+(,[0-9]+\.[0-9]+){2}"
_HINT = "let `dvc repro` write it again"


@dataclass(frozen=True)
class Epoch:
    """The losses of an epoch, 1 for the first: BCE, mean over pixels and images.

    `train` is that of the training images during the epoch, `validation` that of the validation
    images at its end.
    """

    epoch: int
    train: float
    validation: float

    def __str__(self) -> str:
        return f"BCE {self.train:.5f}, validation {self.validation:.5f}"


def write_losses(path: Path, history: Sequence[Epoch]) -> None:
    """Write the loss of each epoch."""
    with atomic_write(path) as partial:
        pd.DataFrame(history).to_csv(partial, index=False, float_format="%.6f")


def read_losses(path: Path) -> pd.DataFrame:
    """Read a file that `write_losses` wrote.

    Raises UserError if a line has a different form, the last line is incomplete or there is no row,
    and OSError if the file cannot be read.
    """
    with named_errors(path):
        *lines, rest = path.read_text(encoding="utf-8", errors="replace").split("\n")
    for number, line in enumerate(lines, start=1):
        pattern, expected = (_HEADER, _HEADER) if number == 1 else (_ROW, "three numbers")
        if not re.fullmatch(pattern, line):
            raise UserError(f"{path}: line {number} is {line!r:.60}, expected {expected}; {_HINT}")
    if rest or len(lines) < 2:
        raise UserError(
            f"{path}: truncated after {len(lines)} lines, expected one line per epoch; {_HINT}"
        )
    return pd.read_csv(path)
