"""Picture files of any size and colour, as grey images of 28x28."""

import logging
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import BITSPERSAMPLE, PHOTOMETRIC_INTERPRETATION, TiffImageFile

from autoencoder.base.errors import UserError
from autoencoder.data import table
from autoencoder.data.names import is_visible, listed, visible_entries

log = logging.getLogger(__name__)

# The suffixes that torchvision takes for pictures, and Pillow's formats for them. Pillow's other
# formats are never tried: some of them start programs.
FORMATS = {
    **{".bmp": "BMP", ".jpg": "JPEG", ".jpeg": "JPEG", ".pgm": "PPM", ".png": "PNG"},
    **{".ppm": "PPM", ".tif": "TIFF", ".tiff": "TIFF", ".webp": "WEBP"},
}

# Pictures that Pillow does not read, or only with frames that would be lost.
OTHER_FORMATS = {
    ".gif": "GIF; convert it with `magick NAME.gif[0] NAME.png`",
    ".heic": "HEIC; convert it with `magick NAME.heic NAME.png`",
    ".avif": "AVIF; convert it with `magick NAME.avif NAME.png`",
    ".svg": "SVG; convert it with `magick NAME.svg NAME.png`",
    ".jfif": "JPEG; rename it to NAME.jpg",
    ".pdf": "PDF; convert it with `pdftoppm -png NAME.pdf NAME`",
}

_CHUNK = 256  # pictures


def iter_files(paths: list[Path], label: str | None = None) -> Iterator[table.Chunk]:
    """Read picture files, in chunks and bounded memory.

    A picture is converted to grey (luma) and resized to 28x28 as torchvision's Grayscale and Resize
    do. Its EXIF orientation is applied, transparent parts become black, and 16-bit grey values are
    divided by 257. If some pixels are transparent and all others have the same colour, the picture
    is its alpha channel: ink on a transparent canvas. Grey values are kept as they are: a network
    trained on MNIST expects white on black.

    Parameters
    ----------
    paths : list of Path
    label : str, optional
        The label of all of them, by default the name of each file.

    Yields
    ------
    labels : str array of shape (n,)
    images : uint8 array of shape (n, 784)
        Grey values, 0 black to 255 white; n is a few hundred at most.

    Raises
    ------
    UserError
        If a file does not have a picture's suffix or its name cannot be a label, or, after the last
        chunk, if files cannot be read as pictures.
    OSError
        If a file cannot be read.
    """
    _check_suffixes(paths)
    yield from _read([(label or _label(path), path) for path in paths])


def iter_classes(directory: Path) -> Iterator[table.Chunk]:
    """Read a directory with a directory of pictures for each class, as torchvision's ImageFolder.

    Parameters
    ----------
    directory : Path
        The labels are the names of the directories in it. Classes are read in the order of their
        names, and the pictures of each, also those in subdirectories, in the order of theirs. Empty
        class directories are skipped.

    Yields
    ------
    labels, images
        As `iter_files` does.

    Raises
    ------
    UserError
        As `iter_files` does, and if there is no class directory, one contains only directories, or
        there is a file next to them.
    OSError
        If a file or directory cannot be read.
    """
    samples = []
    entries = visible_entries(directory)
    if stray := [entry for entry in entries if not entry.is_dir()]:
        raise UserError(f"{listed(stray)}: next to the class directories; remove or move it")
    if not entries:
        raise UserError(
            f"{directory}: no directory in it, expected a directory of pictures for each class"
        )
    labels = {entry: _label(entry) for entry in entries}
    for entry, label in labels.items():
        inside = visible_entries(entry)
        if inside and all(path.is_dir() for path in inside):
            raise UserError(
                f"{entry}: only directories in it, expected the pictures of a class; move the "
                "class directories up, or name the directory that contains them as data set"
            )
        if not inside:
            log.info("%s: skipped, nothing in it", entry.name)
        for folder, _, names in sorted(os.walk(entry)):
            paths = [Path(folder, name) for name in sorted(names)]
            samples += [(label, path) for path in paths if is_visible(path, directory)]
    _check_suffixes([path for _, path in samples])
    yield from _read(samples)


def _check_suffixes(paths: list[Path]) -> None:
    """Refuse files that are not pictures by their names."""
    if others := [path for path in paths if path.suffix.lower() not in FORMATS]:
        known = [text for path in others if (text := OTHER_FORMATS.get(path.suffix.lower()))]
        reason = known[0] if known else "remove it"
        raise UserError(
            f"{listed(others)}: not a picture by its suffix, expected {' '.join(FORMATS)}; {reason}"
        )


def _label(path: Path) -> str:
    """Return the name of a file or directory as a label."""
    if fault := table.label_fault(path.name):
        raise UserError(
            f"{path.parent}: the name {path.name!r:.80} cannot be a label: {fault}; rename it"
        )
    return path.name


def _read(samples: list[tuple[str, Path]]) -> Iterator[table.Chunk]:
    """Read pictures with their labels."""
    failures: dict[Path, UserError] = {}
    for start in range(0, len(samples), _CHUNK):
        labels, images = [], []
        for label, path in samples[start : start + _CHUNK]:
            try:
                images.append(_read_picture(path))
                labels.append(label)
            except UserError as error:
                failures[path] = error
        if images:
            yield np.array(labels), np.stack(images)
    if len(failures) == 1:
        raise next(iter(failures.values()))
    if failures:
        raise UserError(
            f"{listed(list(failures))}: cannot be read as pictures; fix or remove them; the "
            f"first: {next(iter(failures.values()))}"
        )


def _read_picture(path: Path) -> NDArray[np.uint8]:
    """Read a picture as an image, uint8 (784,)."""
    with path.open("rb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about odd metadata
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            picture: Image.Image = Image.open(file, formats=sorted(set(FORMATS.values())))
            if (count := getattr(picture, "n_frames", 1)) > 1:
                raise ValueError(f"it contains {count} pictures; write each to a file of its own")
            has_16_bits = _has_16_bits(picture)
            picture.load()
            picture = ImageOps.exif_transpose(picture)
            picture = _scale_16_bits(picture) if has_16_bits else flatten_alpha(picture)
            return np.asarray(shrink(picture.convert("L"))).reshape(table.PIXELS)
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


def shrink(picture: Image.Image) -> Image.Image:
    """Resize a grey picture of any size to 28x28, with antialiasing."""
    return picture.resize((table.SIDE, table.SIDE), Image.Resampling.BILINEAR)


def flatten_alpha(picture: Image.Image) -> Image.Image:
    """Composite a picture that may be transparent on black.

    If some pixels are transparent and all others have the same colour, up to rounding, return the
    alpha channel: black ink on a transparent canvas would vanish.
    """
    if not picture.has_transparency_data:
        return picture
    picture = picture.convert("RGBA")
    alpha = picture.getchannel("A")
    opacity = np.asarray(alpha)
    row, column = divmod(int(opacity.argmax()), picture.width)
    ink = Image.new("RGB", picture.size, picture.getpixel((column, row))[:3])  # type: ignore[index]
    ink.putalpha(alpha)
    black = Image.new("RGBA", picture.size, "black")
    flat = Image.alpha_composite(black, picture)
    # Browsers store colours multiplied by alpha, so those of faint pixels are rounded coarsely.
    difference = ImageChops.difference(flat, Image.alpha_composite(black, ink))
    is_one_colour = np.asarray(difference).max() <= 1
    return alpha if is_one_colour and opacity.min() == 0 < opacity.max() else flat
