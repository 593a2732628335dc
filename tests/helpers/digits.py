"""A small data set of drawn digits, as arrays, tables, pictures and published files."""

import dataclasses
import gzip
import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from autoencoder.base.files import file_digest
from autoencoder.data import idx, table
from autoencoder.data.datasets import Dataset

Digits = tuple[NDArray[np.uint8], NDArray[np.uint8]]


def draw_digits(count: int, seed: int) -> Digits:
    """Labels (count,) and images (count, 28, 28) of printed digits, shifted and scaled."""
    rng = np.random.default_rng(seed)
    labels = (np.arange(count) % 10).astype(np.uint8)
    images = np.zeros((count, 28, 28), np.uint8)
    for label, pixels in zip(labels, images, strict=True):
        canvas = Image.new("L", (28, 28))
        font = ImageFont.load_default(size=int(rng.integers(20, 26)))
        position = rng.integers(-2, 3, size=2) + 14
        ImageDraw.Draw(canvas).text(
            (int(position[0]), int(position[1])), str(label), fill=255, font=font, anchor="mm"
        )
        pixels[:] = np.asarray(canvas)
    return labels, images


def draw_small_digits(count: int, seed: int, side: int = 8) -> Digits:
    """Labels (count,) and images (count, side, side) for tables, whose columns take pandas time.

    The side is 8 or 12.
    """
    labels, images = draw_digits(count, seed)
    some = slice(2, 26, 24 // side)
    return labels, images[:, some, some]


def resized(images: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """The images in another size, (n, side, side), as they are resized when they are read."""
    size = (side, side)
    return np.stack(
        [np.asarray(Image.fromarray(x).resize(size, Image.Resampling.BILINEAR)) for x in images]
    )


def as_read(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Images (n, height, width) as they are read, (n, 784)."""
    return resized(images, table.SIDE).reshape(-1, table.PIXELS)


def named(digits: Digits) -> table.Chunk:
    """The digits as in a table: labels are strings, images have 784 pixels."""
    labels, images = digits
    return table.Chunk(labels.astype(str), images.reshape(-1, table.PIXELS))


def write_pictures(directory: Path, digits: Digits) -> None:
    """Write digits as PNG files, into a directory for each class."""
    for number, (label, image) in enumerate(zip(*digits, strict=True)):
        path = directory / f"digit {label}" / f"{number:04}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)


def as_written(digits: Digits) -> table.Chunk:
    """The labels and images of `write_pictures`, in the order of the directories."""
    labels, images = digits
    order = np.argsort(labels, kind="stable")
    return table.Chunk(np.char.add("digit ", labels[order].astype(str)), as_read(images[order]))


def concatenate(chunks: Iterable[table.Chunk]) -> table.Chunk:
    """The labels and images of all chunks."""
    labels, images = zip(*chunks, strict=True)
    return table.Chunk(np.concatenate(labels), np.concatenate(images).reshape(-1, table.PIXELS))


def publish(dataset: Dataset, directory: Path, train: Digits, test: Digits) -> Dataset:
    """Write digits to the files of a published data set; return the data set with their digests."""
    archives: dict[str, zipfile.ZipFile] = {}
    for files, (labels, images) in ((dataset.train, train), (dataset.test, test)):
        wide = np.column_stack([labels, *[labels * 0 + 7] * 7]).astype(">i4")
        for name, array in (
            (files.labels, wide if "idx2" in files.labels else labels),
            (files.images, images.transpose(0, 2, 1) if dataset.transposed else images),
        ):
            content = idx.encode(array)
            if name.endswith(".gz"):
                content = gzip.compress(content, 1, mtime=0)
            file, _, member = name.partition("/")
            if member:
                if file not in archives:
                    archives[file] = zipfile.ZipFile(directory / file, "w")
                archives[file].writestr(member, content)
            else:
                (directory / file).write_bytes(content)
    for archive in archives.values():
        archive.close()
    digests = {
        name: file_digest(directory / name, "md5" if len(published) == 32 else "sha256")
        for name, published in dataset.digests.items()
    }
    return dataclasses.replace(dataset, digests=digests)
