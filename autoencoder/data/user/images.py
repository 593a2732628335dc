"""A user's images, read once and decided upon: the four steps in a row."""

import logging
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from autoencoder.base.cli import Option
from autoencoder.base.errors import UserError, listed
from autoencoder.data import table
from autoencoder.data.user import decide
from autoencoder.data.user.account import Account
from autoencoder.data.user.batches import Batch
from autoencoder.data.user.find import find_sources
from autoencoder.data.user.fit import Fit, fit_images, has_alpha, is_ink_dark, to_grey

log = logging.getLogger(__name__)

Invert = Literal[True, False, "auto"]

# Of the tools that read images.
READ_OPTIONS = {
    "invert": Option(
        "exchange black and white of all images, or with `auto` where borders are bright",
        {"nargs": "?", "default": False, "const": True, "choices": ["auto"]},
    ),
    "fit": Option(
        "how images become 28x28: stretch (default), pad, or mnist (find and centre ink)",
        {"choices": get_args(Fit), "default": "stretch"},
    ),
}


def iter_images(
    path: Path, invert: Invert = False, fit: Fit = "stretch", usual_border: float = 0
) -> Iterator[table.Chunk]:
    """Read images as `read_user_data` does, not split, in chunks and bounded memory.

    In a flat directory of pictures, and of a single picture, the file name is the label. A warning
    is logged if the mean border, 0..255, is on the other side of 128 than `usual_border`, that of
    the images that a model was trained on.

    Yields labels, a str array (n,), and images, a uint8 array (n, 784), 0 black to 255 white.
    """
    images = UserImages(path, invert, fit, to_learn=False)
    ink = decide.ink_of(images.account.border)
    if fit != "mnist" and ink != decide.ink_of(usual_border):
        images.account.warnings.append(
            f"{path.name}: the ink is {ink}, the opposite of what the model was trained on; "
            f"{'remove' if invert else 'add'} --invert"
        )
    for warning in images.account.warnings:
        log.warning("%s", warning)
    yield from images.chunks()


def read_user_data(
    path: Path,
    test_fraction: float,
    invert: Invert = False,
    fit: Fit = "stretch",
    shown_as: Path | None = None,
) -> tuple[Iterator[table.Chunk], Iterator[table.Chunk]]:
    """Read a user's images, split into training and test images; log the account of them.

    The images go to a temporary file first, because they are judged as a whole; so memory stays
    bounded. `test_fraction` is used unless `path` is split already; messages name `path` by
    `shown_as`, its original.

    Returns two iterators of labels, str arrays (n,), and images, uint8 arrays (n, 784), 0 black to
    255 white. Raises UserError if anything cannot be read or is ambiguous.
    """

    def original(text: object) -> str:
        return str(text).replace(str(path), str(shown_as or path))

    try:
        images = UserImages(path, invert, fit)
        in_test = images.split(test_fraction)
    except UserError as error:
        raise UserError(original(error)) from error
    except OSError as error:
        error.filename = error.filename and original(error.filename)
        raise
    for log_line, lines in ((log.info, images.lines), (log.warning, images.account.warnings)):
        for line in lines:
            log_line("%s", original(line))
    return images.chunks(~in_test), images.chunks(in_test)


class UserImages:
    """Images in a temporary file, with the account of them and what was decided."""

    def __init__(self, path: Path, invert: Invert, fit: Fit, to_learn: bool = True) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  # closed with the last iterator
        self._fit, self._invert = fit, invert
        # Whether ink is dark, for `mnist`, which finds it before it is known which one it is.
        self._inks = [False, True] if fit == "mnist" and invert == "auto" else [invert is True]
        self.account = account = Account(path)
        find_sources(account, name_labels=not to_learn)
        self._read()
        decide.find_white(account)
        decide.check_dark(account, by_class=to_learn)
        self._inverted = decide.inversion(account, invert)
        decide.check_constant(account, to_learn)
        if account.rivals and not to_learn:
            raise UserError(account.rivals)

    def _read(self) -> None:
        """Read all sources; refuse unreadable pictures, or bad labels, all at once."""
        sources = self.account.sources
        _refuse_labels({x.label: x.name for x in sources if x.label and table.label_fault(x.label)})
        is_dark: bool | None = None  # whether ink on transparent canvases is
        with tqdm(unit=" images", disable=not sys.stderr.isatty()) as progress:
            for number, source in enumerate(sources):
                for batch in source.batches():
                    if is_dark is None and has_alpha(batch.values):
                        all_values = (x.values for s in sources[number:] for x in s.batches())
                        is_dark = is_ink_dark(all_values)
                    self._add(number, batch, bool(is_dark))
                    progress.update(len(batch.values))
                    del batch
        self.account.unreadable.refuse()
        labels = self.account.facts["label"]
        is_bad = labels.map(table.label_fault).notna() & ~labels.duplicated()
        rows = np.flatnonzero(is_bad).tolist()
        _refuse_labels({labels[row]: self.account.cell(row, None) for row in rows})

    def _add(self, number: int, batch: Batch, dark_ink: bool) -> None:
        """Account for a batch and store it as 28x28."""
        values = to_grey(batch.values, dark_ink) if batch.values.ndim == 4 else batch.values
        if batch.white is not None and values.dtype != np.uint8:
            values = np.rint(values * (255 / batch.white)).astype(np.uint8)
        elif values.dtype.kind != "f":
            is_byte = values.min() >= 0 and values.max() <= 255
            # In rows, because pandas stores the columns of tables.
            values = values.astype(np.uint8 if is_byte else np.float64, order="C", copy=False)
        if batch.white is None and values.dtype == np.uint8 and values.max() <= 1:
            values = values.astype(np.float32)  # perhaps black and white, with grey when resized
        self.account.add(number, batch, values)
        fitted = np.stack([fit_images(values, self._fit, is_dark) for is_dark in self._inks])
        np.save(self._file, fitted if fitted.dtype == np.uint8 else fitted.astype(np.float32))

    def split(self, test_fraction: float) -> NDArray[np.bool_]:
        """Split into training and test images; return whether each image is for testing."""
        account = self.account
        decide.check_splits(account)
        splits = account.facts["split"]
        is_drawn = not {"train", "test"} <= set(splits.unique())
        in_test = (splits == "test").to_numpy()
        if is_drawn:
            in_test = decide.draw_test_rows(account.labels, test_fraction)
        decide.check_copies(account, in_test)
        if account.rivals:
            raise UserError(account.rivals)
        decide.check_labels(account, in_test)
        if account.border >= decide.MIDDLE and self._fit != "mnist":
            account.warn(
                "mostly bright borders, as with black ink on white, expected white on black; set "
                f"`invert: {str(not self._invert).lower()}` in params.yaml to exchange them"
            )
        self.lines = account.lines(in_test, is_drawn)
        return in_test

    def chunks(self, keep: NDArray[np.bool_] | None = None) -> Iterator[table.Chunk]:
        """Yield labels and images, all or some."""
        labels = self.account.labels
        if keep is None:
            keep = np.full(len(labels), True)
        row = offset = 0
        while row < len(labels):
            self._file.seek(offset)
            versions = np.load(self._file)
            offset = self._file.tell()
            plain, inverted = versions[0], versions[-1]
            if plain.dtype != np.uint8:
                plain = np.rint(plain * (255 / self.account.white)).clip(0, 255).astype(np.uint8)
            if self._fit != "mnist":
                inverted = 255 - plain
            rows = slice(row, row + len(plain))
            row = rows.stop
            images = np.where(self._inverted[rows, None], inverted, plain)
            if keep[rows].any():
                yield table.Chunk(labels[rows][keep[rows]], images[keep[rows]])


def _refuse_labels(places: dict[str, str]) -> None:
    """Refuse labels that cannot be written, if there are any, with a place of each."""
    if places:
        fault = table.label_fault(next(iter(places)))
        place, *others = [
            f"{place.removesuffix(f'/{name}')}: {name!r:.80}" for name, place in places.items()
        ]
        more = f"; also {listed(others)}" if others else ""
        raise UserError(f"{place} cannot be a label: {fault}; rename it{more}")
