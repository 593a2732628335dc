"""A user's images: tables, arrays or pictures, checked as a whole and split."""

import itertools
import logging
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from autoencoder.base.errors import UserError
from autoencoder.data import arrays, pictures, table, user_tables
from autoencoder.data.arrays import MIDDLE
from autoencoder.data.names import (
    Split,
    split_of,
    splits_of_directories,
    visible_entries,
    words,
)
from autoencoder.data.user_tables import UNLABELLED

log = logging.getLogger(__name__)

# Seed of the split into training and test images. Not the parameter `seed`, so that runs with
# different weights are scored on the same test images.
SPLIT_SEED = 0

# In pictures white is defined, but thin strokes are grey after shrinking. A maximum below this is
# that of classes or masks.
_LEAST_OF_PICTURES = 17
_MAX_DISTINCT_ROWS = 20

_CONVERT = {
    ".parquet": "Parquet; write it as CSV, for instance with pandas' read_parquet and to_csv",
    ".arff": "ARFF; write it as CSV, for instance with scipy.io.arff.loadarff and pandas' to_csv",
    ".xlsx": "Excel; save it as CSV",
    ".mat": "MATLAB; write it as .npz, for instance with scipy.io.loadmat and numpy.savez",
    ".h5": "HDF5; write it as .npz, for instance with h5py and numpy.savez",
    ".pkl": "pickle, which may run any code; write it as .npz with numpy.savez",
    ".7z": "7-Zip; unpack it with `7z x`",
    ".tar": "tar; unpack it with `tar xf`",
}

_ALIASES = {
    **{".xls": ".xlsx", ".ods": ".xlsx", ".hdf5": ".h5", ".pickle": ".pkl", ".pt": ".pkl"},
    **{".pth": ".pkl", ".feather": ".parquet"},
}

# The split, labels with their values of shape (n, 784), and whether they come from pictures.
_Part = tuple[Split | None, Iterable[tuple[NDArray[np.str_], NDArray[Any]]], bool]


def iter_images(path: Path, invert: bool = False, usual_border: float = 0) -> Iterator[table.Chunk]:
    """Read images of any kind that `read_user_data` takes, in chunks and bounded memory.

    Parameters
    ----------
    path : Path
        In a flat directory of pictures, and of a single picture, the file name is the label.
    invert : bool
        Exchange black and white.
    usual_border : float
        Mean grey value of the borders of the images that a model was trained on. If theirs is on
        the other side of 128, a warning is logged.

    Yields
    ------
    labels : str array of shape (n,)
    images : uint8 array of shape (n, 784)
        Grey values, 0 black to 255 white.

    Raises
    ------
    UserError, OSError
        As `read_user_data` does.
    """
    with tempfile.TemporaryFile() as file:
        images = _Images(path, _parts(path, file_labels=True), file, invert, to_learn=False)
        if (images.border >= MIDDLE) != (usual_border >= MIDDLE):
            log.warning(
                "%s: the ink is %s, the opposite of what the model was trained on; %s --invert",
                path.name,
                "black on white" if images.border >= MIDDLE else "white on black",
                "remove" if invert else "add",
            )
        yield from images.chunks()


def read_user_data(
    path: Path, test_fraction: float, invert: bool = False, shown_as: Path | None = None
) -> tuple[Iterator[table.Chunk], Iterator[table.Chunk]]:
    """Read a user's images, split into training and test images.

    The images go to a temporary file first, because the range of their values is checked as a
    whole; so memory stays bounded.

    Parameters
    ----------
    path : Path
        A table, see `user_tables.iter_table`; a .npy, .npz or IDX file; a directory of pictures,
        flat or with a directory for each class; or a directory with such a training and test split,
        validation images being added to training.
    test_fraction : float
        Share of the images to test on, unless `path` is split already.
    invert : bool
        Exchange black and white.
    shown_as : Path, optional
        Path of the original of `path`, for messages.

    Returns
    -------
    train, test : iterators of (labels, images)
        str arrays of shape (n,), uint8 arrays of shape (n, 784).

    Raises
    ------
    UserError
        If anything cannot be read or means something else than it seems to.
    OSError
        If a file cannot be read, or the temporary file cannot be written.
    """
    with _original_names(path, shown_as or path):
        file = tempfile.TemporaryFile()  # noqa: SIM115  # closed when both iterators are gone
        images = _Images(path, _parts(path), file, invert)
        if images.border >= MIDDLE:
            log.warning(
                "%s: mostly bright borders, as of black ink on white, expected white on black; set "
                "`invert: %s` in params.yaml to exchange them",
                path.name,
                str(not invert).lower(),
            )
        _check_labels(path, images.labels)
        splits = set(images.splits.tolist())
        if splits >= {"train", "test"}:
            in_test = images.splits == "test"
        else:
            in_test = draw_test_rows(images.labels, test_fraction)
    return images.chunks(~in_test), images.chunks(in_test)


@contextmanager
def _original_names(path: Path, shown_as: Path) -> Iterator[None]:
    """Name the user's files, not their copies, in errors that the block raises."""
    try:
        yield
    except UserError as error:
        raise UserError(str(error).replace(str(path), str(shown_as))) from error
    except OSError as error:
        if error.filename is None:
            raise
        name = str(error.filename).replace(str(path), str(shown_as))
        raise OSError(error.errno, error.strerror, name) from error


class _Images:
    """Images in a temporary file, with what has to be known of all before the first is used."""

    def __init__(
        self,
        path: Path,
        parts: Iterable[_Part],
        file: IO[bytes],
        invert: bool,
        to_learn: bool = True,
    ) -> None:
        self._file, self._invert = file, invert
        self._blocks: list[tuple[int, bool]] = []  # rows, whether they were fractions
        labels, splits = [], []
        maximum = brightest = constant = 0.0
        borders = {False: 0.0, True: 0.0}  # sums, of images of integers and of fractions
        progress = tqdm(unit=" images", disable=not sys.stderr.isatty())
        from_pictures = False
        for split, chunks, are_pictures in parts:
            from_pictures |= are_pictures
            for names, values in chunks:
                is_fraction = bool(values.dtype.kind == "f" and (values != np.rint(values)).any())
                pixels = np.rint(values * 255 if is_fraction else values).astype(np.uint8)
                file.write(pixels.tobytes())
                self._blocks.append((len(pixels), is_fraction))
                if is_fraction:
                    brightest = max(brightest, float(values.max()))
                else:
                    maximum = max(maximum, float(pixels.max()))
                constant += int((pixels == pixels[:, :1]).all(axis=1).sum())
                borders[is_fraction] += table.mean_border(pixels) * len(pixels)
                labels.append(names)
                splits.append(np.full(len(names), split or ""))
                progress.update(len(names))
        progress.close()
        if not labels:
            raise UserError(f"{path}: no image in it")
        self.labels = np.concatenate(labels)
        self.splits = np.concatenate(splits)
        self._fractions = any(is_fraction for _, is_fraction in self._blocks)
        count = len(self.labels)
        if constant == count and to_learn:
            raise UserError(
                f"{path}: in each of the {count} images, all pixels are equal; nothing can be "
                "learned from them"
            )
        if constant:
            log.warning("%s: %d of %d images are constant", path.name, constant, count)
        if self._fractions and maximum > 1:
            raise UserError(
                f"{path}: some images have fractions in 0..1, others values up to {maximum:g}, "
                "expected the same range in all; scale them to 0..255"
            )
        white = 1 if self._fractions else 255
        brightest = max(brightest, maximum)
        if 0 < brightest < (_LEAST_OF_PICTURES if from_pictures else white * MIDDLE / 255):
            hint = "multiply all values by 255" if brightest == 1 else "divide all values by it"
            raise UserError(
                f"{path}: the maximum of all pixels is {brightest:.4g}, expected {white} (white); "
                + ("brighten the pictures" if from_pictures else hint)
            )
        if self._fractions:
            log.info("%s: fractions in 0..1, multiplied by 255 and rounded", path.name)
        border = (borders[True] + borders[False] * (255 if self._fractions else 1)) / count
        self.border = 255 - border if invert else border

    def chunks(self, keep: NDArray[np.bool_] | None = None) -> Iterator[table.Chunk]:
        """Yield labels and images, all or some."""
        row = offset = 0
        for count, is_fraction in self._blocks:
            self._file.seek(offset)
            block = self._file.read(count * table.PIXELS)
            images = np.frombuffer(block, np.uint8).reshape(count, table.PIXELS).copy()
            labels = self.labels[row : row + count]
            if self._fractions and not is_fraction:
                images *= 255
            if self._invert:
                images = 255 - images
            if keep is not None:
                kept = keep[row : row + count]
                labels, images = labels[kept], images[kept]
            row += count
            offset += len(block)
            if len(labels):
                yield labels, images


def invert_chunks(chunks: Iterable[table.Chunk]) -> Iterator[table.Chunk]:
    """Exchange black and white."""
    return ((labels, 255 - images) for labels, images in chunks)


def _check_labels(path: Path, labels: NDArray[np.str_]) -> None:
    """Refuse labels that are row numbers."""
    names = np.unique(labels)
    if len(names) == len(labels) > _MAX_DISTINCT_ROWS and all(map(table.is_number, names.tolist())):
        raise UserError(
            f"{path}: the {len(labels)} labels are numbers of which none occurs twice, as in an "
            "index; delete that column, or name it `index`"
        )


def _parts(path: Path, split: Split | None = None, file_labels: bool = False) -> Iterator[_Part]:
    """Find out what a path contains, and read it."""
    if not path.is_dir():
        yield from _files([path], split, file_labels)
        return
    entries = visible_entries(path)
    directories = [entry for entry in entries if entry.is_dir()]
    files = [entry for entry in entries if not entry.is_dir()]
    splits = splits_of_directories([entry.name for entry in directories])
    if not entries:
        raise UserError(f"{path}: nothing in it, expected tables, arrays or pictures")
    if not directories:
        yield from _files(files, split, file_labels)
    elif len(entries) == 1 and (splits[0] or not _has_pictures(directories[0])):
        yield from _parts(directories[0], split, file_labels)
    elif None not in splits and not files:
        for directory, inner in zip(directories, splits, strict=True):
            yield from _parts(directory, split or inner, file_labels)
    elif {"train", "test"} <= set(splits):
        of_directories = dict(zip(directories, splits, strict=True))
        others = [entry.name for entry in entries if not of_directories.get(entry)]
        raise UserError(f"{path}: {', '.join(others[:20])} next to splits; remove or move it")
    else:
        yield split, pictures.iter_classes(path), True


def _has_pictures(directory: Path) -> bool:
    return any(entry.suffix.lower() in pictures.FORMATS for entry in visible_entries(directory))


def _files(paths: list[Path], split: Split | None, file_labels: bool) -> Iterator[_Part]:
    """Read the files of a directory: pictures, or else tables and arrays by split."""
    if any(path.suffix.lower() in pictures.FORMATS for path in paths):
        yield split, pictures.iter_files(paths, None if file_labels else UNLABELLED), True
        return
    is_array = {path: path.suffix.lower() in (".npy", ".npz") for path in paths}
    for path in paths:
        suffix = path.suffix.lower()
        if {".tar", ".tgz"} & set(path.suffixes):
            suffix = ".tar"
        if path.is_fifo():
            raise UserError(f"{path}: a pipe, expected a file; write it to a file first")
        suffix = _ALIASES.get(suffix, suffix)
        if reason := _CONVERT.get(suffix) or pictures.OTHER_FORMATS.get(suffix):
            raise UserError(f"{path}: {reason}")
        if not path.exists():
            raise FileNotFoundError(2, "No such file or directory", str(path))
        is_array[path] = is_array[path] or arrays.is_idx(path)
    for one, other in itertools.combinations(paths, 2):
        if _stem(one) == _stem(other):
            raise UserError(
                f"{other}: probably the same data as {one.name}, expected one of them; remove or "
                "move the other"
            )
    tables = [path for path in paths if not is_array[path]]
    if len(tables) > 1 and not all(split_of(path.name) for path in tables):
        raise UserError(
            f"{tables[0].parent}: {len(tables)} files, {', '.join(t.name for t in tables[:20])}; "
            "expected pictures, one table, or tables with `train` and `test` in their names"
        )
    for path in tables:
        yield split or split_of(path.name), user_tables.iter_table(path), False
    yield from _arrays([path for path in paths if is_array[path]], split)


def _stem(path: Path) -> str:
    """Return a name without what tells copies apart: Train (1).csv.gz is train."""
    stem = Path(path.name.lower())
    while stem.suffix in (*user_tables.SUFFIXES, *user_tables.COMPRESSIONS, ".zip", ".npy", ".npz"):
        stem = stem.with_suffix("")
    return re.sub(r"( ?\(\d+\)| copy)$", "", stem.name)


def _arrays(paths: list[Path], split: Split | None) -> Iterator[_Part]:
    """Pair arrays of images with their labels."""
    found = [(path, array) for path in paths for array in arrays.read_arrays(path)]

    def key(path: Path, array: arrays.UserArray) -> tuple[str, ...]:
        found = {*words(array.name), *words(path.name)}
        return tuple(word for word in ("val", "valid", "validation") if word in found)

    groups: dict[Any, dict[str, tuple[Path, arrays.UserArray]]] = {}
    for path, array in found:
        inner = split or array.split or split_of(path.name)
        group = groups.setdefault((inner, key(path, array)), {})
        if array.role in group:
            raise UserError(
                f"{path}: array {array.name} and {group[array.role][1].name} are both "
                f"{array.role}; expected one of each split, named for instance x_train and y_train"
            )
        group[array.role] = (path, array)
    for (inner, _), group in groups.items():
        if "images" not in group:
            path, array = group["labels"]
            raise UserError(f"{path}: labels in {array.name}, expected their images next to them")
        yield inner, _pair(group), False


def _pair(
    group: dict[str, tuple[Path, arrays.UserArray]],
) -> Iterator[tuple[NDArray[np.str_], NDArray[Any]]]:
    path, images = group["images"]
    labels = np.full(len(images.values), UNLABELLED)
    if "labels" in group:
        labels = arrays.labels_of(*group["labels"], len(images.values))
    row = 0
    for values in arrays.iter_values(path, images):
        yield labels[row : row + len(values)], values
        row += len(values)


def draw_test_rows(labels: NDArray[np.str_], test_fraction: float) -> NDArray[np.bool_]:
    """Draw test rows, stratified by class: each class gets its share to within one row.

    Parameters
    ----------
    labels : str array of shape (n,)
    test_fraction : float
        Share of the rows to test on, between 0 and 1.

    Returns
    -------
    bool array of shape (n,)
        True for the rows to test on.

    Raises
    ------
    UserError
        If there are too few rows to test on at least one and to train on at least one.
    """
    order = np.random.default_rng(SPLIT_SEED).permutation(len(labels))
    by_class = order[np.argsort(labels[order], kind="stable")]
    # With the rows sorted by class, those at which the cumulative share passes an integer.
    chosen = np.diff(np.floor(test_fraction * np.arange(len(labels) + 1))) > 0
    if chosen.all() or not chosen.any():
        raise UserError(
            f"params.yaml: test_fraction is {test_fraction:g}, which leaves {chosen.sum()} of "
            f"{len(labels)} images to test on, expected at least one, and one to train on"
        )
    in_test = np.zeros(len(labels), bool)
    in_test[by_class[chosen]] = True
    return in_test
