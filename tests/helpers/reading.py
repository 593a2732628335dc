"""What is read from a user's data, compared with the digits that were written."""

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from autoencoder.data import table
from autoencoder.data.user.images import iter_images, read_user_data
from helpers.digits import as_read, concatenate
from helpers.errors import refusal

# Labels (n,) and images (n, height, width), such as Digits; labels may be text.
Written = tuple[np.ndarray, np.ndarray]


def refused(path: Path, test_fraction: float = 0.2) -> str:
    """The message with which a path is refused as user data; an empty string if it is read."""
    return refusal(lambda: read_user_data(path, test_fraction))


def read_split(path: Path, test_fraction: float = 0.2) -> tuple[table.Chunk, table.Chunk]:
    """The training and the test images of a path."""
    train, test = map(concatenate, read_user_data(path, test_fraction))
    return train, test


def check(path: Path, digits: Written) -> None:
    """Check that a path contains these digits, in their order."""
    labels, images = concatenate(iter_images(path))
    assert labels.tolist() == digits[0].astype(str).tolist()
    assert (images == as_read(digits[1])).all()


def check_split(path: Path, train: Written, test: Written) -> None:
    """Check that these digits are the training and the test images of a path, in their order."""
    for found, digits in zip(read_split(path), (train, test), strict=True):
        assert found[0].tolist() == digits[0].astype(str).tolist()
        assert (found[1] == as_read(digits[1])).all()


def write_table(path: Path, digits: Written) -> None:
    """Write labels and images as a table, with a header."""
    labels, images = digits
    pixels = pd.DataFrame(images.reshape(len(images), -1)).add_prefix("p")
    pixels.assign(label=labels).to_csv(path, index=False)


def write_images(directory: Path, images: np.ndarray, names: str = "{}.png") -> None:
    """Write pictures whose names contain the number of the image."""
    directory.mkdir(parents=True, exist_ok=True)
    for row, image in enumerate(images):
        Image.fromarray(image).save(directory / names.format(row))
