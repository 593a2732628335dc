"""Arrays of users: .npy, .npz and IDX files."""

import gzip
import os
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from helpers.digits import concatenate, draw_digits, named
from helpers.errors import refusal
from helpers.reading import check, check_split

from autoencoder.base.errors import UserError
from autoencoder.data import idx
from autoencoder.data.user.fit import fit_images
from autoencoder.data.user.images import iter_images

TRAIN, TEST, VALIDATION = (draw_digits(count, seed=count) for count in (50, 30, 20))
PARTS = {"train": TRAIN, "val": VALIDATION, "test": TEST}


TRAIN_AND_VALIDATION = (
    np.concatenate([TRAIN[0], VALIDATION[0]]),
    np.concatenate([TRAIN[1], VALIDATION[1]]),
)


def test_keras(tmp_path: Path) -> None:
    keys: dict[str, Any] = {"x_test": TEST[1], "x_train": TRAIN[1]}
    np.savez(tmp_path / "a.npz", **keys, y_train=TRAIN[0], y_test=TEST[0])
    check_split(tmp_path / "a.npz", TRAIN, TEST)


@pytest.mark.parametrize(
    ("images_name", "labels_name"), [("_images", "_labels"), ("Images", "Labels")]
)
def test_medmnist(tmp_path: Path, images_name: str, labels_name: str) -> None:
    arrays: dict[str, Any] = {}
    for name, (labels, images) in PARTS.items():
        arrays |= {f"{name}{images_name}": images, f"{name}{labels_name}": labels[:, None]}
    np.savez_compressed(tmp_path / "a.npz", **arrays)
    check_split(tmp_path / "a.npz", TRAIN_AND_VALIDATION, TEST)


def test_a_file_for_each_split(tmp_path: Path) -> None:
    for name, (labels, images) in PARTS.items():
        np.savez(tmp_path / f"{name}.npz", images=images, labels=labels)
    check_split(tmp_path, TRAIN_AND_VALIDATION, TEST)


def test_images_and_labels(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=TRAIN[1], labels=TRAIN[0].astype(float))
    check(tmp_path / "a.npz", TRAIN)


FRACTIONS = (TRAIN[1] / 255).astype(np.float32)


@pytest.mark.parametrize(
    "values",
    [
        *(
            TRAIN[1].reshape(50, *shape)
            for shape in ((784,), (784, 1), (1, 784), (28, 28), (28, 28, 1), (1, 28, 28))
        ),
        *(
            TRAIN[1].reshape(50, 784).T.reshape(shape)
            for shape in ((28, 28, 50), (784, 50), (28, 28, 1, 50))
        ),
        *(TRAIN[1].astype(dtype) for dtype in (np.int64, np.float32)),
        np.stack([TRAIN[1]] * 3, 3),
        FRACTIONS,
        np.stack([FRACTIONS] * 3, 1),
    ],
    ids=lambda values: f"{values.dtype}{values.shape}",
)
def test_npy_of_any_shape_and_type(tmp_path: Path, values: np.ndarray) -> None:
    np.save(tmp_path / "a.npy", values)
    check(tmp_path / "a.npy", (np.full(50, "unlabelled"), TRAIN[1]))


def test_as_many_images_as_pixels_in_a_row(tmp_path: Path) -> None:
    for shape in ((28, 28, 28), (28, 28, 28, 1), (28, 1, 28, 28)):
        np.save(tmp_path / "a.npy", TRAIN[1][:28].reshape(shape))
        assert (concatenate(iter_images(tmp_path / "a.npy"))[1] == named(TRAIN)[1][:28]).all()


@pytest.mark.parametrize("place", [0, 20, 49])
def test_fractions_with_an_outlier_are_refused(
    tmp_path: Path, place: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autoencoder.data.user.batches.BATCH_BYTES", 16 * 784 * 8)
    values = TRAIN[1] / 255
    values[place, 14, 14] = 1.2
    np.save(tmp_path / "a.npy", values)
    message = refusal(lambda: list(iter_images(tmp_path / "a.npy")))
    assert f"image {place + 1} has a value 1.2, the maximum of all is 1.2; expected" in message


def test_a_dark_chunk_of_grey_values_is_no_fractions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autoencoder.data.user.batches.BATCH_BYTES", 1)
    values = TRAIN[1].astype(float)
    values[3] /= 255
    np.save(tmp_path / "a.npy", values)
    assert concatenate(iter_images(tmp_path / "a.npy"))[1][3].max() == 1


def test_other_sizes_are_resized(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", TRAIN[1].repeat(2, 1).repeat(2, 2))
    _, images = concatenate(iter_images(tmp_path / "a.npy"))
    assert abs(images.astype(int) - named(TRAIN)[1]).mean() < 10


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_idx_pairs(tmp_path: Path, suffix: str) -> None:
    encode = gzip.compress if suffix else bytes
    for prefix, (labels, images) in {"train": TRAIN, "t10k": TEST}.items():
        content = {"images-idx3": idx.encode(images), "labels-idx1": idx.encode(labels)}
        for name, data in content.items():
            (tmp_path / f"{prefix}-{name}-ubyte{suffix}").write_bytes(encode(data))
    check_split(tmp_path, TRAIN, TEST)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": np.array([TRAIN, None], dtype=object)}, "pickled objects"),
        ({"images": TRAIN[1], "labels": TRAIN[0][1:]}, "49 labels in labels"),
        ({"images": TRAIN[1].astype(int) * 100}, "image 1 has a value"),
        ({"images": TRAIN[1] * np.nan}, "has a value nan, .*; replace or remove it"),
        (
            {"images": np.where(TRAIN[1] > 9, np.inf, 0)},
            "has a value inf, .*; replace or remove it",
        ),
        ({"images": TRAIN[1].reshape(-1)}, "expected at least one image"),
        ({"images": TRAIN[1].reshape(-1, 7, 4, 28, 1)}, "has shape"),
        ({"images": TRAIN[1], "labels": np.array(["a", "=1+1"] * 25)}, "would execute it"),
        ({"images": TRAIN[1], "labels": [7.0] * 49 + [np.inf]}, "label 50 in labels is inf, "),
        ({"images": TRAIN[1], "labels": [np.nan, *[7.0] * 49]}, "label 1 in labels is nan, "),
        ({"images": TRAIN[1], "y": np.eye(50, 10)}, r"y has shape \(50, 10\), .* also one-hot"),
        ({"images": np.zeros((48, 64, 3), np.uint8)}, "with n also for a single image"),
        ({"labels": TRAIN[0]}, "expected their images"),
        (
            {"images": TRAIN[1], "data": TRAIN[1][::-1]},
            r"array data, .*: array images are all images",
        ),
    ],
)
def test_what_is_not_images_is_refused(
    tmp_path: Path, arrays: dict[str, Any], message: str
) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(UserError, match=message) as caught:
        list(iter_images(tmp_path / "a.npz"))
    assert str(caught.value).startswith(f"{tmp_path}/a.npz: ")


@pytest.mark.parametrize("name", ["a.npy", "a-idx3-ubyte", "a.npz"])
def test_a_file_that_shrinks_while_it_is_read_is_refused(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = TRAIN[1].repeat(20, 0)
    if name.endswith(".npz"):
        np.savez(tmp_path / name, images=values)
    elif name.endswith(".npy"):
        np.save(tmp_path / name, values)
    else:
        (tmp_path / name).write_bytes(idx.encode(values))

    def shrink(*arguments: Any) -> Any:
        os.truncate(tmp_path / name, 1000)
        return fit_images(*arguments)

    monkeypatch.setattr("autoencoder.data.user.batches.BATCH_BYTES", 784)
    monkeypatch.setattr("autoencoder.data.user.images.fit_images", shrink)
    message = refusal(lambda: list(iter_images(tmp_path / name)))
    assert message.startswith(f"{tmp_path}/{name}: ")
    assert message.endswith("; replace it by a complete copy")


def test_the_one_array_of_an_archive_is_named_as_its_file(tmp_path: Path) -> None:
    for name, (_, images) in (("cat", TRAIN), ("dog", TEST)):
        np.savez(tmp_path / f"{name}.npz", images)
    labels, _ = concatenate(iter_images(tmp_path))
    assert [(labels == name).sum() for name in ("cat", "dog")] == [50, 30]


@pytest.mark.parametrize("batch_bytes", [1, 7 * 784, 10_000_000])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("axes", [(0, 1, 2, 3), (1, 2, 3, 0)])
def test_any_order_in_memory_is_read_in_blocks(
    tmp_path: Path,
    batch_bytes: int,
    order: Literal["C", "F"],
    axes: tuple[int, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("autoencoder.data.user.batches.BATCH_BYTES", batch_bytes)
    images = TRAIN[1][:20]
    colours = np.stack([images] * 3, 3)
    np.save(tmp_path / "a.npy", np.array(colours.transpose(axes), order=order))
    assert (concatenate(iter_images(tmp_path / "a.npy"))[1] == images.reshape(20, 784)).all()


@pytest.mark.parametrize("name", ["a.npz", "a.npy", "a-idx3-ubyte", "a-idx3-ubyte.gz"])
def test_a_damaged_file_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name.endswith(".npz"):
        np.savez(path, images=TRAIN[1])
    elif name.endswith(".npy"):
        np.save(path, TRAIN[1])
    else:
        content = idx.encode(TRAIN[1])
        path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    message = refusal(lambda: list(iter_images(path)))
    assert message.startswith(f"{path}: ")
    assert "dvc repro" not in message  # which would download a published file again


@pytest.mark.parametrize("name", ["a.npy", "a-idx3-ubyte", "a.npy.gz"])
def test_trailing_data_are_refused(tmp_path: Path, name: str) -> None:
    np.save(tmp_path / "one.npy", TRAIN[1])
    content = (tmp_path / "one.npy").read_bytes()
    content = idx.encode(TRAIN[1]) if name.endswith("ubyte") else content
    for rest in (content, b"\n"):
        whole = content + rest
        (tmp_path / name).write_bytes(gzip.compress(whole) if name.endswith("gz") else whole)
        message = refusal(lambda: list(iter_images(tmp_path / name)))
        assert f"{name}: more data after the array of shape (50, 28, 28)" in message


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((64, 64), r"save array\[None\], if it is 64 images, save array.reshape\(-1, 8, 8\)"),
        ((256, 256), r"save array.reshape\(-1, 16, 16\)"),
        ((28, 28), r"has shape \(28, 28\), expected"),
        ((1, 50, 28, 28), "has shape"),
        ((3, 50, 28, 28), "has shape"),
        ((4, 50, 28, 28), "has shape"),
        ((256, 110, 10), "has shape"),
    ],
)
def test_odd_axes_are_refused(tmp_path: Path, shape: tuple[int, ...], message: str) -> None:
    values = np.resize(TRAIN[1], shape)
    for name in ("a.npy", "images.npy"):
        np.save(tmp_path / name, values)
        with pytest.raises(UserError, match=message):
            list(iter_images(tmp_path / name))
    if "reshape" in message:  # the hint helps
        side = round(shape[0] ** 0.5)
        for array, count in ((values[None], 1), (values.reshape(-1, side, side), shape[0])):
            np.save(tmp_path / "a.npy", array)
            assert len(concatenate(iter_images(tmp_path / "a.npy"))[0]) == count


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_versions_of_npy(tmp_path: Path, version: tuple[int, int]) -> None:
    with (tmp_path / "a.npy").open("wb") as file:
        np.lib.format.write_array(file, TRAIN[1], version)
    assert (concatenate(iter_images(tmp_path / "a.npy"))[1] == named(TRAIN)[1]).all()


@pytest.mark.parametrize("damage", [b"{'descr': ('", b"[[", b"{'a", b"\xff\xff"])
def test_a_damaged_header_is_refused(tmp_path: Path, damage: bytes) -> None:
    np.save(tmp_path / "a.npy", TRAIN[1])
    content = bytearray((tmp_path / "a.npy").read_bytes())
    content[10 : 10 + len(damage)] = damage
    (tmp_path / "a.npy").write_bytes(content)
    message = refusal(lambda: list(iter_images(tmp_path / "a.npy")))
    assert f"{tmp_path}/a.npy: cannot be read as an array" in message


def test_an_array_that_is_no_image_is_left_out(tmp_path: Path) -> None:
    arrays: dict[str, Any] = {"mapping": np.arange(20).reshape(10, 2), "images": TRAIN[1]}
    np.savez(tmp_path / "a.npz", **arrays, labels=TRAIN[0])
    check(tmp_path / "a.npz", TRAIN)


def test_labels_of_idx_may_be_of_any_type(tmp_path: Path) -> None:
    labels = TRAIN[0][:, None].astype(">i4")
    header = bytes([0, 0, 12, 2]) + np.array(labels.shape, ">u4").tobytes()
    (tmp_path / "train-labels-idx1-int").write_bytes(header + labels.tobytes())
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx.encode(TRAIN[1]))
    assert concatenate(iter_images(tmp_path))[0].tolist() == named(TRAIN)[0].tolist()
