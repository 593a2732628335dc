"""Pictures as images: of any size and colour, in directories; what is none is named."""

import itertools
import logging
import os
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers.digits import Digits, concatenate
from helpers.errors import refusal
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageCms

from autoencoder.data import table
from autoencoder.data.user.formats import PICTURES
from autoencoder.data.user.images import iter_images, read_user_data

Pixels = NDArray[np.uint8]


@pytest.fixture
def digit(test_digits: Digits) -> Pixels:
    """An image (28, 28) of a three."""
    three: Pixels = test_digits[1][3]
    return three


def read(path: Path) -> table.Chunk:
    return concatenate(iter_images(path))


def image(path: Path) -> Pixels:
    """The one picture of a path, (28, 28)."""
    labels, images = read(path)
    assert list(labels) == [path.name]
    assert images.dtype == np.uint8
    assert images.shape == (1, 784)
    return images.reshape(28, 28)


@pytest.mark.parametrize("name", ["{:03}.png", "{:03}"])
def test_pictures_are_known_by_their_first_bytes(
    tmp_path: Path, test_digits: Digits, name: str
) -> None:
    for row, pixels in enumerate(test_digits[1]):
        Image.fromarray(pixels).save(tmp_path / name.format(row), "PNG")
    labels, images = read(tmp_path)
    assert list(labels) == [name.format(row) for row in range(100)]
    assert (images == test_digits[1].reshape(-1, 784)).all()


@pytest.mark.parametrize("suffix", ["bmp", "pgm", "png", "ppm", "tif", "tiff", "webp"])
def test_every_lossless_format_keeps_the_pixels(tmp_path: Path, digit: Pixels, suffix: str) -> None:
    Image.fromarray(digit).save(tmp_path / f"3.{suffix}", lossless=True)
    assert (image(tmp_path / f"3.{suffix}") == digit).all()


@pytest.mark.parametrize("suffix", ["jpg", "JPEG"])
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_jpeg_loses_little(tmp_path: Path, digit: Pixels, suffix: str, mode: str) -> None:
    Image.fromarray(digit).convert(mode).save(tmp_path / f"3.{suffix}", quality=100)
    difference = image(tmp_path / f"3.{suffix}").astype(int) - digit
    assert abs(difference).max() <= 3


MODES = ["1", "P", "LA", "RGB", "RGBA", "I;16"]


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [("CMYK", "tiff"), *itertools.product(MODES, ["png", "tiff"])],
)
def test_a_colour_mode_keeps_what_is_grey(
    tmp_path: Path, digit: Pixels, mode: str, suffix: str
) -> None:
    if mode == "1":
        digit = np.where(digit > 127, 255, 0).astype(np.uint8)
    if mode == "I;16":
        picture = Image.fromarray(digit.astype(np.uint16) * 257)
    else:
        picture = Image.fromarray(digit).convert(mode)
    assert picture.mode == mode
    picture.save(tmp_path / f"3.{suffix}")
    assert (image(tmp_path / f"3.{suffix}") == digit).all()


def test_colours_become_their_luma(tmp_path: Path) -> None:
    for colour, luma in (("red", 76), ("lime", 150), ("blue", 29)):
        Image.new("RGB", (28, 28), colour).save(tmp_path / "a.png")
        assert (image(tmp_path / "a.png") == luma).all()
        Image.new("RGB", (28, 28), colour).quantize(2).save(tmp_path / "p.png")
        assert (image(tmp_path / "p.png") == luma).all()


def test_16_bits_are_scaled_not_clipped(tmp_path: Path) -> None:
    values = np.linspace(0, 65535, 784).astype(np.uint16).reshape(28, 28)
    expected = np.round(values / 257)
    for name in ("w.png", "w.tif", "w.pgm"):
        Image.fromarray(values).save(tmp_path / name)
        assert (image(tmp_path / name) == expected).all(), name
    Image.frombytes("I;16B", (28, 28), values.astype(">u2").tobytes()).save(tmp_path / "b.tif")
    assert (image(tmp_path / "b.tif") == expected).all()
    for maximum, found in ((255, 1), (4095, 16)):  # of 8 and 12 bits: a range without white
        Image.fromarray(values // (65535 // maximum)).save(tmp_path / "narrow.png")
        message = refusal(lambda: image(tmp_path / "narrow.png"))
        assert f"is {found}, expected 255 (white); brighten the pictures" in message
    (tmp_path / "odd.pgm").write_bytes(b"P5 28 28 1000\n" + bytes([1, 244]) * 784)
    assert (image(tmp_path / "odd.pgm") == 128).all()  # 500 of 1000


def test_what_is_transparent_shows_black(tmp_path: Path, digit: Pixels) -> None:
    white = np.full_like(digit, 255)
    for name in ("a.png", "a.webp"):
        Image.fromarray(np.dstack([white, white, white, digit])).save(
            tmp_path / name, lossless=True, exact=True
        )
        assert (image(tmp_path / name) == digit).all()
    Image.fromarray(np.dstack([white, digit])).save(tmp_path / "la.png")
    assert (image(tmp_path / "la.png") == digit).all()

    half = np.where(np.arange(28) < 14, 200, 100).astype(np.uint8) * np.ones((28, 1), np.uint8)
    expected = np.where(half == 200, 0, 100)
    half[0, 20] = 102  # of one colour, the visible part would be a mask
    expected[0, 20] = 102
    Image.fromarray(half).save(tmp_path / "key.png", transparency=200)
    assert (image(tmp_path / "key.png") == expected).all()
    Image.fromarray(half).convert("P").save(tmp_path / "palette.png", transparency=200)
    assert (image(tmp_path / "palette.png") == expected).all()
    Image.fromarray(half.astype(np.uint16) * 257).save(
        tmp_path / "wide.png", transparency=200 * 257
    )
    assert (image(tmp_path / "wide.png") == expected).all()


@pytest.mark.parametrize(
    ("name", "mode"),
    [("e.png", "L"), ("e.png", "I;16"), ("e.tif", "L"), ("e.tif", "I;16"), ("e.webp", "L")],
)
def test_exif_orientation_is_applied(tmp_path: Path, digit: Pixels, name: str, mode: str) -> None:
    values = digit.astype(np.uint16) * 257 if mode == "I;16" else digit
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees, clockwise
    Image.fromarray(values).save(tmp_path / name, exif=exif, lossless=True)
    assert (image(tmp_path / name) == np.rot90(digit, -1)).all()


def test_any_size_becomes_28_by_28(tmp_path: Path, digit: Pixels) -> None:
    Image.fromarray(digit.repeat(4, 0).repeat(6, 1)).save(tmp_path / "big.png")
    difference = image(tmp_path / "big.png").astype(int) - digit
    assert abs(difference).mean() < 10
    Image.new("L", (1, 300), 77).save(tmp_path / "thin.png")
    assert (image(tmp_path / "thin.png") == 77).all()


def test_a_file_of_several_pictures_is_refused(tmp_path: Path, digit: Pixels) -> None:
    first, second = Image.fromarray(digit), Image.fromarray(255 - digit)
    first.save(tmp_path / "pages.tif", save_all=True, append_images=[second])
    first.save(tmp_path / "moving.png", save_all=True, append_images=[second])
    first.save(tmp_path / "moving.webp", save_all=True, append_images=[second], lossless=True)
    for name in ("pages.tif", "moving.png", "moving.webp"):
        assert "it contains 2 pictures" in refusal(lambda name=name: read(tmp_path / name))  # type: ignore[misc]


def truncate(path: Path) -> None:
    Image.effect_noise((99, 99), 50).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def bomb(path: Path) -> None:
    """10,000 x 10,000 black pixels in a PNG of a few hundred bytes, its data left out."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = zlib.crc32(kind + data).to_bytes(4, "big")
        return len(data).to_bytes(4, "big") + kind + data + check

    size = (10_000).to_bytes(4, "big")
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", size + size + bytes([8, 0, 0, 0, 0]))
        + chunk(b"IDAT", zlib.compress(bytes(100)))
        + chunk(b"IEND", b"")
    )


def test_lab_colours_are_read(tmp_path: Path) -> None:
    to_lab = ImageCms.buildTransform(
        ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB"
    )
    converted = ImageCms.applyTransform(Image.new("RGB", (9, 9), "red"), to_lab)
    assert converted is not None
    converted.save(tmp_path / "x.tif")
    assert abs(image(tmp_path / "x.tif").astype(int) - 76).max() <= 2


DAMAGES: list[tuple[str, Callable[[Path], object], str]] = [
    ("x.png", truncate, "truncated"),
    ("x.jpg", truncate, "truncated"),
    ("x.bmp", truncate, "truncated"),
    ("x.tif", truncate, "cannot be read as a picture ("),
    ("x.webp", truncate, "cannot be read as a picture ("),
    ("x.pgm", truncate, "cannot be read as a picture ("),
    (
        "x.png",
        lambda path: path.write_text("hello"),
        "none of BMP, JPEG, JPEG2000, PNG, PPM, TIFF, WEBP",
    ),
    (
        "x.png",
        lambda path: path.write_bytes(b""),
        "none of BMP, JPEG, JPEG2000, PNG, PPM, TIFF, WEBP",
    ),
    # A format that starts Ghostscript is not even tried.
    ("x.png", lambda path: Image.new("L", (9, 9)).save(path, "EPS"), "none of BMP, JPEG"),
    ("x.png", bomb, "100000000 pixels"),
    (
        "x.tif",
        lambda path: Image.fromarray(np.ones((9, 9), np.float32)).save(path),
        "not of 8 or 16 bits",
    ),
    (
        "x.tif",
        lambda path: Image.fromarray(np.ones((9, 9), np.int32)).save(path),
        "not of 8 or 16 bits",
    ),
    (
        "x.tif",
        lambda path: Image.fromarray(np.ones((9, 9), np.uint16)).save(path, tiffinfo={262: 0}),
        "whose 0 is white",
    ),
]


@pytest.mark.parametrize(("name", "damage", "message"), DAMAGES)
def test_what_cannot_be_read_is_named(
    classes: Path, name: str, damage: Callable[[Path], object], message: str
) -> None:
    path = classes / "2" / name
    damage(path)
    assert message in refusal(lambda: read(path))
    for directory in (classes, classes / "2"):
        found = refusal(lambda directory=directory: read(directory))  # type: ignore[misc]
        assert found.startswith(f"{path}: cannot be read as a picture (")
        assert found.isprintable()


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("1/more/3.gif", "a picture in a format that is not read, such as GIF"),
        ("1/photo", "a picture without its suffix, one of .bmp"),
        ("x.npy", "a table of images, or an array, next to pictures"),
    ],
)
def test_what_may_be_data_next_to_pictures_is_refused(classes: Path, name: str, fault: str) -> None:
    content = {"x.npy": b"\x93NUMPY", "1/photo": (classes / "T-shirt/21.png").read_bytes()}
    (classes / name).write_bytes(content.get(name, b"hello"))
    assert refusal(lambda: read(classes)).startswith(f"{classes / name}: {fault}")
    (classes / name).unlink()
    assert len(read(classes)[0]) == 30


@pytest.mark.parametrize("name", ["classes.txt", "1/notes.txt", "run.cache", "label_map.pbtxt"])
def test_what_is_no_data_next_to_pictures_is_skipped_and_reported(
    classes: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    (classes / name).write_bytes(b"\n\0" if name.endswith("cache") else b"hello\n\nworld\n")
    caplog.set_level(logging.INFO)
    read_user_data(classes, 0.2)
    assert f"skipped: {Path(name).name}: neither a picture nor labels" in caplog.text


def test_ink_whose_colour_a_browser_rounded_is_its_alpha(tmp_path: Path, digit: Pixels) -> None:
    ink = np.array([128, 40, 200])
    stored = np.round(ink * digit[..., None] / 255)
    colours = np.round(stored * 255 / np.maximum(digit, 1)[..., None]).clip(0, 255)
    Image.fromarray(np.dstack([colours, digit]).astype(np.uint8)).save(tmp_path / "a.png")
    assert (image(tmp_path / "a.png") == digit).all()


@pytest.mark.parametrize("colour", [0, 200])
def test_ink_of_one_colour_on_a_transparent_canvas_is_its_alpha(
    tmp_path: Path, digit: Pixels, colour: int
) -> None:
    ink = np.full_like(digit, colour)
    Image.fromarray(np.dstack([ink, ink, ink, digit])).save(tmp_path / "canvas.png")
    assert (image(tmp_path / "canvas.png") == digit).all()


def test_ink_on_transparent_paper_is_decided_once_for_all(
    tmp_path: Path, test_digits: Digits
) -> None:
    for row, (label, pixels) in enumerate(zip(*test_digits, strict=True)):
        if row < 40:
            path = tmp_path / f"{label}/{row:02}.png"
            path.parent.mkdir(exist_ok=True)
            paper = Image.fromarray(255 - pixels).convert("RGB")
            paper.save(path, transparency=(255, 255, 255))
    labels, images = read(tmp_path)
    order = np.argsort(test_digits[0][:40], kind="stable")
    assert (images == test_digits[1][:40][order].reshape(-1, 784)).all()
    assert (labels == test_digits[0][order].astype(str)).all()


def test_a_class_without_files_is_skipped(classes: Path) -> None:
    before = read(classes)
    (classes / "empty").mkdir()
    (classes / "empty/.DS_Store").write_text("hello")
    assert (read(classes)[0] == before[0]).all()


def test_a_file_next_to_the_classes_is_reported(classes: Path, digit: Pixels) -> None:
    Image.fromarray(digit).save(classes / "3.png")
    assert refusal(lambda: read(classes)) == (
        f"{classes}/3.png: next to the class directories; remove or move it"
    )


def test_all_unreadable_files_are_listed_at_once(classes: Path) -> None:
    for number in range(22):
        (classes / f"2/bad{number:02}.png").write_text("hello")
    message = refusal(lambda: read(classes))
    listed = [f"{classes}/2/bad{number:02}.png" for number in range(20)]
    assert message.startswith(", ".join(listed) + " and 2 more: cannot be read as a picture (")
    assert message.isprintable()
    os.mkfifo(classes / "T-shirt/pipe.png")
    for path in classes.glob("2/bad*"):
        path.unlink()
    (classes / "1/bad.png").write_text("hello")
    message = refusal(lambda: read(classes))
    assert message.startswith(f"{classes}/1/bad.png: cannot be read as a picture (")
    assert message.endswith(f"; {classes}/T-shirt/pipe.png: a pipe, expected a picture; remove it")


def test_what_is_not_there_or_may_not_be_read_is_named(tmp_path: Path, digit: Pixels) -> None:
    with pytest.raises(FileNotFoundError, match=r"No such file or directory: '.*nowhere.png'"):
        read(tmp_path / "nowhere.png")
    (tmp_path / "gone.png").symlink_to("nowhere.png")
    with pytest.raises(FileNotFoundError, match=r"No such file or directory: '.*gone.png'"):
        read(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"No such file or directory: '.*nowhere'"):
        read(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["a,b", 'say "a"', "a\nb", " a", "=1+1", os.fsdecode(b"\xff")])
def test_a_name_that_cannot_be_a_label_is_named(classes: Path, digit: Pixels, name: str) -> None:
    (classes / name).mkdir()
    (classes / name / "x.png").write_text("not read: names are checked first")
    assert refusal(lambda: read(classes)).startswith(f"{classes}: {name!r:.80} cannot be a label: ")
    Image.fromarray(digit).save(classes / "1" / f"{name}.png")
    assert f"/1: {name + '.png'!r:.80} cannot" in refusal(
        lambda: read(classes / "1" / f"{name}.png")
    )


@given(
    suffix=st.sampled_from(sorted(PICTURES)),
    edits=st.lists(
        st.tuples(st.integers(0, 400), st.integers(0, 3) | st.integers(0, 4000), st.binary()),
        min_size=1,
        max_size=3,
    ),
)
def test_any_bytes_are_read_or_refused_in_one_line(
    tmp_path_factory: pytest.TempPathFactory,
    capfd: pytest.CaptureFixture[str],
    suffix: str,
    edits: list[tuple[int, int, bytes]],
) -> None:
    path = tmp_path_factory.mktemp("damaged") / f"x{suffix}"
    Image.radial_gradient("L").resize((40, 40)).save(path)
    content = path.read_bytes()
    for start, length, new in edits:
        content = content[:start] + new + content[start + length :]
    path.write_bytes(content)
    message = refusal(lambda: image(path))
    assert not message or message.startswith(f"{path}: cannot be read as a picture (")
    assert message.isprintable()
    assert capfd.readouterr() == ("", "")
