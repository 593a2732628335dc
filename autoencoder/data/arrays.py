"""Arrays of users: .npy, .npz and IDX files."""

import gzip
import math
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from autoencoder.base.errors import UserError
from autoencoder.base.files import named_errors
from autoencoder.data import idx, table
from autoencoder.data.names import Split, split_of, words
from autoencoder.data.pictures import flatten_alpha, shrink

Role = Literal["images", "labels"]

_ROLES: dict[str, Role] = {
    **dict.fromkeys(("x", "images", "image", "imgs", "data", "pixels"), "images"),
    **dict.fromkeys(("y", "labels", "label", "targets", "target", "classes", "class"), "labels"),
}
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow
_ROWS = 1024  # per chunk
# A maximum below this is not white; a mean border of at least this means black ink on white.
MIDDLE = 128


@dataclass
class UserArray:
    """An array with what its name and shape say of it."""

    name: str
    values: NDArray[Any]
    role: Role
    split: Split | None


def is_idx(path: Path) -> bool:
    """Tell whether a file starts as an IDX file of bytes or integers, gzipped or not."""
    try:
        with _open(path) as file:
            magic = file.read(4)
    except (OSError, EOFError, zlib.error):
        return False
    return len(magic) == 4 and magic[:2] == b"\0\0" and magic[2] in (8, 12) and 1 <= magic[3] <= 4


def read_arrays(path: Path) -> list[UserArray]:
    """Read the arrays of a .npy, .npz or IDX file.

    Raises
    ------
    UserError
        If the file is damaged or contains pickled objects, or an array is neither images nor
        labels by its shape, type and name.
    """
    try:
        with named_errors(path):
            if path.suffix.lower() == ".npz":
                with np.load(path, allow_pickle=False) as archive:
                    return [_describe(path, key, archive[key]) for key in archive.files]
            if path.suffix.lower() == ".npy":
                values = np.load(path, mmap_mode="r", allow_pickle=False)
                return [_describe(path, path.stem, values)]
            return [_describe(path, path.name, _read_idx(path))]
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error, gzip.BadGzipFile) as error:
        reason = " ".join(str(error).split())
        hint = ""
        if "pickle" in reason:
            reason, hint = "pickled objects", ", which may run any code; save plain numbers"
        raise UserError(f"{path}: cannot be read as an array ({reason:.200}){hint}") from error


def _describe(path: Path, name: str, values: NDArray[Any]) -> UserArray:
    roles = {_ROLES[word] for word in words(name) if word in _ROLES}
    is_vector = values.ndim == 1 or (values.ndim == 2 and values.shape[1] == 1)
    if values.ndim == 0 or values.dtype.kind not in "biufUS":
        raise UserError(f"{path}: array {name} is not an array of images or labels; remove it")
    if is_vector and roles == {"images"}:
        raise UserError(f"{path}: array {name} has shape {values.shape}, expected images")
    if not is_vector and roles == {"labels"}:
        raise UserError(
            f"{path}: array {name} has shape {values.shape}, expected a label for each image; if "
            "it is one-hot, save its argmax(1)"
        )
    return UserArray(name, values, "labels" if is_vector else "images", split_of(name))


def _open(path: Path) -> IO[bytes]:
    """Open a file that may be gzipped."""
    with path.open("rb") as file:
        is_gzipped = file.read(2) == b"\x1f\x8b"
    return cast(IO[bytes], gzip.open(path)) if is_gzipped else path.open("rb")


def _read_idx(path: Path) -> NDArray[Any]:
    with _open(path) as file:
        magic = file.read(4)
        _, *item = np.frombuffer(file.read(4 * magic[3]), ">u4").tolist()
    with _open(path) as file:
        dtype = np.uint8 if magic[2] == 8 else ">i4"
        return idx.read(file, str(path), tuple(item), dtype, hint="replace it by a complete copy")


def labels_of(path: Path, array: UserArray, count: int) -> NDArray[np.str_]:
    """Return labels of shape (n,) or (n, 1) as text.

    Raises
    ------
    UserError
        If there are not `count` of them, or one is not finite or breaks `table.LABEL_RULE`.
    """
    values = array.values.reshape(-1)
    if len(values) != count:
        raise UserError(
            f"{path}: {len(values)} labels in {array.name}, expected one for each of {count} images"
        )
    if values.dtype.kind == "S":
        values = np.char.decode(values, "utf-8", "replace")
    if values.dtype.kind == "f":
        if not (finite := np.isfinite(values)).all():
            row = int((~finite).argmax())
            raise UserError(
                f"{path}: label {row + 1} in {array.name} is {values[row]}, expected a number or "
                "text; remove or label that image"
            )
        if (values == np.rint(values)).all():
            values = values.astype(np.int64)
    labels = values.astype(str)
    for label in np.unique(labels).tolist():
        if fault := table.label_fault(label):
            raise UserError(f"{path}: label {label!r:.80} in {array.name}: {fault}")
    return labels


def iter_values(path: Path, array: UserArray) -> Iterator[NDArray[Any]]:
    """Convert images of any size, grey or colour, to shape (n, 784), in chunks.

    Raises
    ------
    UserError
        If the shape is not that of images, a value is not in 0..255, or an array of floats has
        neither fractions in 0..1 nor grey values up to 255.
    """
    values, shape = array.values, array.values.shape
    if shape[1:] in ((table.PIXELS, 1), (1, table.PIXELS)):
        values = values.reshape(-1, table.PIXELS)
    if values.shape[1:] != (table.PIXELS,):
        if len(shape) == 4 and shape[1] in (1, 3) and shape[3] not in (1, 3, 4):
            values = np.moveaxis(values, 1, 3)  # PyTorch's order
        # In three dimensions, a single colour picture and images with n last look like others.
        is_one = shape[2:] in ((3,), (4,))
        n_is_last = shape[:2] == (table.SIDE, table.SIDE) and shape[2:] != (table.SIDE,)
        is_grey = values.ndim == 3 and not is_one and not n_is_last
        if not (is_grey or (values.ndim == 4 and values.shape[3] in (1, 3, 4))):
            raise UserError(
                f"{path}: array {array.name} has shape {shape}, expected (n, 784), (n, height, "
                "width) or (n, height, width, channels), with n also for a single image"
            )
    if not math.prod(shape):
        raise UserError(
            f"{path}: array {array.name} has shape {shape}, expected at least one image"
        )
    if values.dtype.kind not in "biuf":
        raise UserError(f"{path}: array {array.name} is of type {values.dtype}, not of numbers")
    chunks = [values[start : start + _ROWS] for start in range(0, len(values), _ROWS)]
    # Of the whole array: one chunk may be dark.
    maximum = max(float(chunk.max()) for chunk in chunks)
    for number, chunk in enumerate(map(np.asarray, chunks)):
        wrong = ~((chunk >= 0) & (chunk <= 255))
        if values.dtype.kind == "f" and 1 < maximum < MIDDLE:
            wrong |= chunk != np.rint(chunk)
        if wrong.any():
            row, *place = np.argwhere(wrong)[0].tolist()
            raise UserError(
                f"{path}: array {array.name}, image {number * _ROWS + row + 1} has a value "
                f"{chunk[(row, *place)]:.6g}, the maximum of all is {maximum:.6g}; expected grey "
                "values 0..255, or fractions 0..1; scale the array"
            )
        if chunk.ndim == 2 or chunk.shape[1:] in ((table.SIDE, table.SIDE), (28, 28, 1)):
            images = chunk.reshape(-1, table.PIXELS)
        else:
            images = np.stack([_shrink(image) for image in chunk]).reshape(-1, table.PIXELS)
        if images.dtype.kind == "f":
            yield images if maximum <= 1 else np.rint(images).astype(np.uint8)
        else:
            yield images.astype(np.uint8)


def _shrink(image: NDArray[Any]) -> NDArray[Any]:
    """Convert an image of any size, grey or colour, to grey of 28x28, as pictures are."""
    is_float = image.dtype.kind == "f"
    if image.ndim == 3 and image.shape[2] == 1:
        image = image[:, :, 0]
    if is_float and image.ndim == 3:
        alpha = image[:, :, 3] / max(1, image[:, :, 3].max()) if image.shape[2] == 4 else 1
        image = image[:, :, :3] @ np.array(_LUMA) * alpha
    if is_float:
        picture = Image.fromarray(image.astype(np.float32))
    else:
        picture = flatten_alpha(Image.fromarray(image.astype(np.uint8))).convert("L")
    return np.asarray(shrink(picture))
