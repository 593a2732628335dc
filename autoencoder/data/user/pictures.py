"""Picture files."""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import BITSPERSAMPLE, PHOTOMETRIC_INTERPRETATION, TiffImageFile

from autoencoder.base.errors import UserError, one_line
from autoencoder.base.files import named_errors
from autoencoder.data.user.batches import Batch, Item, group
from autoencoder.data.user.formats import Faults, advice_on

# A file, its label and its split.
Row = tuple[str, str | None, str]

# Pillow's other formats are never tried: some of them start programs.
_FORMATS = ["BMP", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP"]
_MANY_PIXELS = 1 << 24  # of a JPEG that is decoded at a smaller scale


def iter_batches(rows: list[Row], unreadable: Faults) -> Iterator[Batch]:
    """Read pictures; note those that cannot be read, to be reported together."""

    def items() -> Iterator[Item]:
        for name, label, split in rows:
            path = Path(name)
            with unreadable.noted(path):
                if path.is_fifo():  # it would be waited for without end
                    raise UserError(f"{path}: a pipe, expected a picture; remove it")
                with path.open("rb") as file:  # by its name, Pillow would map it into memory
                    image = read_picture(file, path)
                yield (*image, name, label, split)

    return group(items())


def read_picture(file: Any, path: Path) -> tuple[NDArray[Any], float]:
    """Read a picture, upright by its EXIF orientation; return its values and what white is.

    They are grey, grey and alpha, RGB or RGBA, without alpha if that is 0 or 255 everywhere.
    """
    with named_errors(path), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about odd metadata
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            with Image.open(file, formats=_FORMATS) as picture:
                return _read(picture)
        except OSError as error:
            if error.errno is not None:  # of the file system
                raise
            reason = one_line(error)
            if isinstance(error, UnidentifiedImageError):
                reason = f"none of {', '.join(_FORMATS)}, or damaged"
            if path.is_file():  # not a cell of a table
                file.seek(0)
                reason = advice_on(path, file.read(512)) or reason
        except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
            command = f"magick {path.name} -resize 2000x2000 small-{path.name}"
            reason = f"{str(error).split(',')[0]}: shrink it with `{command}`"
        except Exception as error:  # damaged files make Pillow raise almost anything
            reason = one_line(error) or type(error).__name__
    raise UserError(f"{path}: cannot be read as a picture ({reason:.200}); fix or remove it")


def _read(picture: Image.Image) -> tuple[NDArray[Any], float]:
    count = getattr(picture, "n_frames", 1)
    if count > 1 and picture.format != "MPO":  # a photo with previews
        raise ValueError(f"it contains {count} pictures; write each to a file of its own")
    white = _white(picture)
    if picture.width * picture.height > _MANY_PIXELS:
        picture.draft(None, (1024, 1024))  # a JPEG is decoded at half the scale or less
    picture.load()
    picture = ImageOps.exif_transpose(picture)
    if white > 255:
        values = np.asarray(picture)
        return values * (values != picture.info.get("transparency", -1)), white
    if picture.has_transparency_data:
        picture = picture.convert("LA" if picture.mode in ("1", "L", "LA", "La") else "RGBA")
        if picture.getchannel("A").getextrema() in ((0, 0), (255, 255)):
            picture = picture.convert(picture.mode.removesuffix("A"))
    elif picture.mode not in ("L", "RGB"):
        picture = picture.convert("L" if picture.mode == "1" else "RGB")
    return np.asarray(picture), white


def _white(picture: Image.Image) -> int:
    """Return 255 or 65535; other ranges have no defined white."""
    is_16_bit = picture.mode.startswith("I;16")
    if is_16_bit and isinstance(picture, TiffImageFile):
        kind = [picture.tag_v2.get(tag) for tag in (BITSPERSAMPLE, PHOTOMETRIC_INTERPRETATION)]
        if kind != [(16,), 1]:
            raise ValueError("a TIFF of 12 bits, or one whose 0 is white")
    if is_16_bit or (picture.mode == "I" and picture.format == "PPM"):
        return 65535
    if picture.mode in ("I", "F"):
        raise ValueError("its grey values are not of 8 or 16 bits, so that white is not defined")
    return 255
