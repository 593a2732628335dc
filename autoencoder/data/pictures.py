"""Pictures in files, of any size and colour, as grey images of 28x28."""

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import BITSPERSAMPLE, PHOTOMETRIC_INTERPRETATION, TiffImageFile

from autoencoder.data import table
from autoencoder.errors import UserError

# What torchvision takes for a picture, and what Pillow may take it for: no other of its formats is
# ever tried, some of which start programs.
FORMATS = {
    **{".bmp": "BMP", ".jpg": "JPEG", ".jpeg": "JPEG", ".pgm": "PPM", ".png": "PNG"},
    **{".ppm": "PPM", ".tif": "TIFF", ".tiff": "TIFF", ".webp": "WEBP"},
}

# Pictures handed out at a time.
_PICTURES = 256


def iter_chunks(path: Path) -> Iterator[table.Chunk]:
    """Read a picture or a folder of pictures, in bounded memory.

    A picture becomes an image as it stands, for the network that means white on black: stretched or
    shrunk to 28x28, and colours to their luma, as torchvision's Resize and Grayscale do. It is
    turned as its EXIF data says, what is transparent shows black behind it, grey values of 16 bits
    are divided by 257. Of several pictures in a file, the first counts.

    Parameters
    ----------
    path : Path
        A picture, whose label is the name of the file; a folder of pictures, in the order of their
        names, which are the labels; or what `classes` takes.

    Yields
    ------
    labels : str array of shape (n,)
    images : uint8 array of shape (n, 784)
        Grey values, 0 black to 255 white; n is a few hundred at most.

    Raises
    ------
    UserError
        If a file cannot be read as a picture or, in a folder, is none by its name; hidden files and
        Windows' Thumbs.db are passed over. If a name cannot be a label, or there is no picture.
    OSError
        If a file or folder cannot be read.
    """
    if not path.is_dir():
        yield from _read([(_label(path), path)])
    elif any(entry.is_dir() and _counts(entry, path) for entry in path.iterdir()):
        yield from iter_classes(path)
    else:
        found = [entry for entry in sorted(path.iterdir()) if _is_picture(entry, path)]
        if not found:
            raise UserError(f"{path}: no picture in it, expected some: {' '.join(FORMATS)}")
        yield from _read([(_label(picture), picture) for picture in found])


def iter_classes(folder: Path) -> Iterator[table.Chunk]:
    """Read a folder that has a folder of pictures for each class, as torchvision's ImageFolder.

    Parameters
    ----------
    folder : Path
        The label is the name of the folder in it. Classes come in the order of their names, the
        pictures of each in the order of theirs, those of folders within it included.

    Yields
    ------
    labels, images
        As `pieces` does.

    Raises
    ------
    UserError
        As `pieces` does, and if there is no folder for a class, none in it, or a file beside them.
    OSError
        If a file or folder cannot be read.
    """
    from torchvision.datasets import ImageFolder  # here: it takes seconds

    names = []
    for entry in sorted(folder.iterdir()):
        if entry.is_dir() and _counts(entry, folder):
            names.append(_label(entry))
        elif _counts(entry, folder):
            raise UserError(f"{entry}: a file beside the folders of the classes; move it away")
    if not names:
        raise UserError(f"{folder}: no folder in it, expected a folder of pictures for each class")
    found = ImageFolder(
        folder, is_valid_file=lambda name: _is_picture(Path(name), folder), allow_empty=True
    )
    samples = [(found.classes[number], Path(name)) for name, number in found.samples]
    if empty := set(names) - {label for label, _ in samples}:
        raise UserError(
            f"{folder / min(empty)}: no picture in it, expected some: {' '.join(FORMATS)}"
        )
    yield from _read(samples)


def _counts(path: Path, folder: Path) -> bool:
    """Whether a file or folder inside `folder` is the user's, not a file manager's or a tool's."""
    hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
    return not hidden and path.name.lower() != "thumbs.db"


def _is_picture(path: Path, folder: Path) -> bool:
    """Whether to read a file inside `folder`; one that cannot be meant is an error."""
    if not _counts(path, folder):
        return False
    if path.suffix.lower() not in FORMATS:
        raise UserError(
            f"{path}: not a picture by its name, expected {' '.join(FORMATS)}; move it away"
        )
    return True


def _label(path: Path) -> str:
    """Take the name of a file or folder as a label."""
    if not table.is_valid_label(path.name):
        raise UserError(
            f"{path.parent}: the name {path.name!r:.80} cannot be a label, expected "
            f"{table.LABEL_RULE}; rename it"
        )
    return path.name


def _read(samples: list[tuple[str, Path]]) -> Iterator[table.Chunk]:
    """Read pictures, each with its label."""
    from torchvision.transforms import Compose, Grayscale, Resize  # here: it takes seconds

    shape = Compose([Grayscale(), Resize((table.SIDE, table.SIDE))])
    for start in range(0, len(samples), _PICTURES):
        some = samples[start : start + _PICTURES]
        images = np.stack([_image(path, shape) for _, path in some])
        yield np.array([label for label, _ in some]), images


def _image(path: Path, shape: Callable[[Image.Image], Image.Image]) -> NDArray[np.uint8]:
    """Read a picture as an image, uint8 (784,)."""
    with path.open("rb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd metadata
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            picture: Image.Image = Image.open(file, formats=sorted(set(FORMATS.values())))
            wide = _is_wide(picture)
            picture.load()
            picture = ImageOps.exif_transpose(picture)
            picture = _from_16_bits(picture) if wide else _on_black(picture)
            return np.asarray(shape(picture)).reshape(table.PIXELS)
        except UnidentifiedImageError as error:
            expected = ", ".join(sorted(set(FORMATS.values())))
            raise UserError(
                f"{path}: cannot be read as a picture (none of {expected}, or damaged); mend it or "
                "move it away"
            ) from error
        except Exception as error:  # damaged files make Pillow raise nearly anything
            reason = " ".join(str(error).split()) or type(error).__name__
            raise UserError(
                f"{path}: cannot be read as a picture ({reason:.200}); mend it or move it away"
            ) from error


def _is_wide(picture: Image.Image) -> bool:
    """Whether a picture has grey values 0..65535; of others beyond 0..255, none says its white."""
    if picture.mode.startswith("I;16"):
        if isinstance(picture, TiffImageFile):
            kind = [picture.tag_v2.get(tag) for tag in (BITSPERSAMPLE, PHOTOMETRIC_INTERPRETATION)]
            if kind != [(16,), 1]:
                raise ValueError("a TIFF of 12 bits, or one whose 0 is white")
        return True
    if picture.mode == "I" and picture.format == "PPM":
        return True
    if picture.mode in ("I", "F"):
        raise ValueError("its grey values are not of 8 or 16 bits, so that none is known as white")
    return False


def _from_16_bits(picture: Image.Image) -> Image.Image:
    """Scale grey values 0..65535 to 0..255; what is transparent gets black."""
    values = np.asarray(picture)
    opaque = values != picture.info.get("transparency", -1)
    return Image.fromarray((opaque * np.round(values / 257)).astype(np.uint8))


def _on_black(picture: Image.Image) -> Image.Image:
    """Put a picture that may be transparent on black."""
    if not picture.has_transparency_data:
        return picture
    black = Image.new("RGBA", picture.size, "black")
    return Image.alpha_composite(black, picture.convert("RGBA"))
