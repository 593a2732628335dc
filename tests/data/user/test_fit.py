"""Three ways to 28x28, and ink on paper in any light."""

from pathlib import Path

import numpy as np
import pytest
from helpers.digits import concatenate, draw_digits, named, write_pictures
from numpy.typing import NDArray
from PIL import Image

from autoencoder.data.user.fit import fit_images
from autoencoder.data.user.images import iter_images, read_user_data

DIGITS = draw_digits(60, seed=3)


@pytest.fixture(scope="module")
def fitted() -> NDArray[np.uint8]:
    """The digits as in MNIST, (60, 784)."""
    return fit_images(DIGITS[1], "mnist", dark_ink=False)


def photo(digit: NDArray[np.uint8], seed: int, shadow: str) -> NDArray[np.uint8]:
    """A photo (900, 700, 3) of a digit in black ink, somewhere on paper."""
    rng = np.random.default_rng(seed)
    ink = np.zeros((900, 700))
    size = int(rng.integers(250, 600))
    top, left = (int(rng.integers(20, side - size - 20)) for side in ink.shape)
    drawn = Image.fromarray(digit).resize((size, size), Image.Resampling.BICUBIC)
    ink[top : top + size, left : left + size] = np.asarray(drawn) / 255
    y, x = np.mgrid[:900, :700]
    paper = 230 - 60 * x / 700
    if shadow == "edge":
        paper *= 1 - 0.4 / (1 + np.exp(-(x + y - rng.uniform(300, 1200)) / 20))
    elif shadow == "corner":
        paper *= 1 - 0.5 * (x + 2 * y < 500)
    elif shadow == "vignette":
        paper *= 1 - 0.5 * ((x / 350 - 1) ** 2 + (y / 450 - 1) ** 2) / 2
    grey = paper * (1 - 0.75 * ink) + rng.normal(0, 4, ink.shape)
    colours: NDArray[np.uint8] = (grey[..., None] * [1, 0.98, 0.9]).clip(0, 255).astype(np.uint8)
    return colours


def similarity(image: NDArray[np.uint8], expected: NDArray[np.uint8]) -> float:
    """The correlation of two images, of which one may be moved by a pixel."""
    shifts = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1)]
    moved = [np.roll(image.reshape(28, 28), shift, (0, 1)).reshape(-1) for shift in shifts]
    return max(float(np.corrcoef(each, expected)[0, 1]) for each in moved)


@pytest.mark.parametrize("shadow", ["none", "edge", "corner", "vignette"])
def test_photos_of_digits_become_images_as_in_mnist(
    tmp_path: Path, shadow: str, fitted: NDArray[np.uint8]
) -> None:
    for row, digit in enumerate(DIGITS[1][:10]):
        Image.fromarray(photo(digit, row, shadow)).save(tmp_path / f"{row:02}.jpg", quality=85)
    _, images = concatenate(iter_images(tmp_path, "auto", "mnist"))
    for image, expected in zip(images, fitted[:10], strict=True):
        assert similarity(image, expected) > 0.8


def test_an_image_of_mnist_stays_as_it_is_but_for_pixels(fitted: NDArray[np.uint8]) -> None:
    again = fit_images(fitted.reshape(-1, 28, 28), "mnist", dark_ink=False)
    for image, expected in zip(again, fitted, strict=True):
        assert similarity(image, expected) > 0.9


def test_the_ink_fits_a_box_of_20_around_its_centre_of_mass(fitted: NDArray[np.uint8]) -> None:
    squares = fitted.reshape(-1, 28, 28).astype(float)
    for square in squares:
        rows, columns = (np.flatnonzero(square.any(axis)) for axis in (1, 0))
        assert max(np.ptp(rows), np.ptp(columns)) + 1 == 20
        for axis in (0, 1):
            position = (square.sum(1 - axis) * (np.arange(28) + 0.5)).sum() / square.sum()
            assert abs(position - 14) <= 0.5


@pytest.mark.parametrize("scale", [1, 1 / 255, 0.1])
@pytest.mark.parametrize("dark_ink", [True, False])
def test_range_and_ink_do_not_matter(
    scale: float, dark_ink: bool, fitted: NDArray[np.uint8]
) -> None:
    images = DIGITS[1].astype(float)
    images = (255 - images if dark_ink else images) * scale
    difference = abs(fit_images(images, "mnist", dark_ink).astype(int) - fitted)
    assert (difference > 1).mean() < 0.001  # where rounding passes the threshold of ink


@pytest.mark.parametrize("level", [0, 120, 255])
def test_blank_paper_has_no_ink(level: int) -> None:
    noise = np.random.default_rng(0).normal(level, 3, (3, 200, 150)).clip(0, 255).astype(np.uint8)
    for dark_ink in (True, False) if level else (True,):
        assert fit_images(noise, "mnist", dark_ink).max() == 0


@pytest.mark.parametrize("shape", [(56, 28), (28, 84), (300, 100), (1, 1), (150, 400)])
def test_pad_keeps_the_aspect_and_the_colour_of_the_border(shape: tuple[int, int]) -> None:
    images = np.full((2, *shape), 200, np.uint8)
    inner = (slice(None), *(slice(size // 4, -(size // 4) or None) for size in shape))
    images[inner] = 30 if min(shape) > 3 else 200
    padded = fit_images(images, "pad", False).reshape(-1, 28, 28)
    assert (padded[:, 0] == 200).all()
    assert (padded[:, :, 0] == 200).all()
    if min(shape) > 3:
        dark = padded[0] < 115
        found = np.ptp(np.flatnonzero(dark.any(1))) + 1, np.ptp(np.flatnonzero(dark.any(0))) + 1
        side = max(shape)
        for size, expected in zip(found, shape, strict=True):
            assert abs(size - expected / 2 * 28 / side) <= 1.5


def test_stretch_is_a_plain_resize() -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 40, 90), dtype=np.uint8)
    for image, found in zip(images, fit_images(images, "stretch", False), strict=True):
        expected = Image.fromarray(image).resize((28, 28), Image.Resampling.BILINEAR)
        assert (found.reshape(28, 28) == np.asarray(expected)).all()


@pytest.mark.parametrize("fit", ["stretch", "pad", "mnist"])
@pytest.mark.parametrize("invert", [True, "auto"])
def test_black_on_white_becomes_white_on_black(tmp_path: Path, fit: str, invert: object) -> None:
    labels, images = DIGITS[0][:20], DIGITS[1][:20]
    write_pictures(tmp_path / "a", (labels, images))
    write_pictures(tmp_path / "b", (labels, 255 - images))
    expected, found = (
        concatenate(read_user_data(tmp_path / name, 0.5, ink, fit)[0])[1]  # type: ignore[arg-type]
        for name, ink in (("a", False), ("b", invert))
    )
    assert abs(found.astype(int) - expected).max() <= 1


def test_auto_decides_by_class_and_file(tmp_path: Path) -> None:
    inverted = np.where((DIGITS[0] % 2 == 1)[:, None, None], 255 - DIGITS[1], DIGITS[1])
    write_pictures(tmp_path / "a", (DIGITS[0], inverted))
    write_pictures(tmp_path / "b", DIGITS)
    for found, expected in zip(
        read_user_data(tmp_path / "a", 0.5, "auto"),
        read_user_data(tmp_path / "b", 0.5),
        strict=True,
    ):
        assert (concatenate(found)[1] == concatenate(expected)[1]).all()
    for row, image in enumerate(inverted):
        (tmp_path / "flat").mkdir(exist_ok=True)
        Image.fromarray(image).save(tmp_path / f"flat/{row:03}.png")
    assert (concatenate(iter_images(tmp_path / "flat", "auto"))[1] == named(DIGITS)[1]).all()
