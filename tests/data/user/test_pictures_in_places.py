"""Pictures by their places and by tables of labels: what is unclear is refused by name."""

import os
from pathlib import Path

import numpy as np
import pytest
from helpers.digits import draw_digits, named, write_pictures
from helpers.reading import read_split, refused, write_images

from autoencoder.data.user.images import read_user_data

DIGITS = draw_digits(60, seed=3)
OTHERS = draw_digits(40, seed=11)
LABELS, IMAGES = named(DIGITS)


def label(path: Path, rows: dict[object, object], header: str = "id,label") -> None:
    path.write_text("\n".join([header, *(f"{name},{label}" for name, label in rows.items())]))


@pytest.mark.parametrize(
    "tables",
    [
        {"trainLabels.csv": DIGITS},
        {"train.csv": DIGITS},
        {"train.csv": DIGITS, "test.csv": OTHERS},
        {"train/metadata.csv": DIGITS, "test/metadata.csv": OTHERS},
        {"train/labels.csv": DIGITS},
    ],
)
def test_a_table_labels_pictures_below_it_of_its_split(
    tmp_path: Path, tables: dict[str, tuple[np.ndarray, np.ndarray]]
) -> None:
    write_images(tmp_path / "train", DIGITS[1])
    write_images(tmp_path / "test", OTHERS[1])
    for name, (labels, _) in tables.items():
        label(tmp_path / name, dict(enumerate(labels)))
    train, test = read_split(tmp_path)
    for (labels, images), digits in ((train, DIGITS), (test, OTHERS)):
        expected = {image.tobytes(): str(label) for label, image in zip(*digits, strict=True)}
        if digits is OTHERS and len(tables) == 1:
            expected = dict.fromkeys(expected, "unlabelled")
        found = dict(zip((image.tobytes() for image in images), labels.tolist(), strict=True))
        assert found == expected


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ("/home/ana/{}.png", "/home/ana/0.png, /home/ana/1.png, "),
        ("C:\\mine\\{}.png", "C:/mine/0.png, "),
        ("{}.jpg", "0.jpg, 1.jpg, 2.jpg, 3.jpg, 4.jpg and 15 more: no such picture below "),
        ("{}.PNG", "0.PNG, "),
        ("00{}", "000, "),
    ],
)
def test_lines_that_fit_no_picture_are_refused(tmp_path: Path, keys: str, message: str) -> None:
    write_images(tmp_path, DIGITS[1][:20])
    label(tmp_path / "labels.csv", {keys.format(n): n % 10 for n in range(20)})
    assert refused(tmp_path).startswith(f"{tmp_path}/labels.csv: {message}")
    (tmp_path / "more.csv").write_bytes((tmp_path / "labels.csv").read_bytes())
    both = f"{tmp_path}/labels.csv, {tmp_path}/more.csv: {message}"
    assert refused(tmp_path).startswith(both)


def test_lines_that_fit_two_pictures_are_refused(tmp_path: Path) -> None:
    write_images(tmp_path / "a", DIGITS[1][:20])
    write_images(tmp_path / "b", OTHERS[1][:20])
    label(tmp_path / "labels.csv", {f"{n}.png": n % 10 for n in range(20)})
    assert "labels.csv: 0.png, 1.png, 2.png, 3.png, 4.png and 15 more: no such" in refused(tmp_path)
    rows: dict[object, object] = {f"{part}/{n}.png": n % 10 for part in "ab" for n in range(20)}
    label(tmp_path / "labels.csv", rows)  # as the message says
    assert refused(tmp_path) == ""


def test_a_picture_with_two_labels_is_refused(tmp_path: Path) -> None:
    write_images(tmp_path, DIGITS[1][:20])
    rows: dict[object, object] = {n: n % 10 for n in range(20)}
    label(tmp_path / "labels.csv", rows | {"3.png": 5})
    assert "labels.csv: 3.png is 5, in another line 3; keep one line" in refused(tmp_path)
    label(tmp_path / "labels.csv", rows | {"3.png": 3})
    assert refused(tmp_path) == ""


def test_all_files_to_move_are_named_at_once(tmp_path: Path) -> None:
    write_pictures(tmp_path, DIGITS)
    for name in ("digit 1/a.heic", "digit 2/b.heic"):
        (tmp_path / name).write_text("hello")
    for name in ("digit 1/x.csv", "digit 2/x.csv"):
        (tmp_path / name).write_text("file,a,b\n1.png,1,2\n")
    message = refused(tmp_path)
    for some in (
        "digit 1/a.heic, {}/digit 2/b.heic: a picture in a format",
        "digit 1/x.csv, {}/digit 2/x.csv: line 1",
    ):
        assert f"{tmp_path}/{some}".replace("{}", str(tmp_path)) in message


def test_links_and_directories_that_may_not_be_read_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pictures(tmp_path / "mine", DIGITS)
    (tmp_path / "mine/digit 5").rename(tmp_path / "five")
    (tmp_path / "mine/digit 5").symlink_to(tmp_path / "five")
    assert refused(tmp_path / "mine").startswith(f"{tmp_path}/mine/digit 5: links to directories")
    (tmp_path / "mine/digit 5").unlink()
    scan = os.scandir

    def scandir(path: str) -> object:
        if str(path).endswith("digit 3"):
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(PermissionError, match="digit 3"):
        read_user_data(tmp_path / "mine", 0.2)


@pytest.mark.parametrize(
    "names",
    [("trainA", "trainB", "testA"), ("train2017", "val2014", "test2015"), ("test_1", "cat")],
)
def test_numbered_splits_are_no_classes(tmp_path: Path, names: tuple[str, ...]) -> None:
    for row, name in enumerate(names):
        write_images(tmp_path / name, DIGITS[1][row::3])
    assert "classes or splits? Name splits train" in refused(tmp_path)


@pytest.mark.parametrize("names", [("images", "masks"), ("imgs", "labels"), ("Images", "raw")])
def test_images_next_to_others_are_no_classes(tmp_path: Path, names: tuple[str, str]) -> None:
    for name in names:
        write_pictures(tmp_path / name, DIGITS)
    assert f"{names[0]}, {names[1]}: not classes by these names" in refused(tmp_path)


@pytest.mark.parametrize("names", [("test tube", "train station"), ("train", "cat"), ("v2", "x1")])
def test_classes_may_be_named_like_splits(tmp_path: Path, names: tuple[str, ...]) -> None:
    for row, name in enumerate(names):
        write_images(tmp_path / name, DIGITS[1][row::3])
    train, test = read_split(tmp_path)
    assert set(train[0]) | set(test[0]) == set(names)


@pytest.mark.parametrize(
    "folder", ["day{part}/{label}", "fold{part}/{label}", "images_{part}/Greek/character{label}"]
)
def test_classes_below_directories_are_suspected(
    tmp_path: Path, folder: str, caplog: pytest.LogCaptureFixture
) -> None:
    for row, image in enumerate(DIGITS[1]):
        path = tmp_path / folder.format(part=row % 2 + 1, label=row % 5)
        write_images(path, image[None], f"{row}.png")
    read_user_data(tmp_path, 0.2)
    assert "not the directories in them, although several have" in caplog.text
    caplog.clear()
    for path in sorted(tmp_path.rglob("*.png")):  # classes of one session each
        path.rename(path.parent.parent / f"{path.parent.name}-{path.name}")
    read_user_data(tmp_path, 0.2)
    assert "although several" not in caplog.text
