"""Picture files of any size and colour, as grey images of 28x28."""

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import BITSPERSAMPLE, PHOTOMETRIC_INTERPRETATION, TiffImageFile

from autoencoder.data import table
from autoencoder.errors import UserError

# The suffixes that torchvision takes for pictures, and Pillow's formats for them. Pillow's other
# formats are never tried: some of them start programs.
FORMATS = {
    **{".bmp": "BMP", ".jpg": "JPEG", ".jpeg": "JPEG", ".pgm": "PPM", ".png": "PNG"},
    **{".ppm": "PPM", ".tif": "TIFF", ".tiff": "TIFF", ".webp": "WEBP"},
}

_CHUNK = 256  # pictures


def iter_chunks(path: Path) -> Iterator[table.Chunk]:
    """Read a picture or a directory of pictures, in chunks and bounded memory.

    A picture is converted to grey (luma) and resized to 28x28 as torchvision's Grayscale and Resize
    do. Its EXIF orientation is applied, transparent parts become black, and 16-bit grey values are
    divided by 257. Of a file with several pictures, the first is used. Grey values are kept as they
    are: a network trained on MNIST expects white on black.

    Parameters
    ----------
    path : Path
        A picture, labelled by its file name; a directory of pictures, in the order of their names,
        which are the labels; or a directory that `iter_classes` takes.

    Yields
    ------
    labels : str array of shape (n,)
    images : uint8 array of shape (n, 784)
        Grey values, 0 black to 255 white; n is a few hundred at most.

    Raises
    ------
    UserError
        If a file cannot be read as a picture or, in a directory, does not have a picture's suffix
        (hidden files and Windows' Thumbs.db are skipped), if a name cannot be a label, or if there
        is no picture.
    OSError
        If a file or directory cannot be read.
    """
    if not path.is_dir():
        yield from _read([(_label(path), path)])
    elif any(entry.is_dir() and _is_visible(entry, path) for entry in path.iterdir()):
        yield from iter_classes(path)
    else:
        found = [entry for entry in sorted(path.iterdir()) if _is_picture(entry, path)]
        if not found:
            raise UserError(f"{path}: no picture in it, expected some: {' '.join(FORMATS)}")
        yield from _read([(_label(picture), picture) for picture in found])


def iter_classes(directory: Path) -> Iterator[table.Chunk]:
    """Read a directory with a directory of pictures for each class, as torchvision's ImageFolder.

    Parameters
    ----------
    directory : Path
        The labels are the names of the directories in it. Classes are read in the order of their
        names, and the pictures of each, also those in subdirectories, in the order of theirs.

    Yields
    ------
    labels, images
        As `iter_chunks` does.

    Raises
    ------
    UserError
        As `iter_chunks` does, and if there is no class directory, no picture in one, or a file next
        to them.
    OSError
        If a file or directory cannot be read.
    """
    from torchvision.datasets import ImageFolder  # here, because it takes more than a second

    names = []
    for entry in sorted(directory.iterdir()):
        if entry.is_dir() and _is_visible(entry, directory):
            names.append(_label(entry))
        elif _is_visible(entry, directory):
            raise UserError(f"{entry}: a file next to the class directories; remove it")
    if not names:
        raise UserError(
            f"{directory}: no directory in it, expected a directory of pictures for each class"
        )
    found = ImageFolder(
        directory, is_valid_file=lambda name: _is_picture(Path(name), directory), allow_empty=True
    )
    samples = [(found.classes[number], Path(name)) for name, number in found.samples]
    if empty := set(names) - {label for label, _ in samples}:
        raise UserError(
            f"{directory / min(empty)}: no picture in it, expected some: {' '.join(FORMATS)}"
        )
    yield from _read(samples)


def _is_visible(path: Path, directory: Path) -> bool:
    """Tell whether an entry of `directory` is the user's, not one of a file manager or tool."""
    hidden = any(part.startswith(".") for part in path.relative_to(directory).parts)
    return not hidden and path.name.lower() != "thumbs.db"


def _is_picture(path: Path, directory: Path) -> bool:
    """Tell whether to read a file in `directory`; refuse files that are not pictures."""
    if not _is_visible(path, directory):
        return False
    if path.suffix.lower() not in FORMATS:
        raise UserError(
            f"{path}: not a picture by its suffix, expected {' '.join(FORMATS)}; remove it"
        )
    return True


def _label(path: Path) -> str:
    """Return the name of a file or directory as a label."""
    if not table.is_valid_label(path.name):
        raise UserError(
            f"{path.parent}: the name {path.name!r:.80} cannot be a label, expected "
            f"{table.LABEL_RULE}; rename it"
        )
    return path.name


def _read(samples: list[tuple[str, Path]]) -> Iterator[table.Chunk]:
    """Read pictures with their labels."""
    from torchvision.transforms import Compose, Grayscale, Resize  # here, as above

    transform = Compose([Grayscale(), Resize((table.SIDE, table.SIDE))])
    for start in range(0, len(samples), _CHUNK):
        chunk = samples[start : start + _CHUNK]
        images = np.stack([_read_picture(path, transform) for _, path in chunk])
        yield np.array([label for label, _ in chunk]), images


def _read_picture(path: Path, transform: Callable[[Image.Image], Image.Image]) -> NDArray[np.uint8]:
    """Read a picture as an image, uint8 (784,)."""
    with path.open("rb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about odd metadata
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            picture: Image.Image = Image.open(file, formats=sorted(set(FORMATS.values())))
            has_16_bits = _has_16_bits(picture)
            picture.load()
            picture = ImageOps.exif_transpose(picture)
            picture = _scale_16_bits(picture) if has_16_bits else _flatten_alpha(picture)
            return np.asarray(transform(picture)).reshape(table.PIXELS)
        except UnidentifiedImageError as error:
            expected = ", ".join(sorted(set(FORMATS.values())))
            raise UserError(
                f"{path}: cannot be read as a picture (none of {expected}, or damaged); fix or "
                "remove it"
            ) from error
        except Exception as error:  # damaged files make Pillow raise almost anything
            reason = " ".join(str(error).split()) or type(error).__name__
            raise UserError(
                f"{path}: cannot be read as a picture ({reason:.200}); fix or remove it"
            ) from error


def _has_16_bits(picture: Image.Image) -> bool:
    """Tell whether grey values are 0..65535; other ranges than 0..255 have no defined white."""
    if picture.mode.startswith("I;16"):
        if isinstance(picture, TiffImageFile):
            kind = [picture.tag_v2.get(tag) for tag in (BITSPERSAMPLE, PHOTOMETRIC_INTERPRETATION)]
            if kind != [(16,), 1]:
                raise ValueError("a TIFF of 12 bits, or one whose 0 is white")
        return True
    if picture.mode == "I" and picture.format == "PPM":
        return True
    if picture.mode in ("I", "F"):
        raise ValueError("its grey values are not of 8 or 16 bits, so that white is not defined")
    return False


def _scale_16_bits(picture: Image.Image) -> Image.Image:
    """Scale grey values 0..65535 to 0..255; transparent pixels become black."""
    values = np.asarray(picture)
    opaque = values != picture.info.get("transparency", -1)
    return Image.fromarray((opaque * np.round(values / 257)).astype(np.uint8))


def _flatten_alpha(picture: Image.Image) -> Image.Image:
    """Composite a picture that may be transparent on black."""
    if not picture.has_transparency_data:
        return picture
    black = Image.new("RGBA", picture.size, "black")
    return Image.alpha_composite(black, picture.convert("RGBA"))
