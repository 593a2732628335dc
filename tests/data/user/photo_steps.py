"""Draw docs/fit-mnist.png, the steps of `fit: mnist`: `python tests/data/user/photo_steps.py`."""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[3]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(Path(__file__).parent)]

SIDE, GAP = 140, 6


def main() -> None:
    """Draw photos, what `stretch` makes of them, their ink, and the images as in MNIST."""
    from test_fit import DIGITS, photo

    from autoencoder.data.user.fit import as_mnist_steps, fit_images, to_grey

    rows = []
    for number, shadow in ((3, "edge"), (5, "corner"), (8, "vignette")):
        picture = photo(DIGITS[1][number], number, shadow)
        grey = to_grey(picture[None])
        stretched = fit_images(grey, "stretch", dark_ink=True).reshape(28, 28)
        ink, result = as_mnist_steps(grey[0], dark_ink=True)
        cells = [picture, 255 - stretched, ink, result]
        row = [
            np.asarray(Image.fromarray(cell).convert("RGB").resize((SIDE, SIDE), order))
            for cell, order in zip(cells, (1, 0, 1, 0), strict=True)
        ]
        rows.append(np.hstack([np.pad(cell, ((GAP, GAP), (GAP, GAP), (0, 0))) for cell in row]))
    Image.fromarray(np.vstack(rows)).save(ROOT / "docs/fit-mnist.png", optimize=True)


if __name__ == "__main__":
    main()
