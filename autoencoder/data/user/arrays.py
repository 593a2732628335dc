"""Arrays in .npy, .npz and IDX files."""

import math
import zipfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from autoencoder.base.errors import UserError, one_line
from autoencoder.data.user.batches import Batch, Content, Labels, role_of, rows_of, stem
from autoencoder.data.user.formats import open_seekable

_IDX_TYPES = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
_MIN_SIDE = 7


@dataclass
class _Array:
    """An array in a file: where its values are, and of what type and shape."""

    path: Path
    name: str
    open: Callable[[], AbstractContextManager[IO[bytes]]]
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    is_fortran: bool
    offset: int

    def read(self) -> NDArray[Any]:
        with self.open() as file:
            file.seek(self.offset)
            values = np.frombuffer(file.read(), self.dtype)
        if values.size != math.prod(self.shape):
            raise _damaged(
                self.path, f"{values.size} values, {math.prod(self.shape)} in its header"
            )
        return values.reshape(self.shape, order="F" if self.is_fortran else "C")

    def slices(self, axis: int) -> Iterator[NDArray[Any]]:
        """Yield the array in slices along an axis, which becomes the first, in bounded memory."""
        shape = self.shape[::-1] if self.is_fortran else self.shape
        axis = len(shape) - 1 - axis if self.is_fortran else axis
        item = shape[:axis] + shape[axis + 1 :]
        item_bytes = math.prod(item) * self.dtype.itemsize
        with self.open() as file:
            if file.seek(0, 2) < self.offset + item_bytes * shape[axis]:
                raise _damaged(self.path, f"it is too short for the shape {self.shape}")
            # With the axis last, every slice needs the whole file: take four times as many.
            step = rows_of(item_bytes) * (4 if axis else 1)
            for start in range(0, shape[axis], step):
                count = min(step, shape[axis] - start)
                if axis == 0:
                    file.seek(self.offset + start * item_bytes)
                    block = file.read(count * item_bytes)
                    values = np.frombuffer(block, self.dtype).reshape(count, *item)
                else:
                    values = np.empty((count, *item), self.dtype)
                    row_bytes = math.prod(shape[1:]) * self.dtype.itemsize
                    for row in range(shape[0]):
                        file.seek(self.offset + row * row_bytes)
                        slab = np.frombuffer(file.read(row_bytes), self.dtype).reshape(shape[1:])
                        slab = np.moveaxis(slab, axis - 1, 0)[start : start + count]
                        values[:, row] = slab
                yield (
                    values.transpose(0, *range(values.ndim - 1, 0, -1))
                    if self.is_fortran
                    else (values)
                )


def describe(path: Path, kind: str) -> list[Content]:
    """List the arrays of a file, of kind npy, npz or idx.

    Raises
    ------
    UserError
        If the file is damaged, or a documented array is not one of numbers or texts.
    """
    source = partial(open_seekable, path)
    try:
        if kind == "idx":
            arrays = [_idx_header(path, source)]
        elif kind == "npy":
            arrays = [_npy_header(path, stem(path), source)]
        else:
            with source() as file:
                members = zipfile.ZipFile(file).namelist()
            members = [name for name in members if name.endswith(".npy") and name[:2] != "__"]
            names = [name.removesuffix(".npy") for name in members]
            names = [stem(path)] if names == ["arr_0"] else names
            arrays = [
                _npy_header(path, name, partial(_open_member, path, member))
                for name, member in zip(names, members, strict=True)
            ]
    except (ValueError, EOFError) as error:
        raise _damaged(path, one_line(error)) from error
    return [_describe(array) for array in arrays]


def _damaged(path: Path, reason: str) -> UserError:
    return UserError(
        f"{path}: cannot be read as an array ({reason:.200}); replace it by a complete copy"
    )


class _open_member(ExitStack):  # noqa: N801 - used like a function
    """Open a member of a zip archive, seekable."""

    def __init__(self, path: Path, name: str) -> None:
        super().__init__()
        self._path, self._name = path, name

    def __enter__(self) -> Any:
        archive = zipfile.ZipFile(self.enter_context(open_seekable(self._path)))
        return self.enter_context(archive.open(self._name))


def _npy_header(path: Path, name: str, source: Callable[[], Any]) -> _Array:
    with source() as file:
        version = npy.read_magic(file)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, is_fortran, dtype = read(file)
        return _Array(path, name, source, dtype, shape, is_fortran, file.tell())


def _idx_header(path: Path, source: Callable[[], Any]) -> _Array:
    with source() as file:
        magic = file.read(4)
        shape = tuple(np.frombuffer(file.read(4 * magic[3]), ">u4").tolist())
        dtype = np.dtype(_IDX_TYPES[magic[2]])
        return _Array(path, stem(path), source, dtype, shape, False, file.tell())


def _describe(array: _Array) -> Content:
    """Tell by its documented name and its shape what an array is."""
    path, name, shape, kind = array.path, array.name, array.shape, array.dtype.kind
    role = role_of(name)
    where = f"{path}: array {name}"
    if role and kind == "O":
        raise UserError(
            f"{path}: cannot be read as an array (pickled objects), which may run any code; save "
            "plain numbers"
        )
    is_vector = sum(size != 1 for size in shape) <= 1 and len(shape) in (1, 2)
    if role == "images" and is_vector and len(shape) == 1:
        raise UserError(
            f"{where} has shape {shape}, expected images: (n, 784) or (n, height, width)"
        )
    text = f"{array.dtype} of shape {shape}"
    if role == "labels" and kind in "biufSU" and shape:
        return Content(path, name, role, text, labels=lambda: _read_labels(array))
    if is_vector or kind not in "biuf" or len(shape) < 2 or role == "labels":
        fault = f"{where} is not of images ({text}), nor of labels by its name, such as y; left out"
        return Content(path, name, None, text, fault)
    return Content(path, name, "images", text, images=lambda count: _batches(array, count))


def _read_labels(array: _Array) -> Labels:
    values, where = array.read(), f"{array.path}: array {array.name}"
    if values.size != max(values.shape):
        is_one_hot = values.ndim == 2 and (values != 0).sum(1).max() == 1
        several = (
            "with several labels for an image, save one column of it, or leave it out: images "
            "need no labels"
        )
        raise UserError(
            f"{where} has shape {values.shape}, expected a label for each image; "
            + ("if it is one-hot, save its argmax(1)" if is_one_hot else several)
        )
    values = values.reshape(-1)
    if values.dtype.kind == "f" and not (finite := np.isfinite(values)).all():
        row = int((~finite).argmax())
        raise UserError(
            f"{array.path}: label {row + 1} in {array.name} is {values[row]}, expected a number or "
            "text; remove or label that image"
        )
    texts = np.char.decode(values, "utf-8", "replace") if values.dtype.kind == "S" else values
    return Labels(texts.astype(str))


def _batches(array: _Array, count: int | None) -> Iterator[Batch]:
    axis, channels = image_axes(array, count)
    row = 0
    white = 1.0 if array.dtype.kind == "b" else None
    for values in array.slices(axis):
        if channels is not None:
            values = np.moveaxis(values, channels + (channels < axis), -1)
        if values.ndim == 2 or (values.ndim == 3 and 1 in values.shape[1:]):
            side = math.isqrt(math.prod(values.shape[1:]))
            values = values.reshape(len(values), side, side)

        def place(index: int, first: int = row + 1) -> str:
            return f"{array.path}: array {array.name}, image {first + index}"

        yield Batch(values, place, white=white)
        row += len(values)


def image_axes(array: _Array, count: int | None) -> tuple[int, int | None]:
    """Decide which axis of an array counts the images, and which one the channels.

    The number of labels decides, if there are any; else the first axis counts, unless only another
    makes images. Channels are last, or before height and width as in PyTorch, or before the last,
    as in MATLAB.

    Raises
    ------
    UserError
        If no axis makes images, or a single one without an axis of its own.
    """
    shape = array.shape
    found: list[tuple[int, int | None]] = []
    for axis in (0, len(shape) - 1):
        rest = [other for other in range(len(shape)) if other != axis]
        sizes = [shape[other] for other in rest]
        if (
            math.isqrt(math.prod(sizes)) ** 2 == math.prod(sizes) >= _MIN_SIDE**2
            and (len(sizes) == 1 or (len(sizes) == 2 and 1 in sizes))
        ) or (len(sizes) == 2 and min(sizes) > 4 and (axis == 0 or shape[2] not in (3, 4))):
            found.append((axis, None))
        elif len(sizes) == 3:
            places = [place for place in (2, 0) if sizes[place] in (1, 3, 4)]
            found += [(axis, rest[places[0]])] if places else []
    if count is not None and any(shape[axis] == count for axis, _ in found):
        found = [(axis, channels) for axis, channels in found if shape[axis] == count]
    if len(shape) == 3 and len(found) == 2 and shape[0] == shape[1] != shape[2]:
        found = found[1:]  # (28, 28, n)
    if len(shape) == 2 and len(found) == 2 and shape[0] == 784 != shape[1]:
        found = found[1:]
    if not found or not math.prod(shape):
        raise UserError(
            f"{array.path}: array {array.name} has shape {shape}, expected at least one image: "
            "(n, 784), (n, height, width) or (n, height, width, channels), with n also for a "
            "single image, by images[None]; rows of a colour image need images.reshape(n, 3, h, w)"
        )
    return found[0]
