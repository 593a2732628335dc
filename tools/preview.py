"""Show how a user's data would be read, without running a stage.

Prints the account that convert logs, and writes a picture of up to ten images of each class and
split, as the network would see them.
"""

import logging
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from autoencoder.base.cli import make_parser, refuse_overwriting, run
from autoencoder.base.files import atomic_write
from autoencoder.base.params import FILE, read_params
from autoencoder.data import table
from autoencoder.data.user.images import READ_OPTIONS, read_user_data

log = logging.getLogger(__name__)

IMAGES_PER_CLASS = 10  # of each split
MAX_CLASSES = 50
LABEL_WIDTH, SCALE, GAP = 160, 2, 2


Rows = dict[str, tuple[list[NDArray[np.uint8]], ...]]  # some images of each class, by split


def draw(rows: Rows) -> Image.Image:
    """Draw the images of each class in a row, those of training left of those of testing."""
    names = table.in_order(rows)[:MAX_CLASSES]
    cell = table.SIDE * SCALE + GAP
    width = cell * IMAGES_PER_CLASS + 4 * GAP
    picture = Image.new("L", (LABEL_WIDTH + 2 * width, (len(names) + 1) * cell), 96)
    text = ImageDraw.Draw(picture)
    for number, name in enumerate(("training", "test")):
        text.text((LABEL_WIDTH + number * width, cell // 3), name, fill=255)
    for row, name in enumerate(names, start=1):
        text.text((GAP, row * cell + cell // 3), name[:24], fill=255)
        for number, some in enumerate(rows[name]):
            for column, image in enumerate(some):
                square = Image.fromarray(image.reshape(table.SIDE, table.SIDE))
                square = square.resize((table.SIDE * SCALE,) * 2, Image.Resampling.NEAREST)
                picture.paste(square, (LABEL_WIDTH + number * width + column * cell, row * cell))
    return picture


def first_of_each_class(splits: Iterable[Iterable[table.Chunk]]) -> Rows:
    """Collect the first images of each class of each split."""
    rows: Rows = {}
    for number, chunks in enumerate(splits):
        for labels, images in chunks:
            for label, image in zip(labels.tolist(), images, strict=True):
                some = rows.setdefault(label, ([], []))[number]
                if len(some) < IMAGES_PER_CLASS:
                    some.append(image.copy())
    return rows


def main() -> None:
    """Read the images; print the account and write the picture."""
    params = read_params(["test_fraction", "invert", "fit"])
    parser = make_parser(__doc__)
    parser.add_argument("images", type=Path, help="what `dataset:` takes, such as data/incoming/x")
    parser.add_argument("--out", type=Path, default="preview.png", help="picture, PNG")
    for name, option in READ_OPTIONS.items():
        settings = {**option.settings, "default": getattr(params, name)}
        parser.add_argument(f"--{name}", help=f"{option.help}; by default as in {FILE}", **settings)
    arguments = parser.parse_args()
    refuse_overwriting({"images": arguments.images}, {"out": arguments.out})
    rows = first_of_each_class(
        read_user_data(arguments.images, params.test_fraction, arguments.invert, arguments.fit)
    )
    with atomic_write(arguments.out) as partial:
        draw(rows).save(partial, "PNG")
    log.info(
        "%s: up to ten images of each class and split, as the network would see them", arguments.out
    )


if __name__ == "__main__":
    run(main)
