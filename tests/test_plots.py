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
from PIL import Image

from autoencoder.network.model import Autoencoder, add_noise, to_unit_range
from autoencoder.plots import code_image, draw_losses, draw_reconstructions, save


@pytest.mark.parametrize(
    ("z_size", "shape"), [(1, (1, 1)), (2, (1, 2)), (8, (3, 3)), (16, (4, 4)), (32, (6, 6))]
)
def test_code_image_holds_the_code_row_by_row(z_size: int, shape: tuple[int, int]) -> None:
    code = np.linspace(0, 1, z_size, dtype=np.float32)
    image = code_image(code)
    assert image.shape == shape
    assert (image.ravel()[:z_size] == code).all()
    assert np.isnan(image.ravel()[z_size:]).all()


@pytest.mark.parametrize("z_size", [1, 32, 50])
@pytest.mark.parametrize("noise", [0, 0.5])
def test_rows_of_originals_codes_and_reconstructions(
    test_digits: Digits, z_size: int, noise: float
) -> None:
    labels, images = named((test_digits[0][:10], test_digits[1][:10]))
    model = Autoencoder((512, 256), z_size, "sigmoid").eval()
    figure = draw_reconstructions(model, labels, images, noise)

    x = to_unit_range(torch.from_numpy(images))
    seen = add_noise(x, noise, torch.Generator().manual_seed(0))
    with torch.no_grad():
        z = model.encode(seen)
        expected = [x.numpy(), seen.numpy(), z.numpy(), model.decode(z).numpy()]
        bce = F.binary_cross_entropy(model.decode(z), x, reduction="none").mean(1)
    named_rows = ["test image", "noisy", "latent code", "reconstruction"]
    if noise == 0:
        del expected[1], named_rows[1]
    top, bottom = figure.axes[0], figure.axes[len(expected) - 1]
    for axis, name, values in zip(figure.axes, named_rows, expected, strict=False):
        assert axis.get_ylabel().split("\n")[0] == name
        for column, (image, value) in enumerate(zip(axis.images, values, strict=True)):
            assert image.get_clim() == (0, 1)
            assert column < image.get_extent()[0] < image.get_extent()[1] < column + 1
            drawn = np.asarray(image.get_array()).ravel()
            assert np.allclose(drawn[: len(value)], value, atol=1e-6)
    below = [f"{loss:.3f}" for loss in bce]
    for axis, texts in ((top, [str(digit) for digit in range(10)]), (bottom, below)):
        assert [label.get_text() for label in axis.get_xticklabels()] == texts
        assert axis.get_xticks().tolist() == [column + 0.5 for column in range(10)]


def test_long_labels_do_not_reach_the_next_image(test_digits: Digits) -> None:
    images = test_digits[1][:2].reshape(-1, 784)
    model = network(torch.from_numpy(images), z_size=4)
    figure = draw_reconstructions(model, np.array(["a" * 10, "b" * 300]), images)
    figure.draw_without_rendering()
    first, second = (label.get_window_extent() for label in figure.axes[0].get_xticklabels())
    assert first.x1 < second.x0
    assert second.x1 < figure.bbox.x1


def test_losses_are_drawn_with_the_best_epoch_marked() -> None:
    losses = pd.DataFrame(
        {"epoch": [1, 2, 3], "train": [0.3, 0.2, 0.1], "validation": [0.3, 0.2, 0.25]}
    )
    (axis,) = draw_losses(losses).axes
    train, validation, best = axis.lines
    assert np.ravel(train.get_ydata()).tolist() == [0.3, 0.2, 0.1]
    assert np.ravel(validation.get_ydata()).tolist() == [0.3, 0.2, 0.25]
    assert np.ravel(best.get_xydata()).tolist() == [2, 0.2]
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("epoch", "BCE, mean over pixels")


def test_a_picture_has_the_same_bytes_each_time(tmp_path: Path) -> None:
    losses = pd.DataFrame({"epoch": [1], "train": [0.3], "validation": [0.3]})
    for name in ("a.png", "b.png"):
        save(draw_losses(losses), tmp_path / name)
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
