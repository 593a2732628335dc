"""Files as programs export them and people keep them, each read as meant or refused."""

import gzip
import logging
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.digits import as_read, concatenate, draw_digits, draw_small_digits, write_pictures
from helpers.errors import refusal
from PIL import Image

from autoencoder.data import idx
from autoencoder.data.user.fit import Fit
from autoencoder.data.user.images import iter_images, read_user_data

DIGITS = draw_small_digits(60, seed=3)
OTHERS = draw_small_digits(40, seed=11)
LABELS, IMAGES = DIGITS[0].astype(str), DIGITS[1].reshape(60, 64)
AS_READ = [image.tobytes() for image in as_read(DIGITS[1])]
PIXELS = pd.DataFrame(IMAGES)  # its columns are numbers
LABELLED = PIXELS.assign(label=LABELS)


def save_by_class(directory: Path, name: str) -> None:
    """Write an array of the images of each class, two in its directory."""
    for label in np.unique(LABELS):
        images = IMAGES[label == LABELS]
        for part, some in enumerate(np.array_split(images, 2)):
            path = directory / name.format(label=label, part=part, batch=part + 2 * int(label))
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, some)


def write_pictures_named(directory: Path, names: str = "{}.png") -> list[str]:
    """Write the pictures into one directory; return their names."""
    directory.mkdir(parents=True, exist_ok=True)
    found = [names.format(row) for row in range(60)]
    for name, image in zip(found, DIGITS[1], strict=True):
        Image.fromarray(image).save(directory / name)
    return found


def zip_all(archive: Path, directory: Path) -> None:
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(set(directory.rglob("*.*")) - {archive}):
            file.write(path, path.relative_to(archive.parent))


def one_cell(path: Path, **columns: object) -> None:
    cells = [" ".join(map(str, image)) for image in IMAGES.tolist()]
    pd.DataFrame({**columns, "pixels": cells}).to_csv(path, index=False)


def class_directories_of_tables(path: Path) -> None:
    for label, images in PIXELS.groupby(LABELS):
        (path / str(label)).mkdir()
        images.to_csv(path / f"{label}/user{label}.csv")


def numbered_archives(path: Path) -> None:
    for part in range(2):
        rows = slice(part, None, 2)
        np.savez(path / f"batch_{part}.npz", x_train=IMAGES[rows], y_train=DIGITS[0][rows])


def numbered_directories(path: Path) -> None:
    for part in range(2):
        rows = slice(part, None, 2)
        (path / f"fold{part}").mkdir()
        np.savez(path / f"fold{part}/a.npz", x=IMAGES[rows], y=DIGITS[0][rows])


def in_a_directory_of_parts(path: Path) -> None:
    LABELLED.to_parquet(path, partition_cols=["label"], index=False)


def with_a_copy_unpacked(path: Path) -> None:
    labels, images = DIGITS
    for name, array in (("train-images-idx3-ubyte", images), ("train-labels-idx1-ubyte", labels)):
        content = idx.encode(array)
        (path / name).write_bytes(content)
        (path / f"{name}.gz").write_bytes(gzip.compress(content))


def with_a_copy_in_an_archive(path: Path) -> None:
    LABELLED.to_csv(path / "train.csv", index=False)
    zip_all(path / "archive.zip", path)


def pictures_with_their_archive(path: Path) -> None:
    write_pictures(path / "digits", DIGITS)
    zip_all(path / "digits.zip", path / "digits")


def composed_names(path: Path) -> None:
    names = write_pictures_named(path, "e\u0301{}.png")  # as macOS writes them
    pd.DataFrame({"path": [f"é{n}.png" for n in range(60)], "label": LABELS}).to_csv(
        path / "labels.csv", index=False
    )
    assert len(set(names)) == 60


def names_of_pictures_alone(path: Path) -> None:
    write_pictures(path, DIGITS)
    names = [file.name for file in path.rglob("*.png")]
    pd.DataFrame({"filename": names}).to_csv(path / "test.csv", index=False)


def with_a_marker(path: Path) -> None:
    LABELLED.to_csv(path / "part-0.csv", index=False)
    (path / "_SUCCESS").touch()


def with_submissions(path: Path) -> None:
    write_pictures(path / "train", DIGITS)
    for name in ("Sample_Submission_lxuyBuB.csv", "submission_v2.csv"):
        pd.DataFrame({"id": range(5), "label": 0}).to_csv(path / name, index=False)


def a_picture_named_like_a_document(path: Path) -> None:
    write_pictures(path, DIGITS)
    for picture in path.glob("*/0000.png"):
        picture.rename(picture.with_name("about.png"))


def directories_of_years(path: Path) -> None:
    LABELLED.assign(year=2020 + PIXELS.index % 2).to_parquet(
        path, partition_cols=["label", "year"], index=False
    )


def names_of_macos(path: Path) -> None:
    for part in range(2):
        write_pictures_named(path / f"{part}", "e\u0301{}.png")
        for row in range(60):
            if row % 2 != part:
                (path / f"{part}/e\u0301{row}.png").unlink()
    rows = {"path": [f"{n % 2}/e\u0301{n}.png" for n in range(60)], "label": LABELS}
    pd.DataFrame(rows).to_csv(path / "labels.csv", index=False)


def pictures_with_a_lookup(path: Path) -> None:
    write_pictures(path, DIGITS)
    rows = {"label": [f"digit {n}" for n in range(10)], "name": list("abcdefghij")}
    pd.DataFrame(rows).to_csv(path / "classes.csv", index=False)


def with_file_names_last(path: Path) -> None:
    LABELLED.assign(filename=[f"{n}.png" for n in range(60)]).to_csv(path / "t.csv", index=False)


def with_a_lookup(path: Path) -> None:
    LABELLED.to_csv(path / "train.csv", index=False)
    pd.DataFrame({"label": range(10), "name": list("abcdefghij")}).to_csv(
        path / "names.csv", index=False
    )


READ: dict[str, Callable[[Path], object]] = {
    "pandas, with its index": lambda x: LABELLED[["label", *range(64)]].to_csv(x / "t.csv"),
    "pandas, label last, with its index": lambda x: LABELLED.to_csv(x / "t.csv"),
    "pandas, with a split": lambda x: LABELLED.assign(split="")[
        ["split", "label", *range(64)]
    ].to_csv(x / "t.csv", index=False),
    "Windows line ends, written twice": lambda x: (x / "t.csv").write_bytes(
        LABELLED.to_csv(index=False, lineterminator="\r\r\n").encode()
    ),
    "blank rows of a spreadsheet": lambda x: (x / "t.csv").write_text(
        LABELLED.to_csv(index=False).replace("\n", "\n" + "," * 64 + "\n", 9)
    ),
    "class directories of tables": class_directories_of_tables,
    "class directories of batches": lambda x: save_by_class(x, "{label}/batch_{batch}.npy"),
    "class directories of equal names": lambda x: save_by_class(x, "{label}/batch_{part}.npy"),
    "class directories in a split": lambda x: save_by_class(x, "train/{label}/{batch}.npy"),
    "Parquet in partitions": in_a_directory_of_parts,
    "one-hot labels": lambda x: np.savez(x / "a.npz", x=IMAGES, y=np.eye(10)[DIGITS[0]]),
    "images named digits": lambda x: np.savez(x / "a.npz", digits=DIGITS[1], labels=DIGITS[0]),
    "numbered archives of arrays": numbered_archives,
    "compressed files next to unpacked ones": with_a_copy_unpacked,
    "an archive next to its table": with_a_copy_in_an_archive,
    "Unicode names of macOS": composed_names,
    "names of macOS in the table as well": names_of_macos,
    "Parquet in partitions of two columns": directories_of_years,
    "file names in the last column": with_file_names_last,
    "numbered directories": numbered_directories,
    "a marker of Spark": with_a_marker,
    "a lookup of labels": with_a_lookup,
}


def read(path: Path) -> dict[bytes, str]:
    """The label of each image."""
    found: dict[bytes, str] = {}
    for labels, images in map(concatenate, read_user_data(path, 0.2)):
        found |= dict(zip((x.tobytes() for x in images), labels.tolist(), strict=True))
    return found


@pytest.mark.parametrize("layout", READ)
def test_exports_are_read(tmp_path: Path, layout: str) -> None:
    READ[layout](tmp_path)
    assert read(tmp_path) == dict(zip(AS_READ, LABELS.tolist(), strict=True))


@pytest.mark.parametrize(
    "layout",
    [
        pictures_with_their_archive,
        pictures_with_a_lookup,
        names_of_pictures_alone,
        with_submissions,
        a_picture_named_like_a_document,
    ],
)
def test_pictures_are_read_in_company(tmp_path: Path, layout: Callable[[Path], object]) -> None:
    layout(tmp_path)
    labels = np.char.add("digit ", LABELS)
    assert read(tmp_path) == dict(zip(AS_READ, labels, strict=True))


def test_images_in_a_directory_of_that_name_have_no_class(tmp_path: Path) -> None:
    write_pictures_named(tmp_path / "images")
    assert set(read(tmp_path).values()) == {"unlabelled"}


@pytest.mark.parametrize("fit", ["stretch", "pad", "mnist"])
def test_black_and_white_keep_their_grey_when_they_are_resized(tmp_path: Path, fit: Fit) -> None:
    large = np.array(draw_digits(60, seed=3)[1] > 99).repeat(2, 1).repeat(2, 2)
    np.savez(tmp_path / "a.npz", x_train=large, x_test=large[:40].astype(np.uint8))
    expected = concatenate(iter_images(tmp_path, fit=fit))[1].astype(int)
    assert expected.max() > 250
    np.savez(tmp_path / "a.npz", x_train=large * np.uint8(255), x_test=large[:40] * np.uint8(255))
    assert np.abs(concatenate(iter_images(tmp_path, fit=fit))[1] - expected).max() <= 1


def test_files_are_classes_where_not_all_are_in_directories(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    for row, name in enumerate(("cat", "more/dog")):
        np.save(tmp_path / f"{name}.npy", IMAGES[row::2])
    assert set(read(tmp_path).values()) == {"cat", "dog"}


def two_archives(path: Path) -> None:
    for name in ("train", "test"):
        write_pictures(path / name, DIGITS)
        zip_all(path / f"{name}.zip", path / name)
        (path / name).rename(path.with_name(f"{path.name}-{name}"))


def two_data_sets(path: Path) -> None:
    for name, (labels, images) in {"MNIST": DIGITS, "FashionMNIST": OTHERS}.items():
        (path / name / "raw").mkdir(parents=True)
        (path / name / "raw/train-images-idx3-ubyte").write_bytes(idx.encode(images))
        (path / name / "raw/train-labels-idx1-ubyte").write_bytes(idx.encode(labels))


def labels_of_nothing(path: Path) -> None:
    write_pictures_named(path)
    pd.DataFrame({"label": LABELS}).to_csv(path / "labels.csv")


def unknown_split(path: Path) -> None:
    for name in ("train", "eval"):
        write_pictures(path / name, DIGITS)


def a_blank_label(path: Path) -> None:
    np.save(path / "x_train.npy", DIGITS[1])
    labels = pd.Series(LABELS)
    labels[30] = ""
    (path / "y_train.csv").write_text("0\n" + "\n".join(labels))


def a_damaged_copy(path: Path) -> None:
    text = LABELLED.to_csv(index=False)
    (path / "t.csv.gz").write_bytes(gzip.compress(text.encode()))
    (path / "t.csv").write_text(text[: text.rfind("\n", 0, len(text) // 2) + 1])


def no_test_images(path: Path) -> None:
    for split, digits in {"train": DIGITS, "t10k": OTHERS}.items():
        (path / f"{split}-labels-idx1-ubyte").write_bytes(idx.encode(digits[0]))
        (path / f"{split}-images-idx3-ubyte").write_bytes(idx.encode(digits[1]))
    (path / "t10k-images-idx3-ubyte").write_bytes(b"")


def one_hot_columns(path: Path) -> None:
    pd.concat(
        [pd.get_dummies(LABELLED["label"], prefix="is"), PIXELS.add_prefix("p")], axis=1
    ).to_csv(path / "t.csv", index=False)


def one_hot_table(path: Path) -> None:
    np.save(path / "x_train.npy", DIGITS[1])
    pd.get_dummies(LABELLED["label"]).to_csv(path / "y_train.csv", index=False)


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "one-hot labels in a table": (one_hot_table, "of one-hot columns, save one"),
    "one-hot columns": (one_hot_columns, "of one-hot columns, save one column `label` instead"),
    "two archives": (two_archives, "unzip train.zip -d train`"),
    "two data sets": (two_data_sets, "are all images to train on; expected one of each split"),
    "labels of no picture in particular": (
        labels_of_nothing,
        "a label for each picture, but of which one? Add a column `path`",
    ),
    "a blank label": (a_blank_label, "y_train.csv: line 32 is blank, expected a label"),
    "a copy that is cut off": (a_damaged_copy, "probably the same data"),
    "a download that was cut off": (no_test_images, "t10k-images-idx3-ubyte: an empty file"),
    "several numbers per image": (
        lambda x: np.savez(x / "a.npz", x=IMAGES, y=np.c_[DIGITS[0] + 1, DIGITS[0] * 0]),
        "array y has shape (60, 2), expected a label for each image",
    ),
    "an unknown split": (unknown_split, "eval, train: classes or splits?"),
    "two columns next to the pixels": (
        lambda x: one_cell(x / "t.csv", category=LABELS, width=28),
        "line 1, columns category, width: it is unclear which one is the label",
    ),
    "objects": (
        lambda x: np.savez(x / "a.npz", x=IMAGES, y=LABELS.astype(object)),
        "array y contains pickled objects, which may run any code when they are loaded; save "
        "numbers, or texts with .astype(str)",
    ),
}


@pytest.mark.parametrize("layout", REFUSED)
def test_what_is_unclear_is_refused(tmp_path: Path, layout: str) -> None:
    write, message = REFUSED[layout]
    write(tmp_path)
    assert message in refusal(lambda: read(tmp_path))


@pytest.mark.parametrize("name", ["grades.csv", "labels.json", "voc/0.xml", "0.cls", "x.yaml"])
def test_labels_that_may_have_been_skipped_are_suspected(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    write_pictures_named(tmp_path / "images")
    read(tmp_path)
    assert "of one class" not in caplog.text
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("uid,grade\np0,5\n")
    caplog.set_level(logging.WARNING)
    read(tmp_path)
    assert "all images are of one class, unlabelled; if labels are in what was" in caplog.text


@pytest.mark.parametrize(("suffix", "shown"), [("heic", 20), ("npy", 3)])
def test_messages_about_many_files_are_short(tmp_path: Path, suffix: str, shown: int) -> None:
    for number in range(300):
        if suffix == "npy":
            np.save(tmp_path / f"{number}.npy", np.zeros((28, 28)))
        else:
            (tmp_path / f"{number}.heic").write_text("a photo")
    message = refusal(lambda: read(tmp_path))
    assert f" and {300 - shown} more" in message
    assert len(message) < 5000
