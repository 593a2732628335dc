"""Data as it is published and exported: read, or refused with a command that makes it readable."""

import bz2
import csv
import gzip
import io
import logging
import lzma
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers.digits import (
    as_read,
    concatenate,
    draw_digits,
    draw_small_digits,
    named,
    resized,
    write_pictures,
)
from helpers.errors import refusal
from helpers.reading import check, check_split, read_split, refused, write_images, write_table
from numpy.typing import NDArray
from PIL import Image

from autoencoder.data import table
from autoencoder.data.user.images import iter_images, read_user_data

DIGITS = draw_digits(60, seed=3)
OTHERS = draw_digits(40, seed=11)
LABELS, IMAGES = named(DIGITS)
SMALL = draw_small_digits(60, seed=3)
PIXELS = SMALL[1].reshape(60, 64)
TEXT = pd.DataFrame(np.c_[SMALL[0], PIXELS]).to_csv(index=False, header=False)
HEADER = "label," + ",".join(f"p{n}" for n in range(64)) + "\n"


# ---- Tables ----

DIALECTS: dict[str, Callable[[], str]] = {
    "trailing commas": lambda: TEXT.replace("\n", ",\n"),
    "trailing commas below a header": lambda: HEADER + TEXT.replace("\n", ",\n"),
    "trailing commas everywhere": lambda: (HEADER + TEXT).replace("\n", ",\n"),
    "trailing semicolons": lambda: TEXT.replace(",", ";").replace("\n", ";\n"),
    "trailing tabs": lambda: (HEADER + TEXT).replace(",", "\t").replace("\n", "\t\n"),
    "sep=;": lambda: "sep=;\n" + (HEADER + TEXT).replace(",", ";"),
    "sep=,": lambda: "sep=,\n" + TEXT,
    "sep= of a tab": lambda: "sep=\t\n" + TEXT.replace(",", "\t"),
    "comments": lambda: "# digits\n# drawn by hand\n" + HEADER + TEXT,
    "one comment": lambda: "#made in 2024, by me\n" + TEXT,
    "a header as a comment, of numpy": lambda: "# " + HEADER + TEXT,
    "row names of R": lambda: (
        HEADER + "".join(f"{n},{line}\n" for n, line in enumerate(TEXT.splitlines(), 1))
    ),
    "quoted row names of R": lambda: (
        HEADER + "".join(f'"{n}",{line}\n' for n, line in enumerate(TEXT.splitlines(), 1))
    ),
    "row names of R, with spaces": lambda: (
        HEADER + "".join(f"row{n},{line}\n" for n, line in enumerate(TEXT.splitlines(), 1))
    ).replace(",", " "),
}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_dialects(tmp_path: Path, dialect: str) -> None:
    (tmp_path / "t.csv").write_text(DIALECTS[dialect]())
    check(tmp_path / "t.csv", SMALL)


@pytest.mark.parametrize("separator", [";", "\t", " "])
@pytest.mark.parametrize("header", [True, False])
def test_decimal_commas(tmp_path: Path, separator: str, header: bool) -> None:
    digits = pd.DataFrame(IMAGES / 255).add_prefix("p")
    digits.insert(0, "label", LABELS)
    digits.to_csv(tmp_path / "t.csv", index=False, header=header, sep=separator, decimal=",")
    check(tmp_path / "t.csv", DIGITS)


@pytest.mark.parametrize(
    ("side", "has_labels", "header"),
    [
        (8, True, True),
        (8, True, False),
        (8, False, True),
        (8, False, False),
        (16, True, False),
        (20, False, True),
        (32, False, False),
    ],
)
def test_other_square_sizes(tmp_path: Path, side: int, has_labels: bool, header: bool) -> None:
    images = resized(DIGITS[1], side).reshape(60, -1)
    digits = pd.DataFrame(images, columns=[f"x{n}" for n in range(side * side)])
    if has_labels:
        digits.insert(0, "label", LABELS)
    digits.to_csv(tmp_path / "t.csv", index=False, header=header)
    labels, found = concatenate(iter_images(tmp_path / "t.csv"))
    assert (labels == (LABELS if has_labels else "unlabelled")).all()
    assert (found == as_read(images.reshape(60, side, side))).all()


def test_a_last_label_without_header_is_said(tmp_path: Path) -> None:
    for side in (8, 16):
        images = resized(DIGITS[1], side).reshape(60, -1)
        pd.DataFrame(np.c_[images, DIGITS[0]]).to_csv(tmp_path / "t.csv", index=False, header=False)
        assert "or the last one; if it is the last one, name it with" in refused(tmp_path / "t.csv")
    photos = np.random.default_rng(0).integers(0, 256, (300, 64))
    rows = np.c_[photos, np.arange(300) % 10]
    pd.DataFrame(rows).to_csv(tmp_path / "t.csv", index=False, header=False)
    assert "or the last one" in refused(tmp_path / "t.csv")


@pytest.mark.parametrize(
    "form",
    ["fer", "list", "NumPy", "PyTorch", "no other column", "label last", "no header", "quotes"],
)
def test_pixels_in_one_cell(tmp_path: Path, form: str) -> None:
    cells = [" ".join(map(str, row)) for row in IMAGES]
    usage = np.where(np.arange(60) < 40, "Training", "PrivateTest")
    if form == "list":
        cells = [str(row.tolist()) for row in IMAGES]
    if form == "NumPy":
        cells = [np.array2string(row / 1, 10**6, threshold=1000) for row in IMAGES]
    if form == "PyTorch":
        cells = [f"tensor({row.tolist()}, dtype=torch.uint8)" for row in IMAGES]
    columns: dict[str, Any] = {"emotion": LABELS, "pixels": cells, "Usage": usage}
    if form == "no other column":
        del columns["emotion"]
    if form == "label last":
        columns = {"image": cells, "class": LABELS}
    options: dict[str, Any] = {}
    if form in ("no header", "quotes"):
        columns = {"label": LABELS, "pixels": cells}
        quoting = csv.QUOTE_ALL if form == "quotes" else csv.QUOTE_MINIMAL
        options = {"header": False, "quoting": quoting}
    pd.DataFrame(columns).to_csv(tmp_path / "t.csv", index=False, **options)
    labels = np.full(60, "unlabelled") if form == "no other column" else LABELS
    check(tmp_path / "t.csv", (labels, DIGITS[1]))
    train, test = read_split(tmp_path / "t.csv", 0.5)
    assert (len(train[0]), len(test[0])) == ((40, 20) if "Usage" in columns else (30, 30))


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("0 " * 783, ": 783 pixels in it"),
        ("", ": 0 pixels in it"),
        ("0 " * 783 + "x253", ": could not convert string to float: 'x253', expected"),
        ("0 " * 783 + "nan", ", column pixels has a value nan"),
        ("0 " * 783 + "...", ": could not convert string to float: '...', expected"),
    ],
)
def test_a_cell_that_is_no_image_is_named(tmp_path: Path, cell: str, message: str) -> None:
    cells = [" ".join(map(str, row)) for row in IMAGES]
    pd.DataFrame({"label": LABELS, "pixels": [*cells[:-1], cell]}).to_csv(tmp_path / "t.csv")
    assert refused(tmp_path / "t.csv").startswith(f"{tmp_path}/t.csv: line 61{message}")


@pytest.mark.parametrize(
    ("maximum", "form"), [(1.0000001, "npy"), (1.0019, "npy"), (1.0019, "csv"), (0.99999, "npy")]
)
def test_a_maximum_near_1_is_white(tmp_path: Path, maximum: float, form: str) -> None:
    values = IMAGES / 255 * maximum
    if form == "csv":
        pd.DataFrame(values).to_csv(tmp_path / "t.csv", index=False, header=False)
    else:
        np.save(tmp_path / "t.npy", values - 1e-9)
    assert (concatenate(iter_images(tmp_path / f"t.{form}"))[1] == IMAGES).all()


@pytest.mark.parametrize("form", ["csv", "npy"])
def test_values_between_integers_are_rounded(tmp_path: Path, form: str) -> None:
    values = IMAGES.astype(float)
    values[values > 9] -= 0.25
    values[3, 300] = 7.4
    if form == "csv":
        pd.DataFrame(values).to_csv(tmp_path / "t.csv", index=False, header=False)
    else:
        np.save(tmp_path / "t.npy", values)
    assert (concatenate(iter_images(tmp_path / f"t.{form}"))[1] == np.rint(values)).all()


# ---- Suffixes ----


def npz(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def npy(values: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, values)
    return buffer.getvalue()


def zipped(name: str, content: bytes, *others: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for each in (name, *others):
            archive.writestr(each, content)
    return buffer.getvalue()


ARCHIVE = npz(images=SMALL[1], labels=SMALL[0])


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.npz.gz", gzip.compress(ARCHIVE, mtime=0)),
        ("t.npz.xz", lzma.compress(ARCHIVE)),
        ("t.csv", gzip.compress(TEXT.encode(), mtime=0)),
        ("t.txt", bz2.compress(TEXT.encode())),
        ("t.csv.gz", TEXT.encode()),
        ("t.csv", ARCHIVE),
        ("t.bin", ARCHIVE),
        ("t.csv", zipped("x/data.txt", TEXT.encode())),
        ("t", TEXT.encode()),
        ("t.data", TEXT.encode()),
    ],
)
def test_files_are_read_by_their_first_bytes(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    check(tmp_path / name, SMALL)


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_compressed_arrays(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    (tmp_path / "images.npy.gz").write_bytes(compress(npy(DIGITS[1])))
    (tmp_path / "labels.npy.gz").write_bytes(compress(npy(DIGITS[0])))
    check(tmp_path, DIGITS)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "mnist.pkl.gz",
            gzip.compress(b"\x80\x04\x95" + bytes(99), mtime=0),
            "pickle, which may run any",
        ),
        ("a.csv", b"\x80\x03}q\x00", "pickle"),
        ("a.npy", b"\x80\x02}q\x00", "pickle"),
        (
            "a.mat.gz",
            gzip.compress(b"MATLAB 5.0 MAT-file, Platform" + bytes(200), mtime=0),
            "MATLAB; ",
        ),
        ("data.csv", b"MATLAB 5.0 MAT-file, Platform" + bytes(200), "data.csv data.npz`"),
        ("a.npz", b"\x89HDF\r\n\x1a\n" + bytes(99), "a.npz a-converted.npz`"),
        ("a.csv", zipped("xl/workbook.xml", b"<xml/>", "[Content_Types].xml"), "a spreadsheet; "),
        ("a.csv", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(99), "a spreadsheet; "),
        ("a.csv", b"<!DOCTYPE html>\n<html>", "a web page"),
        ("a.npz", b"\n <html lang=en>", "a web page"),
        ("a.csv", b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "git lfs pull"),
        ("a.npy", b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "git lfs pull"),
        ("a.png", b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "git lfs pull"),
        ("a.jpg", b"<html><title>Sign in</title>", "a web page"),
        ("a.png", b"\0\0\0\x20ftypheic", "`magick a.png[0] a-converted.png`, then move a.png away"),
        ("a.csv", b"% comment\n@RELATION digits\n", "ARFF; "),
        ("a.csv", b"PAR1" + bytes(50), "Parquet|damaged"),
        (
            "a.tar.gz",
            gzip.compress(bytes(257) + b"ustar" + bytes(300), mtime=0),
            "tar xf a.tar.gz -C a`",
        ),
        ("a.json", b'[{"label": 3}]', "JSON; "),
        ("a.dat", bytes(range(256)), "of no known format"),
    ],
)
def test_other_files_are_named_with_a_command(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    found = refused(tmp_path / name)
    assert found.startswith(f"{tmp_path}/{name}: ")
    assert any(part in found for part in message.split("|"))


# ---- Arrays ----


@pytest.mark.parametrize(
    "arrays",
    [
        {"X": IMAGES, "y": DIGITS[0], "__header__": np.bytes_(b"MATLAB"), "__globals__": []},
        {"X": DIGITS[1].transpose(1, 2, 0), "y": DIGITS[0][None], "__version__": "1.0"},
        {"data": IMAGES.T, "label": DIGITS[0][None].astype(float)},
        {"X": np.stack([DIGITS[1]] * 3, 3).transpose(1, 2, 3, 0), "y": DIGITS[0][:, None]},
        {"data": np.asfortranarray(IMAGES), "target": DIGITS[0]},
        {"images": np.asfortranarray(DIGITS[1]), "target": DIGITS[0].astype("U")},
        {
            "images": DIGITS[1],
            "data": IMAGES.astype(float),
            "target": DIGITS[0],
            "target_names": np.arange(10),
            "DESCR": "digits",
            "frame": np.array(None, object),
        },
        {"images": IMAGES.reshape(60, 1, 28, 28), "labels": DIGITS[0].astype("S")},
        {"x": IMAGES > 127, "y": DIGITS[0] == 3},
    ],
)
@pytest.mark.parametrize("size", [60, 50])
def test_arrays_of_other_programs(tmp_path: Path, arrays: dict[str, Any], size: int) -> None:
    for name, values in arrays.items():
        if 60 in np.shape(values):
            arrays[name] = np.take(values, range(size), np.shape(values).index(60))
    np.savez(tmp_path / "a.npz", **arrays)
    labels, images = concatenate(iter_images(tmp_path / "a.npz"))
    is_mask = arrays.get("x") is not None
    assert (images == ((IMAGES > 127) * 255 if is_mask else IMAGES)[:size]).all()
    assert (labels == ((DIGITS[0] == 3).astype(str) if is_mask else LABELS)[:size]).all()


def test_signed_bytes_are_refused_with_both_readings(tmp_path: Path) -> None:
    for values in (DIGITS[1].view(np.int8), (DIGITS[1].astype(int) - 128).astype(np.int8)):
        np.save(tmp_path / "a.npy", values)
        message = refused(tmp_path / "a.npy")
        assert "save x.astype('uint8') if black is 0, x + 128 if it is -128" in message
    idx_file = b"\0\0\x09\x03" + np.array([60, 28, 28], ">u4").tobytes()
    (tmp_path / "a-idx3-ubyte").write_bytes(idx_file + DIGITS[1].view(np.int8).tobytes())
    assert "of signed bytes" in refused(tmp_path / "a-idx3-ubyte")
    np.save(tmp_path / "a.npy", DIGITS[1].view(np.int8).astype("uint8"))
    (tmp_path / "a-idx3-ubyte").unlink()
    assert (concatenate(iter_images(tmp_path))[1] == IMAGES).all()


@pytest.mark.parametrize(
    ("values", "hint"),
    [
        (IMAGES / 127.5 - 1, "save (x + 1) / 2"),
        (IMAGES.astype(np.uint16) * 257, "x / 257 if white is 65535"),
        (IMAGES.astype(float) * 16, "x * (255 / 4080)"),
        ((IMAGES / 255 - 0.13) / 0.31, "expected grey values 0..255, or fractions"),
    ],
)
def test_other_ranges_are_refused_with_a_formula(
    tmp_path: Path, values: NDArray[Any], hint: str
) -> None:
    np.save(tmp_path / "a.npy", values)
    assert hint in refused(tmp_path / "a.npy")


@pytest.mark.parametrize(
    "type_code", [(8, "u1"), (11, ">i2"), (12, ">i4"), (13, ">f4"), (14, ">f8")]
)
@pytest.mark.parametrize("nested", [False, True])
def test_idx_files_of_any_type_also_in_directories_of_their_own(
    tmp_path: Path, type_code: tuple[int, str], nested: bool
) -> None:
    for prefix, (labels, images) in {"train": DIGITS, "t10k": OTHERS}.items():
        for name, array in (("images-idx3-ubyte", images), ("labels-idx1-ubyte", labels)):
            code, dtype = type_code
            header = bytes([0, 0, code, array.ndim]) + np.array(array.shape, ">u4").tobytes()
            path = tmp_path / f"{prefix}-{name}"
            path = path / path.name.replace("-idx", ".idx") if nested else path
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(header + array.astype(dtype).tobytes())
    check_split(tmp_path, DIGITS, OTHERS)


@pytest.mark.parametrize("form", ["full_numpy_bitmap_{}.npy", "quick/{}.csv"])
def test_one_file_for_each_class(tmp_path: Path, form: str) -> None:
    for row, name in enumerate(("cat", "the eiffel tower", "sea turtle")):
        path = tmp_path / form.format(name)
        path.parent.mkdir(exist_ok=True)
        images = PIXELS[row::3]
        if path.suffix == ".npy":
            np.save(path, images)
        else:
            pd.DataFrame(images).to_csv(path, index=False, header=False)
    labels, images = concatenate(iter_images(tmp_path))
    assert {label.rpartition("_")[2] for label in labels} == {
        "cat",
        "the eiffel tower",
        "sea turtle",
    }
    assert sorted(map(bytes, images)) == sorted(map(bytes, as_read(SMALL[1])))


def test_parts_with_numbers_are_one_table(tmp_path: Path) -> None:
    for number, rows in {"1": slice(0, 20), "2": slice(20, 40), "10": slice(40, 60)}.items():
        write_table(tmp_path / f"data_{number}.csv", (LABELS[rows], PIXELS[rows]))
    check(tmp_path, SMALL)


# ---- Labels ----


@pytest.mark.parametrize(
    "names", ["+-=", "@+~", ["\u0645\u06cc\u200c\u062e", "\u0915\u094d\u200d\u0937"]]
)
def test_symbols_and_joiners_are_classes(tmp_path: Path, names: Any) -> None:
    for row, name in enumerate(names):
        (tmp_path / name).mkdir()
        Image.fromarray(DIGITS[1][row]).save(tmp_path / name / "1.png")
    labels, images = concatenate(iter_images(tmp_path))
    assert set(labels) == set(names)
    table.write(tmp_path / "t.csv", [(labels, images)])
    assert (table.read(tmp_path / "t.csv")[0] == labels).all()


def test_all_bad_names_are_in_one_message(tmp_path: Path) -> None:
    for name in ("a,b", "=1", "fine", 'c"d'):
        (tmp_path / "mine" / name).mkdir(parents=True)
        Image.fromarray(DIGITS[1][0]).save(tmp_path / "mine" / name / "1.png")
    message = refused(tmp_path / "mine")
    assert all(f"{name!r}" in message for name in ("a,b", "=1", 'c"d'))
    assert "fine" not in message
    write_table(tmp_path / "t.csv", (np.array(["a,b", "=1", "fine"] * 20), PIXELS))
    message = refused(tmp_path / "t.csv")
    assert "t.csv: line 2, column label: 'a,b'" in message
    assert "t.csv: line 3, column label: '=1'" in message


@pytest.mark.parametrize(
    ("key", "place", "header"),
    [
        ("path", "in", "path,label"),
        ("path", "next to", "image_id,symbol"),
        ("name", "in", "id;class"),
        ("name", "next to", "file_name,label"),
        ("stem", "in", "image_id,symbol"),
        ("stem", "next to", "id;class"),
        ("windows", "in", "file_name,label"),
        ("windows", "next to", "path,label"),
    ],
)
def test_pictures_with_a_table_of_labels(tmp_path: Path, key: str, place: str, header: str) -> None:
    few = DIGITS[0][:20], DIGITS[1][:20]
    folder = tmp_path / ("mine" if place == "in" else "mine/pictures")
    folder.mkdir(parents=True)
    lines = [header]
    for row, (label, pixels) in enumerate(zip(*few, strict=True)):
        path = folder / f"v2-{row:05}.png"
        Image.fromarray(pixels).save(path)
        relative = str(path.relative_to(tmp_path / "mine"))
        cells = {
            "path": f"./{relative}",
            "name": path.name,
            "stem": path.stem,
            "windows": relative.replace("/", "\\"),
        }
        lines.append(f"{cells[key]}{';' if ';' in header else ','}{label}")
    (tmp_path / "mine/hasy-data-labels.csv").write_text("\n".join(lines[:1] + lines[:0:-1]))
    (tmp_path / "mine/README.txt").write_text("about")
    check(tmp_path / "mine", few)
    (folder / "extra.png").write_bytes((folder / "v2-00000.png").read_bytes())
    assert "extra.png: no label in the table" in refused(tmp_path / "mine")


def test_a_table_may_have_a_column_of_splits(tmp_path: Path) -> None:
    write_images(tmp_path, DIGITS[1], "{:03}.png")
    lines = ["filename,label,split"]
    for row, label in enumerate(LABELS):
        lines.append(f"{row:03}.png,{label},{'train' if row % 3 else 'test'}")
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    _, test = read_split(tmp_path)
    assert (test[0] == LABELS[::3]).all()


def test_only_the_training_pictures_may_have_a_table(tmp_path: Path) -> None:
    write_images(tmp_path / "train", DIGITS[1], "train_{:03}.png")
    write_images(tmp_path / "test", OTHERS[1], "test_{:03}.png")
    lines = ["id,label", *(f"train_{row:03},{label}" for row, label in enumerate(LABELS))]
    (tmp_path / "labels.tsv").write_text("\n".join(lines))
    check_split(tmp_path, DIGITS, (np.full(40, "unlabelled"), OTHERS[1]))


def test_a_table_of_images_next_to_pictures_is_refused(tmp_path: Path) -> None:
    write_pictures(tmp_path, DIGITS)
    (tmp_path / "t.csv").write_text(TEXT)
    assert "t.csv: a table of images, or an array, next to pictures" in refused(tmp_path)


@pytest.mark.parametrize("form", ["labels.csv", "labels.npy", "y.txt", "digit_labels.csv"])
def test_labels_in_a_file_of_their_own(tmp_path: Path, form: str) -> None:
    np.save(tmp_path / "images.npy", DIGITS[1])
    if form.endswith(".npy"):
        np.save(tmp_path / form, DIGITS[0])
    else:
        header = "label\n" if form == "labels.csv" else ""
        (tmp_path / form).write_text(header + "\n".join(LABELS) + "\n")
    check(tmp_path, DIGITS)


def test_tables_of_pixels_and_labels(tmp_path: Path) -> None:
    others = draw_small_digits(40, seed=11)
    for name, (labels, images) in (("train", SMALL), ("test", others)):
        pixels = pd.DataFrame(images.reshape(-1, 64))
        pixels.to_csv(tmp_path / f"{name}_x.csv", index=False, header=False)
        pd.DataFrame({"label": labels}).to_csv(tmp_path / f"{name}_y.csv", index=False)
    check_split(tmp_path, SMALL, others)


# ---- Pictures ----


@pytest.mark.parametrize("suffix", ["jpg", "jfif", "JPG"])
def test_a_photo_with_a_preview_is_read(tmp_path: Path, suffix: str) -> None:
    digit = Image.fromarray(DIGITS[1][3])
    previews = [Image.new("L", (9, 9))]
    digit.save(tmp_path / f"x.{suffix}", "MPO", save_all=True, quality=100, append_images=previews)
    _, images = concatenate(iter_images(tmp_path / f"x.{suffix}"))
    assert abs(images.reshape(28, 28).astype(int) - DIGITS[1][3]).max() <= 3


@pytest.mark.parametrize("suffix", ["pbm", "jp2", "j2k", "pnm"])
def test_other_picture_formats(tmp_path: Path, suffix: str) -> None:
    digit = np.where(DIGITS[1][3] > 127, 255, 0).astype(np.uint8)
    Image.fromarray(digit).convert("1" if suffix == "pbm" else "L").save(tmp_path / f"x.{suffix}")
    assert (concatenate(iter_images(tmp_path / f"x.{suffix}"))[1].reshape(28, 28) == digit).all()


@pytest.mark.parametrize("suffix", ["jxl", "heic", "avif", "gif", "svg"])
def test_a_picture_that_is_not_read_among_others_has_a_command(tmp_path: Path, suffix: str) -> None:
    write_pictures(tmp_path, DIGITS)
    (tmp_path / f"digit 3/x.{suffix}").write_bytes(b"...")
    message = refused(tmp_path)
    assert message.startswith(f"{tmp_path}/digit 3/x.{suffix}: ")
    assert f"`magick x.{suffix}" in message


def test_classes_of_sessions(tmp_path: Path) -> None:
    for row, (label, pixels) in enumerate(zip(*DIGITS, strict=True)):
        path = tmp_path / f"class {label}/{['monday', 'tuesday/pm', ''][row % 3]}/{row}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    labels, _ = concatenate(iter_images(tmp_path))
    assert {label: (labels == label).sum() for label in set(labels)} == {
        f"class {label}": 6 for label in range(10)
    }


def test_splits_inside_classes(tmp_path: Path) -> None:
    for name, (labels, images) in {"Train": DIGITS, "Test": OTHERS}.items():
        for row, (label, pixels) in enumerate(zip(labels, images, strict=True)):
            path = tmp_path / f"{label}/{name}/{row}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    train, test = read_split(tmp_path, 0.5)
    assert (sorted(train[0]), sorted(test[0])) == (sorted(LABELS), sorted(named(OTHERS)[0]))


@pytest.mark.parametrize("suffix", ["jpg", pytest.param("png", marks=pytest.mark.slow)])
def test_huge_scans(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x.{suffix}"
    Image.new("L", (10_000, 9_500), 200).save(path)
    message = refusal(lambda: list(iter_images(path)))
    assert f"magick x.{suffix} -resize 2000x2000 small-x.{suffix}" in message
    Image.new("L", (9_000, 7_000), 200).save(path)
    assert (concatenate(iter_images(path))[1] == 200).all()


# ---- Company ----


DOCUMENTS = [
    "README",
    "README.txt",
    "LICENSE.md",
    "emnist-balanced-mapping.txt",
    "dataset_infos.json",
    "sample_submission.csv",
    "sampleSubmission.csv",
    "CITATION.cff",
    "notes.docx",
    "load.py",
    "wnids.names",
    "checksums.txt",
    "sha256sums",
    "Copying",
    "description.pdf",
]


@pytest.mark.parametrize("kind", ["table", "pictures", "arrays"])
def test_documents_next_to_data_are_skipped_and_named(
    tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    if kind == "table":
        write_table(tmp_path / "train.csv", SMALL)
        write_table(tmp_path / "test.csv", draw_small_digits(40, seed=11))
    elif kind == "pictures":
        write_pictures(tmp_path, DIGITS)
    else:
        np.savez(tmp_path / "a.npz", images=DIGITS[1], labels=DIGITS[0])
    for name in DOCUMENTS:
        (tmp_path / name).write_text("about the data, 1 2 3\n")
    with caplog.at_level(logging.INFO):
        read_user_data(tmp_path, 0.5)
    (skipped,) = re.findall("skipped: (.*)", caplog.text)
    assert sorted(skipped.split(", ")) == sorted(DOCUMENTS)
