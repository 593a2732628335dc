"""Arrays in .npy, .npz and IDX files."""

import math
import tempfile
import tokenize
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from autoencoder.base.errors import UserError, one_line
from autoencoder.data.user.batches import Batch, Labels, Source, is_square, refuse_alpha, rows_of
from autoencoder.data.user.formats import UPRIGHT, is_emnist, open_stream
from autoencoder.data.user.roles import role_of, stem

_IDX_TYPES = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}


@dataclass
class _Array:
    """An array in a file: where its values are, and of what type and shape."""

    path: Path
    member: str  # of a zip archive, or ""
    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    is_fortran: bool  # the first axis varies fastest, not the last
    offset: int
    is_transposed: bool  # whether rows and columns of the images are exchanged

    def __str__(self) -> str:
        return f"{self.path}: array {self.name}"

    def slices(self, axis: int = 0) -> Iterator[NDArray[Any]]:
        """Yield slices along an axis, which becomes the first, in bounded memory.

        The file itself is not mapped: if it shrank meanwhile, that would be a signal, not an error.
        """
        if axis == 0 and not self.is_fortran:
            yield from self._blocks(*self.shape)
            return
        with tempfile.TemporaryFile() as copy:
            for block in self._blocks(math.prod(self.shape)):
                copy.write(block.tobytes())
            shape = self.shape[::-1] if self.is_fortran else self.shape
            mapped = np.memmap(copy, self.dtype, "r", shape=shape)
            values = np.moveaxis(mapped.T if self.is_fortran else mapped, axis, 0)
            step = rows_of(values[0].nbytes)
            for start in range(0, len(values), step):
                yield np.array(values[start : start + step])

    def _blocks(self, count: int, *shape: int) -> Iterator[NDArray[Any]]:
        """Read the values as items of a shape, in blocks, at least one."""
        size = math.prod(shape) * self.dtype.itemsize
        step = rows_of(size)
        with open_stream(self.path, self.member) as file:
            file.read(self.offset)
            for start in range(0, count or 1, step):
                rows = min(step, count - start)
                content = file.read(rows * size)
                if len(content) < rows * size:
                    raise _damaged(self.path, f"it is too short for the shape {self.shape}")
                yield np.frombuffer(content, self.dtype).reshape(rows, *shape)
            if file.read(1):
                raise UserError(
                    f"{self.path}: more data after the array of shape {self.shape}; save each "
                    "array in a file of its own, or all with numpy.savez"
                )


def describe(path: Path, kind: str) -> list[Source]:
    """List the arrays of a file of kind npy, npz or idx; refuse damage and pickled objects."""
    members = {stem(path): ""}
    try:
        if kind == "npz":
            with open_stream(path) as file:
                names = [x for x in zipfile.ZipFile(file).namelist() if x.endswith(".npy")]
            members = {name.removesuffix(".npy"): name for name in names if name[:2] != "__"}
            if list(members) == ["arr_0"]:
                members = {stem(path): "arr_0.npy"}
        return [_describe(_header(path, kind, *member)) for member in members.items()]
    except (ValueError, EOFError, SyntaxError, tokenize.TokenError) as error:
        raise _damaged(path, one_line(error)) from error


def _damaged(path: Path, reason: str) -> UserError:
    return UserError(
        f"{path}: cannot be read as an array ({reason:.200}); replace it by a complete copy"
    )


def _header(path: Path, kind: str, name: str, member: str) -> _Array:
    with open_stream(path, member) as file:
        is_fortran = False
        if kind == "idx":
            magic = file.read(4)
            shape = tuple(np.frombuffer(file.read(4 * magic[3]), ">u4").tolist())
            dtype = np.dtype(_IDX_TYPES[magic[2]])
        elif npy.read_magic(file) == (1, 0):
            shape, is_fortran, dtype = npy.read_array_header_1_0(file)
        else:
            shape, is_fortran, dtype = npy.read_array_header_2_0(file)
        is_published = kind == "idx" or name.startswith("dataset_")  # or from MATLAB
        is_transposed = is_published and is_emnist(path)
        return _Array(path, member, name, dtype, shape, is_fortran, file.tell(), is_transposed)


def _describe(array: _Array) -> Source:
    """Tell by its documented name and its shape what an array is."""
    path, name, shape, kind = array.path, array.name, array.shape, array.dtype.kind
    role = role_of(name)
    if role and kind == "O":
        raise UserError(
            f"{array} contains pickled objects, which may run any code when they are loaded; save "
            "numbers, or texts with .astype(str)"
        )
    if role == "images" and len(shape) == 1:
        raise UserError(_shape_fault(array))
    if role == "labels" and len(shape) > 2 and _axes(shape):
        role = None  # digits.npy
    text = f"{array.dtype} of shape {shape}"
    if role == "labels" and kind in "biufSU" and shape:
        return Source(path, name, role, text, labels=partial(_read_labels, array))
    is_vector = len(shape) < 3 and sum(size != 1 for size in shape) <= 1
    fault = f"{array} is not of images ({text}), nor of labels by its name, such as y; left out"
    if is_vector or kind not in "biuf" or role == "labels":
        return Source(path, name, None, text, fault)
    if role is None and not _axes(shape):
        return Source(path, name, None, text, _shape_fault(array))
    text += UPRIGHT * array.is_transposed
    return Source(path, name, "images", text, batches=partial(_batches, array))


def _read_labels(array: _Array) -> Labels:
    values = np.concatenate([*array.slices()])
    if values.size != max(values.shape):
        is_number = values.ndim == 2 and values.dtype.kind in "biuf"
        if not is_number or set(np.unique(values)) != {0, 1} or (values.sum(1) != 1).any():
            raise UserError(
                f"{array} has shape {values.shape}, expected a label for each image, also one-hot; "
                "with several for an image, save one column of it, or leave it out: images need no "
                "labels"
            )
        values = values.argmax(1)
    values = values.reshape(-1)
    if values.dtype.kind == "f" and not (finite := np.isfinite(values)).all():
        row = int((~finite).argmax())
        raise UserError(
            f"{array.path}: label {row + 1} in {array.name} is {values[row]}, expected a number or "
            "text; remove or label that image"
        )
    texts = np.char.decode(values, "utf-8", "replace") if values.dtype.kind == "S" else values
    return Labels(texts.astype(str))


def _batches(array: _Array, count: int | None = None) -> Iterator[Batch]:
    axis, channels = _image_axes(array, count)
    row = 0
    white = 1.0 if array.dtype.kind == "b" else None
    for values in array.slices(axis):
        if channels is not None:
            values = np.moveaxis(values, channels + (channels < axis), -1)
        if values.ndim == 2 or (values.ndim == 3 and 1 in values.shape[1:]):
            side = math.isqrt(math.prod(values.shape[1:]))
            values = values.reshape(len(values), side, side)
            refuse_alpha(array, values)

        if array.is_transposed:
            values = values.swapaxes(1, 2)

        def place(index: int, first: int = row + 1) -> str:
            return f"{array}, image {first + index}"

        yield Batch(values, place, white=white)
        row += len(values)


def _image_axes(array: _Array, count: int | None) -> tuple[int, int | None]:
    """Decide which axis of an array counts the images, and which one the channels.

    The number of labels decides, if there are any; else the first axis counts, unless only another
    makes images. A single image needs an axis of its own.
    """
    shape = array.shape
    found = _axes(shape)
    for axis, channels in found:
        if shape[axis] == count:
            return axis, channels
    if found and len(shape) == 2 and shape[0] == shape[1]:
        side = math.isqrt(shape[0])
        raise UserError(
            f"{array} has shape {shape}; if it is one image, save array[None], if it is "
            f"{shape[0]} images, save array.reshape(-1, {side}, {side})"
        )
    if shape[:-1] in ((784,), (shape[0], shape[0])) and shape[0] != shape[-1]:
        found.reverse()  # (28, 28, n) and (784, n)
    for axis, channels in found:
        sides = shape[1:] if axis == 0 else shape[:-1]
        if len(shape) == 3 and 1 not in sides and max(sides) > 8 * min(sides):
            break
        if axis == 0 or channels != 0:  # not (3, 28, 28, n)
            return axis, channels
    raise UserError(_shape_fault(array))


def _axes(shape: tuple[int, ...]) -> list[tuple[int, int | None]]:
    """List which axes, the first or last, may count images, with the one of their channels.

    Channels are last, or before height and width as in PyTorch, or before the last, as in MATLAB.
    """
    found: list[tuple[int, int | None]] = []
    for axis in (0, len(shape) - 1) if math.prod(shape) else ():
        rest = [other for other in range(len(shape)) if other != axis]
        sizes = [shape[other] for other in rest]
        is_flat = len(sizes) == 1 or (len(sizes) == 2 and 1 in sizes)
        is_grey = len(sizes) == 2 and min(sizes) > 4 and (axis == 0 or shape[2] not in (3, 4))
        if is_grey or (is_flat and is_square(math.prod(sizes))):
            found.append((axis, None))
        elif len(sizes) == 3:
            places = [place for place in (2, 0) if sizes[place] in (1, 3, 4)]
            found += [(axis, rest[place]) for place in places[:1]]
    return found


def _shape_fault(array: _Array) -> str:
    return (
        f"{array} has shape {array.shape}, expected at least one image: (n, 784), (n, height, "
        "width) or (n, height, width, channels), with n also for a single image, by images[None]; "
        "rows of a colour image need images.reshape(n, 3, h, w)"
    )
