"""The figures of sweeps: each kind of parameter on its own kind of axis."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation

from tools.sweep_plot import draw


def scores(name: str, values: list[Any], bce: list[float], pca: float = 0.017) -> pd.DataFrame:
    """A table as `tools.sweep` writes it, with the columns that the figure uses."""
    table = pd.DataFrame({name: values, "bce": bce, "bce_floor": 0.058})
    return table.assign(mse=table["bce"] / 20, mse_pca=pca)


def panels(figure: Figure) -> tuple[Axes, Axes]:
    figure.draw_without_rendering()
    left, right = figure.axes
    return left, right


def texts(axis: Axes) -> list[str]:
    return [text.get_text() for text in axis.texts]


def ticks(axis: Axes, side: str) -> list[str]:
    labels = getattr(axis, f"{side}axis").get_ticklabels(which="both")
    return [label.get_text() for label in labels if label.get_text()]


@pytest.mark.parametrize(
    ("values", "scale", "labels"),
    [
        ([64, 8, 32, 16], "log", ["8", "16", "32", "64"]),
        ([0.0, 0.5, 0.1, 0.25], "linear", ["0", "0.1", "0.25", "0.5"]),
        ([1e-5, 1e-4, 1e-3, 0.5], "log", ["0.00001", "0.0001", "0.001", "0.5"]),
        ([1, 2, 3, 4], "linear", ["1", "2", "3", "4"]),
        ([0, 1, 100, 1000000], "linear", ["0", "1000000"]),
    ],
)
def test_numbers_are_on_an_axis_with_plain_labels(
    values: list[float], scale: str, labels: list[str]
) -> None:
    for axis in panels(draw(scores("z_size", values, [0.10, 0.08, 0.07, 0.065]))):
        assert axis.get_xscale() == scale
        assert ticks(axis, "x") == labels
        assert all("$" not in text and "e" not in text for text in ticks(axis, "y"))
        assert np.ravel(axis.lines[-1].get_xdata()).tolist() == sorted(values)


def test_lines_are_named_next_to_their_ends_without_a_legend() -> None:
    close = scores("z_size", [8, 64], [0.10, 0.07], pca=0.0036)
    for axis, name in zip(
        panels(draw(close)), ("floor (entropy of the pixels)", "PCA of the same size"), strict=True
    ):
        assert axis.get_legend() is None
        assert set(texts(axis)) == {"autoencoder", name}
        first, second = (text.get_window_extent() for text in axis.texts)
        assert not first.overlaps(second)
        for text in axis.texts:
            assert isinstance(text, Annotation)
            assert text.get_window_extent().x0 > axis.transData.transform(text.xy)[0] + 4
            assert text.get_window_extent().x1 < axis.figure.bbox.x1


def test_a_baseline_far_from_the_scores_is_given_in_words() -> None:
    left, right = panels(draw(scores("z_size", [8, 16], [0.0725, 0.0724], pca=0.5)))
    assert left.get_title().endswith("floor (entropy of the pixels): 0.05800")
    assert right.get_title().endswith("PCA of the same size: 0.50000")
    assert left.get_ylim()[0] > 0.0723
    assert right.get_ylim()[1] < 0.1


@pytest.mark.parametrize(
    "values",
    [["relu", "silu", "tanh"], [[512, 256], [128], [64, 64, 64]], [True, False, None]],
)
def test_other_values_are_sorted_dots(values: list[Any]) -> None:
    left, right = panels(draw(scores("parameter", values, [0.074, 0.071, 0.080])))
    for axis in (left, right):
        dots = axis.lines[0]
        assert dots.get_linestyle() == "None"
        assert ticks(axis, "y") == [str(values[2]), str(values[0]), str(values[1])]
        assert (np.diff(np.ravel(dots.get_xdata())) < 0).all()  # from the bottom up
    assert {"0.07100", "0.07400", "0.08000"} <= set(texts(left))


def test_seeds_are_dots_in_a_band_as_high_as_the_seed_noise() -> None:
    bce = [0.07241, 0.07238, 0.07235, 0.07242]
    table = scores("seed", [0, 1, 2, 3], bce)
    noise = 3.18245 * 2**0.5 * table["bce"].std()  # Student's t of 3 degrees of freedom
    left, _ = panels(draw(table))
    dots, mean = left.lines
    assert dots.get_linestyle() == "None"
    assert np.ravel(dots.get_ydata()).tolist() == bce
    assert np.ravel(mean.get_ydata()) == pytest.approx(0.07239)
    (band,) = left.patches
    assert band.get_height() == pytest.approx(noise, rel=1e-5)  # type: ignore[attr-defined]
    assert texts(left) == ["mean 0.07239", f"seed noise {noise:.5f},\nthe height of the band"]
    low, high = left.get_ylim()
    assert high - low < 1.3 * noise  # not flattened by the floor
    assert all(text.startswith("0.07") for text in ticks(left, "y"))


def test_one_seed_has_no_band() -> None:
    left, _ = panels(draw(scores("seed", [0], [0.0724])))
    assert not left.patches
