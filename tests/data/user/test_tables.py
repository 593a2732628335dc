"""Users' tables: whatever the dialect, the pixels and labels are those that were meant."""

import bz2
import gzip
import io
import logging
import lzma
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.digits import as_read, concatenate, draw_digits, draw_small_digits
from helpers.errors import refusal

from autoencoder.data.user import tables
from autoencoder.data.user.images import iter_images, read_user_data

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

DIGITS = draw_small_digits(60, seed=3)
LABELS = DIGITS[0].astype(str)
IMAGES = DIGITS[1].reshape(60, 64)
AS_READ = as_read(DIGITS[1])
NAMES = [f"pixel{number}" for number in range(1, 65)]


def frame(**options: object) -> pd.DataFrame:
    """The digits with the label in the first column."""
    pixels = pd.DataFrame(IMAGES, columns=NAMES)
    pixels.insert(0, "label", LABELS)
    return pixels


def check(path: Path, labels: object = LABELS, rows: slice = slice(None)) -> None:
    found_labels, found_images = concatenate(iter_images(path))
    assert found_labels.tolist() == np.asarray(labels)[rows].tolist()
    assert (found_images == AS_READ[rows]).all()


def last(name: str) -> pd.DataFrame:
    digits = frame()
    return digits[[*NAMES, "label"]].rename(columns={"label": name})


@pytest.mark.parametrize("name", ["label", "Class", "TARGET", "y", "labels", "digit"])
def test_the_label_may_be_in_any_column(tmp_path: Path, name: str) -> None:
    last(name).to_csv(tmp_path / "t.csv", index=False)
    check(tmp_path / "t.csv")


@pytest.mark.parametrize(
    ("labels", "header"),
    [
        (LABELS, [*NAMES, "V65"]),
        (LABELS, [*range(64), "kind"]),
        (np.char.add("class ", LABELS), False),
        (np.char.add("0x", LABELS), [*NAMES, "pixel65"]),
    ],
)
def test_a_last_column_of_another_kind_is_the_label(
    tmp_path: Path, labels: np.ndarray, header: bool | list[str]
) -> None:
    digits = last("label")
    digits["label"] = labels
    digits.to_csv(tmp_path / "t.csv", index=False, header=header)
    check(tmp_path / "t.csv", labels)


def test_a_last_column_that_looks_like_labels_is_refused(tmp_path: Path) -> None:
    last("label").to_csv(tmp_path / "t.csv", index=False, header=False)
    message = refusal(lambda: list(iter_images(tmp_path / "t.csv")))
    assert "the first column or the last one; if it is the last one, name it with `py" in message


@pytest.mark.parametrize(
    "header",
    [
        False,
        ["label", *NAMES],
        ["label", *(f"Unnamed: {n}" for n in range(64))],
        ["V1"] * 65,
        ["c", *range(64)],
        range(65),
    ],
)
def test_a_first_label_needs_no_name(tmp_path: Path, header: bool | list[str]) -> None:
    frame().to_csv(tmp_path / "t.csv", index=False, header=header)
    check(tmp_path / "t.csv")


@pytest.mark.parametrize(
    ("written", "read"), [("NA", "NA"), ("007", "007"), ("5.0", "5"), ("ん", "ん"), ("-1", "-1")]
)
def test_labels_are_text(tmp_path: Path, written: str, read: str) -> None:
    digits = frame()
    digits.loc[3, "label"] = written
    digits.to_csv(tmp_path / "t.csv", index=False)
    check(tmp_path / "t.csv", [*LABELS[:3], read, *LABELS[4:]])


@pytest.mark.parametrize("index_label", [None, "id", "Index"])
@pytest.mark.parametrize("has_labels", [True, False])
def test_an_index_is_dropped(tmp_path: Path, index_label: str | None, has_labels: bool) -> None:
    digits = frame() if has_labels else frame()[NAMES]
    digits.to_csv(tmp_path / "t.csv", index_label=index_label)
    check(tmp_path / "t.csv", LABELS if has_labels else ["unlabelled"] * 60)


@pytest.mark.parametrize(
    ("first", "last", "is_unclear"),
    [
        (LABELS, np.arange(60) % 10, True),
        (np.arange(60) % 3, LABELS, True),
        (np.zeros(60, int), np.arange(60) * 4, True),  # many classes
        (np.char.add("class ", LABELS), np.arange(60) % 10, False),
        (LABELS, np.arange(60) * 4, False),
        (LABELS, np.where(np.arange(60) % 15, 0, 7), False),  # mostly background
    ],
)
def test_a_label_that_may_be_first_or_last_is_refused(
    tmp_path: Path, first: np.ndarray, last: np.ndarray, is_unclear: bool
) -> None:
    digits = frame()
    digits["label"], digits["pixel64"] = first, last
    path = tmp_path / "t.csv"
    digits.to_csv(path, index=False, header=False)
    message = refusal(lambda: list(iter_images(path)))
    assert ("the label may be the first column or the last one" in message) == is_unclear
    for name in ("first", "last") if is_unclear else ():  # the hint helps
        header = [*range(1, 65), "label"] if name == "last" else ["label", *range(1, 65)]
        digits.to_csv(path, index=False, header=list(map(str, header)))
        assert concatenate(iter_images(path))[0][0] == str(
            digits.iat[0, -1 if name == "last" else 0]
        )


@pytest.mark.parametrize("side", [7, 8, 16])
def test_a_single_image_as_a_table_is_refused(tmp_path: Path, side: int) -> None:
    pixels = pd.DataFrame(np.resize(IMAGES, (side**2, side**2)))
    pixels.to_csv(tmp_path / "t.csv", index=False, header=False)
    assert f"images of {side}x{side}, add a header" in refusal(
        lambda: list(iter_images(tmp_path / "t.csv"))
    )
    pixels.to_csv(tmp_path / "t.csv", index=False)  # the hint helps
    assert len(concatenate(iter_images(tmp_path / "t.csv"))[0]) == side**2


@pytest.mark.parametrize("name", ["t.csv", "t.npy"])
def test_flattened_alpha_is_refused(tmp_path: Path, name: str) -> None:
    colours = np.stack([IMAGES, IMAGES, IMAGES, np.full_like(IMAGES, 255)], 2).reshape(60, -1)
    pd.DataFrame(colours).assign(label=LABELS).to_csv(tmp_path / "t.csv", index=False)
    np.save(tmp_path / "t.npy", colours)
    assert "every fourth of 256" in refusal(lambda: list(iter_images(tmp_path / name)))


def test_a_label_of_pictures_without_header_is_to_be_named(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a.png,27,26,5\nb.png,30,9,5\n")
    message = refusal(lambda: list(iter_images(tmp_path / "t.csv")))
    assert "line 1, columns 2, 3, 4: it is unclear which one is the label; name the" in message


def test_an_index_without_header(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    frame().to_csv(path, header=False)
    check(path)
    frame().set_index(np.arange(60) * 7).to_csv(path, header=False)
    assert "does not count up" in refusal(lambda: list(iter_images(path)))
    frame()[NAMES].to_csv(path, header=False)  # 65 cells: the index would be the label
    assert "none occurs twice" in refusal(lambda: read_user_data(path, 0.2))


def test_names_of_files_without_header_are_dropped(tmp_path: Path) -> None:
    digits = frame()
    digits.insert(0, "file", [f"{n * 7}.png" for n in range(60)])
    digits.to_csv(tmp_path / "t.csv", index=False, header=False)
    check(tmp_path / "t.csv")
    digits.drop(columns="label").to_csv(tmp_path / "t.csv", index=False, header=False)
    check(tmp_path / "t.csv", ["unlabelled"] * 60)


def test_an_image_that_pandas_took_for_a_header_is_lost_and_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    frame().to_csv(tmp_path / "t.csv", index=False, header=False)
    pd.read_csv(tmp_path / "t.csv").to_csv(tmp_path / "again.csv", index=False)
    check(tmp_path / "again.csv", LABELS, slice(1, None))
    assert "line 1 was an image" in caplog.text


@pytest.mark.parametrize("header", [True, False])
def test_fractions_are_scaled(
    tmp_path: Path, header: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    _, images = draw_digits(60, seed=3)  # of 28x28, so that nothing is resized
    pixels = pd.DataFrame(images.reshape(60, 784) / 255).add_prefix("p")
    pixels.insert(0, "label", LABELS)
    pixels.to_csv(tmp_path / "t.csv", index=False, header=header)
    labels, found = concatenate(iter_images(tmp_path / "t.csv"))
    assert (labels == LABELS).all()
    assert (found == images.reshape(60, 784)).all()
    read_user_data(tmp_path / "t.csv", 0.2)
    assert "multiplied by 255" in caplog.text


@pytest.mark.parametrize("maximum", [15, 100])
def test_a_range_without_white_is_refused(tmp_path: Path, maximum: int) -> None:
    digits = frame()
    digits[NAMES] = (IMAGES.astype(int) * maximum + 127) // 255
    digits.to_csv(tmp_path / "t.csv", index=False)
    message = refusal(lambda: list(iter_images(tmp_path / "t.csv")))
    assert f"the maximum of all pixels is {maximum}, expected 255" in message
    assert message.endswith("; divide the pixels by it, but not the labels")
    # The hint helps.
    digits[NAMES] = digits[NAMES] / maximum
    digits.to_csv(tmp_path / "t.csv", index=False)
    assert concatenate(iter_images(tmp_path / "t.csv"))[1].max() == 255


@pytest.mark.parametrize("form", [int, bool, float])
def test_zeros_and_ones_are_black_and_white(tmp_path: Path, form: type) -> None:
    is_ink = IMAGES > 99
    digits = frame()
    digits[NAMES] = is_ink.astype(form)
    digits.to_csv(tmp_path / "t.csv", index=False)
    labels, images = concatenate(iter_images(tmp_path / "t.csv"))
    assert labels.tolist() == LABELS.tolist()
    expected = as_read(np.uint8(255) * is_ink.reshape(60, 8, 8))
    assert np.abs(images.astype(int) - expected).max() <= 1  # resized, then rounded


def test_fractions_without_white_are_refused(tmp_path: Path) -> None:
    digits = frame()
    digits[NAMES] = IMAGES / 510 + 0.001
    digits[NAMES] /= 2
    digits.to_csv(tmp_path / "t.csv", index=False)
    message = refusal(lambda: list(iter_images(tmp_path / "t.csv")))
    assert "is 0.2505, expected 1 (white); divide the pixels by it, but not the labels" in message


def test_a_first_image_with_a_label_like_a_name_is_no_header(tmp_path: Path) -> None:
    digits = frame()
    digits["label"] = labels = np.resize(["y", "x", "z"], 60)
    digits.to_csv(tmp_path / "t.csv", index=False, header=False)
    check(tmp_path / "t.csv", labels)


def test_column_numbers_that_repeat_are_a_header(tmp_path: Path) -> None:
    names = ["label", *list(map(str, range(8))) * 8]
    frame().to_csv(tmp_path / "t.csv", index=False, header=names)
    check(tmp_path / "t.csv")


@pytest.mark.parametrize("text", ["%3d", "%.18e"])
def test_what_numpy_writes(tmp_path: Path, text: str) -> None:
    rows = np.c_[LABELS.astype(int), IMAGES]
    np.savetxt(tmp_path / "t.csv", rows, fmt=text, delimiter=",")
    check(tmp_path / "t.csv")


def test_names_may_contain_other_separators(tmp_path: Path) -> None:
    for separator, form in ((",", "row {} column {}"), (";", "({},{})"), ("\t", "a, b, c {} {}")):
        names = ["label", *(form.format(*divmod(number, 8)) for number in range(64))]
        frame().to_csv(tmp_path / "t.csv", index=False, header=names, sep=separator)
        check(tmp_path / "t.csv")


def test_no_labels(tmp_path: Path) -> None:
    for header in (True, False):
        frame()[NAMES].to_csv(tmp_path / "t.csv", index=False, header=header)
        check(tmp_path / "t.csv", ["unlabelled"] * 60)


def quoted(text: str) -> str:
    return "\n".join(
        ",".join(f'"{cell}"' for cell in line.split(",")) for line in text.split("\n")[:-1]
    )


DIALECTS: dict[str, Callable[[str], bytes]] = {
    "semicolons": lambda text: text.replace(",", ";").encode(),
    "tabs": lambda text: text.replace(",", "\t").encode(),
    "spaces": lambda text: text.replace(",", " ").encode(),
    "bars": lambda text: text.replace(",", "|").encode(),
    "colons": lambda text: text.replace(",", ":").encode(),
    "spaces after commas": lambda text: text.replace(",", ", ").encode(),
    "quotes": lambda text: quoted(text).encode(),
    "decimals": lambda text: text.replace(",", ".0,").replace("l1.0", "l1").encode(),
    "UTF-16": lambda text: text.encode("utf-16"),
    "byte-order mark": lambda text: text.encode("utf-8-sig"),
    "Windows line ends": lambda text: text.replace("\n", "\r\n").encode(),
    "blank last lines": lambda text: (text + "\n\n").encode(),
    "no newline at the end": lambda text: text[:-1].encode(),
}


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("header", [True, False])
def test_dialects(tmp_path: Path, dialect: str, header: bool) -> None:
    if dialect == "decimals" and header:
        header = False  # the replacement is for rows
    text = frame().to_csv(index=False, header=header)
    (tmp_path / "t.csv").write_bytes(DIALECTS[dialect](text))
    check(tmp_path / "t.csv")


def zipped(content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("__MACOSX/._t.csv", b"junk")
        archive.writestr("inner/t.csv", content)
    return buffer.getvalue()


COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    ".csv.gz": gzip.compress,
    ".csv.bz2": bz2.compress,
    ".csv.xz": lzma.compress,
    ".csv.zst": zstd.compress,
    ".zip": zipped,
}


@pytest.mark.parametrize("suffix", COMPRESSIONS)
def test_compressed(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"t{suffix}"
    content = COMPRESSIONS[suffix](frame().to_csv(index=False).encode())
    path.write_bytes(content)
    check(path)
    path.write_bytes(content[: len(content) // 2])
    assert refusal(lambda: list(iter_images(path))).startswith(f"{path}: damaged (")


@pytest.mark.parametrize(
    ("offsets", "value", "reason"),
    [((6, 8), 1, "encrypted"), ((8, 10), 99, "compression method is not supported")],
)
def test_an_archive_that_zipfile_cannot_unpack_is_refused(
    tmp_path: Path, offsets: tuple[int, int], value: int, reason: str
) -> None:
    content = bytearray(zipped(b"label"))
    for signature, offset in zip((b"PK\3\4", b"PK\1\2"), offsets, strict=True):
        content[content.rindex(signature) + offset] = value
    (tmp_path / "t.zip").write_bytes(content)
    message = refusal(lambda: list(iter_images(tmp_path / "t.zip")))
    assert message.startswith(f"{tmp_path}/t.zip: ")
    assert reason in message


def test_the_table_in_an_archive_may_have_an_absolute_path(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "t.zip", "w") as archive:
        archive.writestr("/home/t.csv", frame().to_csv(index=False))
    check(tmp_path / "t.zip")


FAULTS: list[tuple[str, Callable[[list[str]], list[str]], str]] = [
    ("bad cell", lambda r: [*r[:2], r[2][:-1] + "x", *r[3:]], "line 3, column pixel64: 'x'"),
    (
        "too large",
        lambda r: [*r[:2], r[2][:-1] + "256", *r[3:]],
        "line 3, column pixel64 has a value 256",
    ),
    (
        "negative",
        lambda r: [*r[:2], r[2][:-1] + "-1", *r[3:]],
        "line 3, column pixel64 has a value -1",
    ),
    ("empty", lambda r: [*r[:2], r[2][:-1], *r[3:]], "line 3, column pixel64: ''"),
    ("short", lambda r: [*r[:2], r[2][:-2], *r[3:]], "line 3, column pixel64: "),
    ("first short", lambda r: [r[0], "7,0", *r[2:]], "line 2, column pixel2: ''"),
    ("long", lambda r: [*r[:2], r[2] + ",0", *r[3:]], "expected 65 cells in each line"),
    ("cut", lambda r: [*r[:60], r[60][:50]], "as all cells from there on; complete the row"),
    ("comment", lambda r: [*r[:2], "# more", *r[2:]], "line 3, column pixel1: '', as all cells"),
    ("title", lambda r: ["MNIST of 2024", *r], "line 1 is no header of the columns below it"),
    ("one word", lambda r: ["MNIST", *r], "line 1 is no header of the columns below it"),
    ("formula", lambda r: [*r[:2], "=1" + r[2][1:], *r[3:]], "line 3, column label: '=1'"),
    ("no rows", lambda r: r[:1], "no row below the header"),
    ("columns", lambda r: [line.rpartition(",")[0].rpartition(",")[0] for line in r], "line 1 has"),
    ("one-hot", lambda r: [line + ",0" * 9 for line in r[1:]], "; of ten one-hot columns"),
    (
        "gap",
        lambda r: ["c," + ",".join(map(str, range(1000, 216, -1))).replace("999", "1001"), *r[1:]],
        "line 1: the numbers in names of pixels skip 999 but reach 1001",
    ),
    ("wide", lambda r: ["x" * 200_000, *r], "line 1 cannot be read (field larger than"),
    ("newlines", lambda r: [""] * 10**5, "all lines are blank"),
    (
        "below blank lines",
        lambda r: [r[0], *[""] * 20_000, r[1][:-1] + "x"],
        "line 20002, column pixel64: 'x'",
    ),
]


@pytest.mark.parametrize(("change", "message"), [f[1:] for f in FAULTS], ids=[f[0] for f in FAULTS])
def test_faults_are_located(
    tmp_path: Path, change: Callable[[list[str]], list[str]], message: str
) -> None:
    path = tmp_path / "t.csv"
    path.write_text("\n".join(change(frame().to_csv(index=False).splitlines())) + "\n")
    found = refusal(lambda: list(iter_images(path)))
    assert found.startswith(f"{path}: ")
    assert message in found
    assert found.isprintable()


def test_chunks_are_the_whole_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autoencoder.data.user.batches.BATCH_BYTES", 7 * 8 * 65)
    frame().to_csv(tmp_path / "t.csv", index=False)
    check(tmp_path / "t.csv")
    frame().to_csv(tmp_path / "t.csv", header=False)
    check(tmp_path / "t.csv")


def test_a_chunk_of_zeros_and_ones_among_fractions_is_scaled_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autoencoder.data.user.batches.BATCH_BYTES", 1)
    images = draw_digits(3, seed=3)[1].reshape(3, 784) / 255
    images[1] = images[1] > 0.5
    pd.DataFrame(images).to_csv(tmp_path / "t.csv", index=False, header=False)
    _, found = concatenate(iter_images(tmp_path / "t.csv"))
    assert (found == np.rint(images * 255)).all()


@pytest.mark.parametrize("other", ["0.5", "256", "-1", "9" * 30])
def test_a_later_chunk_of_other_values_is_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: str
) -> None:
    monkeypatch.setattr("autoencoder.data.user.batches.BATCH_BYTES", 7 * 8 * 65)
    digits = frame().astype(str)
    digits.loc[30, "pixel64"] = other
    digits.to_csv(tmp_path / "t.csv", index=False)
    found = tables.describe(tmp_path / "t.csv")[0]
    rows = [(batch.place(0), batch.values) for batch in found.batches()]
    assert [place.rpartition(" ")[2] for place, _ in rows] == [
        "2",
        "16",
        "30",
        "37",
        "44",
        "51",
        "58",
    ]
    assert [values.dtype == np.uint8 for _, values in rows] == [True] * 2 + [False] * 5
    values = np.concatenate([values for _, values in rows])
    expected = IMAGES.reshape(-1, 8, 8).astype(float)
    expected[30, -1, -1] = float(other)
    assert (values.astype(float) == expected).all()
