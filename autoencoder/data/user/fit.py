"""Images of any size as 28x28: colours to grey, and the three ways to fit."""

import itertools
from collections.abc import Iterable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from autoencoder.data import table

Fit = Literal["stretch", "pad", "mnist"]
Values = NDArray[Any]

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow and torchvision
_DARK = 96  # mean luma of ink on a transparent canvas that would vanish on black
_BOX = 20  # of the ink of an MNIST image
_LEAST_CONTRAST = 0.1  # of ink, as a share of the brightest value
_WORK = 112  # pixels of the longer side in which ink is looked for


def to_grey(values: Values, dark_ink: bool = False) -> Values:
    """Convert images (n, height, width, channels) of 1 to 4 channels to grey (n, height, width).

    With `dark_ink`, what is opaque on a transparent canvas is dark.
    """
    if values.shape[3] == 1:
        return values[..., 0]
    if has_alpha(values):
        return np.stack([_flatten_alpha(image, dark_ink) for image in values])
    if values.dtype == np.uint8:
        return np.stack([np.asarray(Image.fromarray(image).convert("L")) for image in values])
    return np.asarray(values[..., :3] @ np.array(_LUMA))


def has_alpha(values: Values) -> bool:
    """Tell whether the last of the channels of images is alpha."""
    return values.ndim == 4 and values.shape[3] in (2, 4)


def is_ink_dark(batches: Iterable[Values]) -> bool:
    """Tell of images with alpha whether what is opaque on transparent canvases is dark ink."""
    ink = weights = 0.0
    for image in itertools.chain.from_iterable(x for x in batches if has_alpha(x)):
        grey, weight, white = _layers(image)
        if weight.min() == 0:
            ink += float((grey / white * weight).sum())
            weights += float(weight.sum())
    return ink < _DARK / 255 * weights


def _layers(image: Values) -> tuple[Values, Values, float]:
    """Return grey values, how opaque they are, 0..1, and what white is."""
    white = 255 if image.dtype == np.uint8 else max(1, float(image[..., -1].max()))
    weight = image[..., -1].astype(np.float64) / white
    return to_grey(image[None, ..., :-1])[0], weight, white


def _flatten_alpha(image: Values, dark_ink: bool) -> Values:
    """Composite an image (height, width, 2 or 4) whose last channel is alpha, as grey.

    On a canvas with transparent parts, what is opaque is ink, and becomes white on black: ink of
    one colour is its alpha, dark ink is composited on white and inverted, other ink on black.
    """
    grey, weight, white = _layers(image)
    if not weight.any() or weight.min() == 1:
        return grey
    flat = np.rint(grey * weight) if white == 255 else grey * weight
    if weight.min() == 0:
        # Browsers store colours multiplied by alpha, so those of faint pixels are rounded coarsely.
        colours = image[..., :-1].astype(np.float64)
        ink = colours[np.unravel_index(weight.argmax(), weight.shape)]
        if (np.abs(colours - ink) * weight[..., None]).max() <= white / 128:
            return image[..., -1]
        if dark_ink:
            flat = white * weight - flat
    return flat.astype(image.dtype)


def fit_images(images: Values, how: Fit, dark_ink: bool) -> Values:
    """Fit grey images (n, height, width), uint8 or float of any range, into 28x28: (n, 784).

    "stretch" resizes as torchvision's Resize does; "pad" does it in the middle of a square of the
    border's median. "mnist" works as MNIST was made (LeCun, Cortes and Burges, "The MNIST
    database"): scale the ink into 20x20, its centre of mass in the centre, white on black.
    """
    if how == "mnist":
        fitted = np.stack([as_mnist_steps(image, dark_ink)[-1] for image in images])
    elif images.shape[1:] == (table.SIDE, table.SIDE):
        fitted = images
    else:
        squares = map(_pad, images) if how == "pad" else images
        fitted = np.stack([_resize(image, table.SIDE, table.SIDE) for image in squares])
    return fitted.reshape(len(images), table.PIXELS)


def border(images: Values) -> Values:
    """Return the border pixels of images (n, height, width), of shape (n, pixels)."""
    sides = (images[:, 0], images[:, -1], images[:, 1:-1, 0], images[:, 1:-1, -1])
    return np.concatenate(sides, axis=1)


def _resize(image: Values, height: int, width: int) -> Values:
    """Resize with antialiasing."""
    picture = Image.fromarray(image if image.dtype == np.uint8 else image.astype(np.float32))
    return np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR))


def _pad(image: Values) -> Values:
    """Extend the shorter side by the colour of the border."""
    side = max(image.shape)
    missing = [side - size for size in image.shape]
    widths = [(some // 2, some - some // 2) for some in missing]
    return np.pad(image, widths, constant_values=np.median(border(image[None])).astype(image.dtype))


def as_mnist_steps(image: Values, dark_ink: bool) -> list[NDArray[np.uint8]]:
    """Return the steps from an image to one as in MNIST: its ink, the box of it, the image."""
    scale = min(1, _WORK / max(image.shape))
    small = _resize(
        image.astype(np.float32), *(max(1, round(size * scale)) for size in image.shape)
    )
    strength = _ink(small.astype(np.float64), dark_ink, image.dtype == np.uint8)
    rows, columns = (np.flatnonzero(strength.any(axis)) for axis in (1, 0))
    result = np.zeros((table.SIDE, table.SIDE), np.uint8)
    if not len(rows):
        return [(255 * strength).astype(np.uint8), result]
    box = strength[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = _BOX / max(box.shape)
    box = _resize(box, *(max(1, round(size * scale)) for size in box.shape))
    # Thin strokes fade when they shrink; those of MNIST are white inside.
    box = np.minimum(box / np.percentile(box[box > 0], 80), 1)
    start = []
    for size, axis in zip(box.shape, (1, 0), strict=True):
        centre = float(((np.arange(size) + 0.5) * box.sum(axis)).sum() / box.sum())
        start.append(int(np.clip(round(table.SIDE / 2 - centre), 0, table.SIDE - size)))
    top, left = start
    result[top : top + box.shape[0], left : left + box.shape[1]] = np.rint(255 * box)
    return [np.rint(255 * strength).astype(np.uint8), result]


def _ink(image: Values, dark_ink: bool, is_byte: bool) -> Values:
    """Return how much ink is in each pixel, 0..1, whatever the light and shadows on the paper.

    The paper is the image without what is narrower than a stroke may be: its morphological closing,
    of dark ink, and the ink is the difference (black top-hat; Meyer, "Contrast feature extraction",
    1979).
    """
    bright = image.max() - image if not dark_ink else image - image.min()
    # Here, because most images are fitted without it, and it takes a tenth of a second to import.
    from scipy import ndimage

    size = 2 * max(2, max(image.shape) // 7) + 1
    strength = ndimage.grey_closing(bright, size, mode="nearest") - bright
    least_white = 64 if is_byte else 1e-9
    strength = strength / max(float(np.abs(image).max()), least_white)
    if strength.max() < _LEAST_CONTRAST:
        return np.zeros_like(strength)
    strength = np.minimum(strength / np.percentile(strength[strength > strength.max() / 2], 50), 1)
    strength[strength < 0.3] = 0
    # Without what touches the border, such as ends of shadows, unless that is most of it.
    edge = strength > 0
    edge[1:-1, 1:-1] = False
    inner = strength * ~ndimage.binary_propagation(edge, np.ones((3, 3)), strength > 0)
    strength = inner if inner.sum() > strength.sum() / 20 else strength
    # Without specks, which have few neighbours.
    neighbours = ndimage.convolve((strength > 0).astype(int), np.ones((5, 5), int), mode="constant")
    return np.asarray(strength * (neighbours > 5))
