"""Data that could be read wrongly without a word: read as meant, refused or reported."""

import logging
import shutil
import string
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.digits import (
    Digits,
    as_read,
    concatenate,
    draw_digits,
    draw_small_digits,
    named,
    write_pictures,
)
from helpers.reading import check, check_split, read_split, refused, write_images, write_table
from numpy.typing import NDArray
from PIL import Image

from autoencoder.data import idx
from autoencoder.data.user import tables
from autoencoder.data.user.images import iter_images, read_user_data

DIGITS = draw_digits(60, seed=3)
OTHERS = draw_digits(40, seed=11)
LABELS, IMAGES = named(DIGITS)
FEW = DIGITS[0][:20], DIGITS[1][:20]
# Large enough for numbers of rows and columns to differ in their digits.
SIDE = 12
SMALL = draw_small_digits(60, seed=3, side=SIDE)
SMALL_OTHERS = draw_small_digits(40, seed=11, side=SIDE)
GRID = [divmod(number, SIDE) for number in range(SIDE**2)]
NAMES = [f"pixel{number}" for number in range(SIDE**2)]


def frame(names: list[str], digits: Digits = SMALL) -> pd.DataFrame:
    labels, images = digits
    pixels = pd.DataFrame(images.reshape(len(images), -1), columns=names)
    pixels.insert(0, "label", labels)
    return pixels


@pytest.fixture
def warned(caplog: pytest.LogCaptureFixture) -> Callable[[Path], str]:
    """The warnings of reading a path."""

    def read(path: Path) -> str:
        caplog.clear()
        read_user_data(path, 0.2)
        return "\n".join(x.getMessage() for x in caplog.records if x.levelno == logging.WARNING)

    return read


# ---- Names of columns ----


@pytest.mark.parametrize(
    ("name", "order"),
    [
        ("pixel{n}", "sorted"),
        ("pixel{n}", "reversed"),
        ("pixel{n}", "shuffled"),
        ("{n}", "shuffled"),
        ("px_{n:03}", "shuffled"),
        ("V{n}", "sorted"),
        ("attr {n}", "shuffled"),
        ("{r}x{c}", "sorted"),
        ("{r}x{c}", "reversed"),
        ("r{r}c{c}", "shuffled"),
        ("[{r}, {c}]", "shuffled"),
        ("pix.{r}.{c}", "shuffled"),
        ("p_{r}_{c}", "shuffled"),
        ("x{c}y{r}", "sorted"),
        ("x{c}y{r}", "reversed"),
        ("col{c}_row{r}", "shuffled"),
        ("X_{c}_Y_{r}", "shuffled"),
        ("w{c}_h{r}", "shuffled"),
        ("j{c}_i{r}", "shuffled"),
    ],
)
def test_columns_are_ordered_by_their_names(tmp_path: Path, name: str, order: str) -> None:
    names = [name.format(n=n, r=r, c=c) for n, (r, c) in enumerate(GRID)]
    digits = frame(names)
    columns = {
        "sorted": sorted(names),
        "reversed": names[::-1],
        "shuffled": np.random.default_rng(0).permutation(names).tolist(),
    }[order]
    digits[["label", *columns]].to_csv(tmp_path / "t.csv", index=False)
    check(tmp_path / "t.csv", SMALL)


@pytest.mark.parametrize(
    ("place", "name"), [(1, "writer"), (100, "Age (years)"), (145, "source_file")]
)
def test_a_column_that_is_no_pixel_is_named(tmp_path: Path, place: int, name: str) -> None:
    digits = frame(NAMES)
    digits.insert(place, name, "text")
    digits.to_csv(tmp_path / "t.csv", index=False)
    assert f"t.csv: line 1, column {name}: neither the label" in refused(tmp_path / "t.csv")
    digits.drop(columns="label").to_csv(tmp_path / "t.csv", index=False)
    if place == 100:  # else it may be the label
        assert f"t.csv: line 1, column {name}: neither the label" in refused(tmp_path / "t.csv")


@pytest.mark.parametrize("number", [5000, 10**15])  # the latter needs no memory
def test_a_name_that_does_not_count_on_is_refused(tmp_path: Path, number: int) -> None:
    names = NAMES.copy()
    names[100] = f"pixel{number}"
    frame(names).to_csv(tmp_path / "t.csv", index=False)
    assert f"skip 100 but reach {number}" in refused(tmp_path / "t.csv")


@pytest.mark.parametrize("order", ["by row", "by column", "sorted"])
def test_names_of_a_spreadsheet(tmp_path: Path, order: str) -> None:
    letters = [*string.ascii_uppercase, "AA", "AB"]
    names = [f"{letter}{row}" for row in range(1, 29) for letter in letters]
    digits = frame(names, DIGITS)
    columns = {
        "by row": names,
        "by column": np.reshape(names, (28, 28)).T.reshape(-1).tolist(),
        "sorted": sorted(names),
    }[order]
    digits[["label", *columns]].to_csv(tmp_path / "t.csv", index=False)
    assert (concatenate(iter_images(tmp_path / "t.csv"))[1] == IMAGES).all()


def test_names_say_the_height_and_the_width(tmp_path: Path) -> None:
    images = np.arange(10 * 900).reshape(10, 20, 45) % 256
    names = [f"{row}x{column}" for row in range(20) for column in range(45)]
    pd.DataFrame(images.reshape(10, 900), columns=names).to_csv(tmp_path / "t.csv", index=False)
    batch = next(tables.describe(tmp_path / "t.csv")[0].batches())
    assert (batch.values == images).all()


@pytest.mark.parametrize("name", ["p{}", "pixel{}", "pixel_{}", "Pix {}"])
def test_a_pixel_in_place_of_a_label_is_refused(tmp_path: Path, name: str) -> None:
    digits = frame([name.format(n) for n in range(1, 145)])
    digits.rename(columns={"label": name.format(0)}).to_csv(tmp_path / "t.csv", index=False)
    assert "145 names of pixels" in refused(tmp_path / "t.csv")


def test_training_and_test_tables_may_have_other_orders(tmp_path: Path) -> None:
    frame(NAMES).to_csv(tmp_path / "train.csv", index=False)
    others = frame(NAMES, SMALL_OTHERS)
    others[[*sorted(NAMES), "label"]].to_csv(tmp_path / "test.csv", index=False)
    check_split(tmp_path, SMALL, SMALL_OTHERS)


# ---- The same images twice ----


@pytest.mark.parametrize(
    "name",
    [
        "Train (1).csv",
        "train (conflicted copy 2024-01-01).csv",
        "train.csv.1",
        "train.npy",
        "TRAIN.TSV",
    ],
)
def test_a_copy_of_a_table_is_refused(tmp_path: Path, name: str) -> None:
    write_table(tmp_path / "train.csv", SMALL)
    write_table(tmp_path / "test.csv", SMALL_OTHERS)
    shutil.copy(tmp_path / "train.csv", tmp_path / name)
    message = refused(tmp_path)
    assert "probably the same data as" in message
    assert "train.csv" in message
    assert name in message


def test_other_formats_and_parts_of_the_same_data_are_refused(tmp_path: Path) -> None:
    labels, images = SMALL
    write_table(tmp_path / "mine_train.csv", SMALL)
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx.encode(images))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx.encode(labels))
    message = refused(tmp_path)
    assert "probably the same data as" in message
    assert "train-images-idx3-ubyte" in message
    for path in tmp_path.iterdir():
        path.unlink()
    write_table(tmp_path / "part1.csv", SMALL)
    write_table(tmp_path / "part2.csv", (labels[20:50], images[20:50]))
    message = refused(tmp_path)
    assert message.startswith(f"{tmp_path}: {tmp_path}/part2.csv: probably the same data")
    assert "part1.csv" in message


def test_test_images_that_are_training_images_are_refused_or_counted(
    tmp_path: Path, warned: Callable[[Path], str]
) -> None:
    write_pictures(tmp_path / "train", DIGITS)
    write_pictures(tmp_path / "test", (DIGITS[0][20:40], DIGITS[1][20:40]))
    message = refused(tmp_path)
    assert "probably the same data as" in message
    assert f"{tmp_path}/train/digit" in message
    assert f"{tmp_path}/test/digit" in message
    flat = draw_digits(12, seed=5)[1]
    write_images(tmp_path.parent / "flat/train", flat)
    write_images(tmp_path.parent / "flat/test", flat[:2])
    assert "/flat/test: probably the same data" in refused(tmp_path.parent / "flat")
    write_pictures(tmp_path / "test", (OTHERS[0], OTHERS[1]))
    shutil.copy(tmp_path / "train/digit 3/0003.png", tmp_path / "test/digit 3/y.png")
    message = warned(tmp_path)
    assert "test images are among the training images" in message
    assert "the same image as" in message


def test_copies_of_pictures_are_counted_and_named(
    tmp_path: Path, warned: Callable[[Path], str]
) -> None:
    write_images(tmp_path, DIGITS[1][:20], "{:04}.png")
    for name in ("0001 - Copy.png", "0001 (2).png", "z.png"):
        shutil.copy(tmp_path / "0001.png", tmp_path / name)
    message = warned(tmp_path)
    assert "3 images are copies of others" in message
    assert "0001" in message


# ---- Ranges and inks of parts ----


@pytest.mark.parametrize(("maximum", "part"), [(1, "test"), (9, "train"), (16, "test")])
def test_a_table_of_another_range_is_refused(tmp_path: Path, maximum: int, part: str) -> None:
    for name, (labels, images) in (("train", SMALL), ("test", SMALL_OTHERS)):
        scale = maximum if name == part else 255
        write_table(tmp_path / f"{name}.csv", (labels, images.astype(int) * scale // 255))
    message = refused(tmp_path)
    assert message.startswith(f"{tmp_path}/{part}.csv: line 2: ")
    assert f"values up to {maximum}, others up to 255" in message


@pytest.mark.parametrize("kind", ["mask", "palette", "dim"])
def test_a_class_of_masks_is_refused(tmp_path: Path, kind: str) -> None:
    write_pictures(tmp_path / "mine", FEW)
    for path in (tmp_path / "mine/digit 4").iterdir():
        values = np.asarray(Image.open(path)) // {"mask": 255, "palette": 64, "dim": 16}[kind]
        Image.fromarray(values).save(path)
    message = refused(tmp_path / "mine")
    assert "digit 4" in message
    assert "almost black" in message


def test_8_bits_in_16_bit_files_among_others_are_refused(tmp_path: Path) -> None:
    write_pictures(tmp_path / "mine", FEW)
    paths = sorted((tmp_path / "mine/digit 4").iterdir())
    for path in paths[:2]:
        Image.fromarray(np.asarray(Image.open(path)).astype(np.uint16)).save(path)
    message = refused(tmp_path / "mine")
    assert message.startswith(f"{paths[0]}: 2 of 20 images have values up to 1, others up to 255")


def test_opposite_inks_are_reported_with_their_names_and_auto_exchanges_them(
    tmp_path: Path, warned: Callable[[Path], str]
) -> None:
    write_pictures(tmp_path / "a/train", FEW)
    write_pictures(tmp_path / "a/test", (OTHERS[0][:20], 255 - OTHERS[1][:20]))
    assert "/a/test/digit 0 (digit 0)" in warned(tmp_path / "a")
    write_table(tmp_path / "train.csv", (SMALL[0], 255 - SMALL[1]))
    write_table(tmp_path / "test.csv", SMALL_OTHERS)
    shutil.move(tmp_path / "a", tmp_path.parent / "a")
    assert "the opposite of the others" in warned(tmp_path)
    train, test = map(concatenate, read_user_data(tmp_path, 0.2, "auto"))
    assert (train[1] == 255 - as_read(255 - SMALL[1])).all()
    assert (test[1] == as_read(SMALL_OTHERS[1])).all()


@pytest.mark.parametrize(
    ("step", "form"), [(2, "array"), (2, "pictures"), (3, "array"), (6, "pictures")]
)
def test_inks_that_are_mixed_in_classes_are_reported(
    tmp_path: Path, warned: Callable[[Path], str], step: int, form: str
) -> None:
    labels, images = DIGITS[0], DIGITS[1].copy()
    images[np.arange(60) // 10 % step == 0] ^= 255
    path = tmp_path / "a.npz" if form == "array" else tmp_path / "a"
    if form == "array":
        np.savez(path, x=images, y=labels)
    else:
        write_pictures(path, (labels, images))
    message = warned(path)
    assert "some images are black on white, others white on black, in each of these" in message
    if form == "pictures":
        assert all(f"/digit {n} (digit {n})" in message for n in range(10))


@pytest.mark.parametrize(("divisor", "part"), [(3, "test"), (14, "test"), (3, "digit 4")])
def test_darker_parts_are_reported(
    tmp_path: Path, warned: Callable[[Path], str], divisor: int, part: str
) -> None:
    write_pictures(tmp_path / "train", FEW)
    write_pictures(tmp_path / "test", (OTHERS[0][:20], OTHERS[1][:20]))
    assert "so they are dark" not in warned(tmp_path)
    for path in tmp_path.rglob("*.png"):
        if part in path.parts:
            Image.fromarray(np.asarray(Image.open(path)) // divisor).save(path)
    message = warned(tmp_path)
    assert f"up to {255 // divisor}, others up to 255, so they are dark" in message
    assert part in message


# ---- Labels ----


def test_unlabelled_test_images_and_other_classes_are_reported(
    tmp_path: Path, warned: Callable[[Path], str]
) -> None:
    write_table(tmp_path / "train.csv", SMALL)
    frame(NAMES, SMALL_OTHERS)[NAMES].to_csv(tmp_path / "test.csv", index=False)
    (tmp_path / "sample_submission.csv").write_text("ImageId,Label\n1,0\n")
    assert "none in common" in warned(tmp_path)
    write_table(tmp_path / "test.csv", (np.full(40, "11"), SMALL_OTHERS[1]))
    assert "testing the class 11: none in common" in warned(tmp_path)


@pytest.mark.parametrize(
    ("one", "other"), [("Cat", "cat"), ("ÄPFEL", "äpfel"), ("T-Shirt", "t-shirt")]
)
def test_classes_that_differ_in_case_are_reported(
    tmp_path: Path, warned: Callable[[Path], str], one: str, other: str
) -> None:
    labels = np.array([one, other, "x"] * 20)
    write_table(tmp_path / "t.csv", (labels, SMALL[1]))
    assert f"{one} and {other}" in warned(tmp_path / "t.csv")


@pytest.mark.parametrize(("one", "two"), [("é", "e\u0301"), ("ü", "u\u0308"), ("が", "か\u3099")])
def test_characters_are_composed(tmp_path: Path, one: str, two: str) -> None:
    labels = np.array([one, two, "x"] * 20)
    write_table(tmp_path / "t.csv", (labels, SMALL[1]))
    assert set(concatenate(iter_images(tmp_path / "t.csv"))[0]) == {one, "x"}


@pytest.mark.parametrize("text", ["{:.18e}", "{:.0E}", "{:.1f}", "{:+.2e}", "{:.3g}"])
def test_integral_numbers_are_integers(tmp_path: Path, text: str) -> None:
    labels = ["0", *(text.format(float(label)) for label in LABELS[1:])]
    write_table(tmp_path / "t.csv", (np.array(labels), SMALL[1]))
    assert (concatenate(iter_images(tmp_path / "t.csv"))[0] == LABELS).all()


@pytest.mark.parametrize(
    "codes", [["0E01", "0E02", "0E10"], ["5E02", "4E00", "9F8D"], ["1e5", "2e3", "1E05"]]
)
def test_code_points_are_no_numbers(tmp_path: Path, codes: list[str]) -> None:
    write_table(tmp_path / "t.csv", (np.array(codes * 20), SMALL[1]))
    assert set(concatenate(iter_images(tmp_path / "t.csv"))[0]) == set(codes)


def test_only_documented_names_are_labels(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("writer_ids", "target_names", "weights", "year"):
        np.savez(tmp_path / "a.npz", **{"images": DIGITS[1], name: DIGITS[0]})  # type: ignore[arg-type]
        with caplog.at_level(logging.INFO):
            labels = concatenate(read_user_data(tmp_path / "a.npz", 0.2)[0])[0]
        assert set(labels) == {"unlabelled"}
        assert f"array {name} is not of images" in caplog.text


@pytest.mark.parametrize("names", [("cat", "dog"), ("cat", "train"), ("test tube", "apple")])
@pytest.mark.parametrize("is_archive", [True, False])
def test_arrays_without_labels_are_classes(
    tmp_path: Path, names: tuple[str, str], is_archive: bool
) -> None:
    arrays = dict(zip(names, (IMAGES, named(OTHERS)[1]), strict=True))
    if is_archive:
        np.savez(tmp_path / "a.npz", **arrays)  # type: ignore[arg-type]
    else:
        for name, images in arrays.items():
            np.save(tmp_path / f"{name}.npy", images)
    labels, images = concatenate(iter_images(tmp_path))
    assert {name: (labels == name).sum() for name in names} == dict(
        zip(names, (60, 40), strict=True)
    )
    assert (images[labels == names[0]] == IMAGES).all()


def test_splits_without_labels_are_no_classes(tmp_path: Path) -> None:
    np.save(tmp_path / "train.npy", IMAGES)
    np.save(tmp_path / "test.npy", named(OTHERS)[1])
    train, test = read_split(tmp_path)
    assert (len(train[0]), len(test[0])) == (60, 40)
    assert set(train[0]) | set(test[0]) == {"unlabelled"}


def test_several_labels_of_an_image_are_refused_with_a_way_out(tmp_path: Path) -> None:
    several = np.random.default_rng(0).integers(0, 2, (60, 14))
    for values in (several, several * 1.5, np.c_[DIGITS[0], DIGITS[0]]):
        np.savez(tmp_path / "a.npz", images=DIGITS[1], labels=values)
        message = refused(tmp_path / "a.npz")
        assert "leave it out: images need no labels" in message
    np.savez(tmp_path / "a.npz", images=DIGITS[1], labels=DIGITS[0][None])
    assert (concatenate(iter_images(tmp_path / "a.npz"))[0] == LABELS).all()


@pytest.mark.parametrize(
    ("known", "other", "form"),
    [
        ("train", "reserve", "csv"),
        ("Training", "EVAL", "pictures"),
        ("test", "unused", "csv"),
        ("t10k", "", "csv"),
    ],
)
def test_splits_of_which_some_are_unknown_are_refused(
    tmp_path: Path, warned: Callable[[Path], str], known: str, other: str, form: str
) -> None:
    def write(splits: list[str]) -> None:
        digits = frame(NAMES)
        if form == "pictures":
            write_images(tmp_path, DIGITS[1])
            digits = digits[["label"]].assign(id=range(60))
        digits.assign(split=splits).to_csv(tmp_path / "t.csv", index=False)

    write([known] * 40 + [other] * 20)
    assert f": the splits {other!r}, expected train, validation or test" in refused(tmp_path)
    write(["1", "2", "5"] * 20)
    assert ": the splits '1', '2', '5', expected train, validation or test, so they" in warned(
        tmp_path
    )


def test_two_columns_of_splits_are_refused(tmp_path: Path) -> None:
    digits = frame(NAMES).drop(columns="label")
    digits.assign(split="train", fold="test").to_csv(tmp_path / "t.csv", index=False)
    assert "t.csv: line 1, columns split, fold: each may be the split" in refused(
        tmp_path / "t.csv"
    )


# ---- Litter ----


LITTER = [
    "@eaDir/0000.png/SYNOPHOTO_THUMB_S.png",
    "#recycle/old.png",
    "$RECYCLE.BIN/x.png",
    "lost+found/1.png",
    "Icon\r",
    "0000.png:Zone.Identifier",
    "~$x.xlsx",
    "train.csv~",
    "@__thumb/0000.png",
    "#snapshot/0.png",
    "@Recycle/1.png",
    "Thumbs.db",
    "ehthumbs.db",
    "0.png.bak",
    "System Volume Information/x.png",
    "__MACOSX/._0.png",
    "a.crdownload",
    ".DS_Store",
    "._1.png",
    ".cache/x.png",
]


@pytest.mark.parametrize("place", ["", "digit 3"])
def test_litter_is_skipped(tmp_path: Path, place: str, caplog: pytest.LogCaptureFixture) -> None:
    write_pictures(tmp_path / "mine", FEW)
    for name in LITTER:
        path = tmp_path / "mine" / place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(OTHERS[1][3]).save(path, "PNG")
    with caplog.at_level(logging.INFO):
        train, test = read_split(tmp_path / "mine")
    assert len(train[0]) + len(test[0]) == 20
    assert {label[:6] for label in train[0]} == {"digit "}
    assert f"skipped: {len(LITTER)} hidden or of a file manager or editor" in caplog.text


# ---- Orientation ----


@pytest.mark.parametrize("name", ["emnist-letters-train", "EMNIST_digits_test", "emnist"])
def test_emnist_is_turned_upright(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    turned = SMALL[1].transpose(0, 2, 1)
    (tmp_path / f"{name}-images-idx3-ubyte").write_bytes(idx.encode(turned))
    (tmp_path / f"{name}-labels-idx1-ubyte").write_bytes(idx.encode(DIGITS[0]))
    (tmp_path / f"{name}-mapping.txt").write_text("0 48\n1 49\n")
    assert (concatenate(iter_images(tmp_path))[1] == as_read(SMALL[1])).all()
    with caplog.at_level(logging.INFO):
        read_user_data(tmp_path, 0.2)
    assert "turned upright" in caplog.text
    rows = np.c_[LABELS.astype(int), turned.reshape(60, -1)]
    np.savetxt(tmp_path / f"{name}.csv", rows, fmt="%d", delimiter=",")
    assert (concatenate(iter_images(tmp_path / f"{name}.csv"))[1] == as_read(SMALL[1])).all()


@pytest.mark.parametrize("form", ["IDX", "npz of MATLAB", "npz", "CSV", "CSV with a header"])
@pytest.mark.parametrize("place", ["emnist/t", "t/emnist-letters"])
def test_only_published_formats_of_emnist_are_transposed(
    tmp_path: Path, form: str, place: str
) -> None:
    path = tmp_path / place
    path.parent.mkdir()
    is_turned = form in ("IDX", "npz of MATLAB", "CSV")
    images = SMALL[1].transpose(0, 2, 1) if is_turned else SMALL[1]
    if form == "IDX":
        path.write_bytes(idx.encode(images))
    elif form.startswith("npz"):
        prefix = "dataset_train_" if is_turned else ""
        np.savez(path, **{f"{prefix}images": images.reshape(60, -1)})  # type: ignore[arg-type]
        path = path.with_suffix(".npz")
    else:
        header = False if is_turned else NAMES
        pd.DataFrame(images.reshape(60, -1)).to_csv(path, index=False, header=header)
    assert (concatenate(iter_images(path))[1] == as_read(SMALL[1])).all()


# ---- Transparency ----


def draw(kind: str, digit: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A digit of dark ink on a transparent canvas, (28, 28, 4)."""
    rng = np.random.default_rng(0)
    rgba = np.zeros((28, 28, 4), np.uint8)
    rgba[..., 3] = digit
    if kind == "greys":
        rgba[..., :3] = rng.integers(0, 90, (28, 28, 1))
    elif kind == "colours":
        rgba[..., :3] = rng.integers(0, 80, (28, 28, 3))
    elif kind == "white paper below":
        rgba[..., :3] = np.where(digit[..., None] > 0, 30 + digit[..., None] // 8, 255)
    elif kind == "soft":
        rgba[..., :3] = 60 - digit[..., None] // 5
    return rgba


@pytest.mark.parametrize("kind", ["black", "greys", "colours", "white paper below", "soft"])
@pytest.mark.parametrize("form", ["png", "webp", "npy"])
def test_dark_ink_on_a_transparent_canvas_is_visible(tmp_path: Path, kind: str, form: str) -> None:
    path = tmp_path / f"x.{form}"
    rgba = draw(kind, DIGITS[1][3])
    if form == "npy":
        np.save(path, rgba[None])
    else:
        Image.fromarray(rgba).save(path, lossless=True, exact=True)
    _, images = concatenate(iter_images(path))
    correlation = np.corrcoef(images[0], DIGITS[1][3].reshape(-1))[0, 1]
    assert correlation > 0.95
    assert images.max() > 150


@pytest.mark.parametrize("form", ["bmp", "png", "tiff"])
def test_alpha_that_is_0_everywhere_is_ignored(tmp_path: Path, form: str) -> None:
    digit = DIGITS[1][3]
    rgba = np.dstack([digit, digit, digit, digit * 0])
    path = tmp_path / f"x.{form}"
    if form == "bmp":
        Image.fromarray(rgba).save(path, "BMP")
    else:
        Image.fromarray(rgba).save(path)
    assert (concatenate(iter_images(path))[1].reshape(28, 28) == digit).all()
