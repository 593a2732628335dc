"""The pictures: what is in them, for any size of the code, and always the same bytes."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the name that PyTorch's own documentation gives it
from helpers.digits import Digits, named
from helpers.networks import network
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from autoencoder.network.metrics import per_image_losses
from autoencoder.network.model import Autoencoder, add_noise, to_unit_range
from autoencoder.plots import (
    code_grid,
    draw_losses,
    draw_reconstructions,
    draw_worst,
    median_row_per_label,
    save,
)

SHAPES = {1: (1, 1), 2: (1, 2), 3: (1, 3), 16: (4, 4), 32: (4, 8), 50: (5, 10), 64: (8, 8)}


@pytest.mark.parametrize(("z_size", "shape"), SHAPES.items())
def test_a_code_is_a_complete_rectangle(z_size: int, shape: tuple[int, int]) -> None:
    numbers = np.arange(z_size).reshape(shape)
    assert code_grid(z_size).tolist() == numbers.repeat(2, axis=1).tolist()


@pytest.mark.parametrize(
    ("z_size", "last_row"),
    [
        (5, [-1, 3, 3, 4, 4, -1]),
        (7, [-1, -1, 6, 6, -1, -1]),
        (31, [-1, -1, -1, -1, -1, 30, 30, -1, -1, -1, -1, -1]),
    ],
)
def test_the_last_row_of_a_code_without_a_rectangle_is_centred(
    z_size: int, last_row: list[int]
) -> None:
    grid = code_grid(z_size)
    assert grid[-1].tolist() == last_row
    assert sorted(grid[grid >= 0]) == sorted([*range(z_size)] * 2)


@given(st.integers(1, 4096))
def test_every_code_has_a_shape_that_can_be_looked_at(z_size: int) -> None:
    height, width = code_grid(z_size).shape
    assert height <= width / 2 <= 3 * height


@pytest.mark.parametrize(("z_size", "noise"), [(1, 0), (31, 0.5), (32, 0)])
def test_rows_of_originals_codes_reconstructions_and_differences(
    test_digits: Digits, z_size: int, noise: float
) -> None:
    labels, images = named((test_digits[0][:4], test_digits[1][:4]))
    model = Autoencoder((512, 256), z_size, "sigmoid").eval()
    figure = draw_reconstructions(model, labels, images, noise)

    x = to_unit_range(torch.from_numpy(images))
    seen = add_noise(x, noise, torch.Generator().manual_seed(0))
    with torch.no_grad():
        z = model.encode(seen)
        made = model.decode(z)
        bce = F.binary_cross_entropy(made, x, reduction="none").mean(1)
    grid = code_grid(z_size)
    codes = np.where(grid < 0, np.nan, z.numpy()[:, grid])
    expected = {
        "test image": (x.numpy(), (0, 1)),
        "noisy": (seen.numpy(), (0, 1)),
        "latent code": (codes, (0, 1)),
        "reconstruction": (made.numpy(), (0, 1)),
        "difference": ((made - x).numpy(), (-0.5, 0.5)),
    }
    if noise == 0:
        del expected["noisy"]
    rows = figure.axes[: len(expected)]
    for axis, (name, (values, limits)) in zip(rows, expected.items(), strict=True):
        assert axis.get_ylabel().split("\n")[0] == name
        for column, (image, value) in enumerate(zip(axis.images, values, strict=True)):
            assert image.get_clim() == limits
            assert column < image.get_extent()[0] < image.get_extent()[1] < column + 1
            drawn = np.ma.filled(image.get_array(), np.nan).ravel()  # type: ignore[arg-type]
            assert np.allclose(drawn, value.ravel(), atol=1e-6, equal_nan=True)
    below = [f"{loss:.3f}" for loss in bce]
    for axis, texts in ((rows[0], list("0123")), (rows[-1], below)):
        assert [label.get_text() for label in axis.get_xticklabels()] == texts
        assert axis.get_xticks().tolist() == [0.5, 1.5, 2.5, 3.5]
    bars = [
        [label.get_text() for label in bar.yaxis.get_ticklabels()]
        for axis in rows
        for bar in axis.child_axes
    ]
    assert bars == [["0", "1"], ["\N{MINUS SIGN}0.5", "0.5"]]


@pytest.mark.parametrize(("z_size", "noise"), [(1, 0), (32, 0), (32, 0.5)])
def test_tiles_are_square_and_so_are_the_numbers_of_a_code(
    test_digits: Digits, z_size: int, noise: float
) -> None:
    labels, images = named((test_digits[0][:3], test_digits[1][:3]))
    figure = draw_reconstructions(Autoencoder((512, 256), z_size, "sigmoid"), labels, images, noise)
    figure.draw_without_rendering()
    for axis in figure.axes[: 5 if noise else 4]:
        image = axis.images[0]
        box, (rows, columns) = image.get_window_extent(), image.get_array().shape  # type: ignore[union-attr]
        columns //= 2 if "latent" in axis.get_ylabel() else 1
        assert box.height / rows == pytest.approx(box.width / columns, rel=0.1)


def test_the_worst_are_in_rows_of_eight_with_number_class_and_bce(test_digits: Digits) -> None:
    labels, images = named((test_digits[0][:13], test_digits[1][:13]))
    model = network(torch.from_numpy(images), z_size=4)
    numbers = np.arange(101, 114)
    figure = draw_worst(model, labels, images, numbers)
    bce, _ = per_image_losses(model, torch.from_numpy(images))
    titles = [label.get_text() for axis in figure.axes[::3] for label in axis.get_xticklabels()]
    assert titles == [f"{number}\n{label}" for number, label in zip(numbers, labels, strict=True)]
    bottom = [label.get_text() for axis in figure.axes[2::3] for label in axis.get_xticklabels()]
    assert bottom == [f"{loss:.3f}" for loss in bce]
    assert [len(axis.images) for axis in figure.axes] == [8, 8, 8, 5, 5, 5]
    # Tiles of the second row, which has fewer, are as large as those of the first.
    figure.draw_without_rendering()
    first, second = (figure.axes[row].images[0].get_window_extent() for row in (0, 3))
    assert second.width == pytest.approx(first.width)
    assert second.height == pytest.approx(first.height)


def test_the_typical_image_of_a_class_has_its_median_bce() -> None:
    labels = np.array(["b", "a", "b", "b", "a", "c", "a", "a"])
    bce = np.array([0.3, 0.9, 0.1, 0.2, 0.5, 0.7, 0.8, 0.6])
    assert median_row_per_label(labels, bce).tolist() == [7, 3, 5]


def test_long_labels_do_not_reach_the_next_image(test_digits: Digits) -> None:
    images = test_digits[1][:2].reshape(-1, 784)
    model = network(torch.from_numpy(images), z_size=4)
    labels = np.array(["a" * 10, "b" * 300])
    for figure in (
        draw_reconstructions(model, labels, images),
        draw_worst(model, labels, images, np.array([10000, 10001])),
    ):
        figure.draw_without_rendering()
        first, second = (label.get_window_extent() for label in figure.axes[0].get_xticklabels())
        assert first.x1 < second.x0
        assert second.x1 < figure.bbox.x1


def losses(train: list[float], validation: list[float]) -> pd.DataFrame:
    epochs = range(1, len(train) + 1)
    return pd.DataFrame({"epoch": epochs, "train": train, "validation": validation})


def test_losses_are_drawn_with_the_best_epoch_marked_and_the_floor() -> None:
    (axis,) = draw_losses(losses([0.3, 0.2, 0.1], [0.3, 0.2, 0.25]), floor=0.05).axes
    train, validation, best, floor = axis.lines
    assert np.ravel(train.get_ydata()).tolist() == [0.3, 0.2, 0.1]
    assert np.ravel(validation.get_ydata()).tolist() == [0.3, 0.2, 0.25]
    assert np.ravel(best.get_xydata()).tolist() == [2, 0.2]
    assert set(np.ravel(floor.get_ydata())) == {0.05}
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("epoch", "BCE, mean over pixels")


def test_a_high_loss_of_the_first_epoch_does_not_flatten_the_others() -> None:
    (axis,) = draw_losses(losses([0.9, 0.10, 0.08], [0.5, 0.09, 0.07]), floor=0.06).axes
    bottom, top = axis.get_ylim()
    assert bottom < 0.06
    assert 0.10 < top < 0.11
    assert "epoch 1: training 0.9000, validation 0.5000" in axis.get_title()


def test_a_single_epoch_is_in_view() -> None:
    (axis,) = draw_losses(losses([0.3], [0.2]), floor=0.05).axes
    assert axis.get_ylim()[1] > 0.3


@pytest.mark.parametrize(
    ("last", "ticks"),
    [
        (1, [1]),
        (2, [1, 2]),
        (8, [1, 2, 3, 4, 5, 6, 7, 8]),
        (23, [1, 5, 10, 15, 20, 23]),
        (30, [1, 5, 10, 15, 20, 25, 30]),
        (31, [1, 5, 10, 15, 20, 25, 31]),
        (100, [1, 20, 40, 60, 80, 100]),
    ],
)
def test_the_last_epoch_has_a_tick(last: int, ticks: list[int]) -> None:
    (axis,) = draw_losses(losses([0.1] * last, [0.1] * last), floor=0.05).axes
    assert axis.get_xticks().tolist() == ticks


def test_a_picture_has_the_same_bytes_each_time(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        save(draw_losses(losses([0.3], [0.3]), floor=0.1), tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert "Software" not in Image.open(tmp_path / "a.png").info


def test_a_user_s_settings_change_no_byte_and_labels_are_text(
    test_digits: Digits, tmp_path: Path
) -> None:
    """As if set in a matplotlibrc: usetex would need LaTeX, and the label is no mathematics."""
    images = test_digits[1][:2].reshape(-1, 784)
    model = network(torch.from_numpy(images), z_size=4)
    labels = np.array([r"$\frac$", "$x_1$"])
    theirs: Any = {"text.usetex": True, "font.size": 30, "image.cmap": "jet", "savefig.dpi": 50}
    nothing: Any = {}
    for name, settings in (("plain.png", nothing), ("theirs.png", theirs)):
        with mpl.rc_context(settings):
            save(draw_reconstructions(model, labels, images), tmp_path / name)
    assert (tmp_path / "plain.png").read_bytes() == (tmp_path / "theirs.png").read_bytes()
