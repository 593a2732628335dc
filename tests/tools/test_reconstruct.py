"""Reconstructions and scores: those of the model, as a table or a picture, in bounded memory."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the name used in PyTorch's documentation
from helpers.project import ROOT, Project, peak_memory
from PIL import Image

from autoencoder.data import table
from autoencoder.network.metrics import per_image_losses
from autoencoder.network.model import Autoencoder, to_unit_range
from tools.reconstruct import GRID_GREY, MAX_IMAGES, SCALE, image_grid

MODEL = ("--model", "models/autoencoder.safetensors")


def reconstruct(
    project: Project, images: Path | str, made: Path, scores: Path, status: int = 0
) -> str:
    paths = ("--images", str(images), "--reconstructions", str(made), "--scores", str(scores))
    return project.run_module("tools.reconstruct", *MODEL, *paths, status=status)


def test_a_table_and_scores_are_those_of_the_model(ran: Project, tmp_path: Path) -> None:
    made, scores = tmp_path / "made.csv", tmp_path / "scores.csv"
    output = reconstruct(ran, "data/test.csv", made, scores)
    assert output.splitlines()[-1] == f"{made}, {scores}"
    labels, images = table.read(ran.root / "data/test.csv")
    model = Autoencoder.load(ran.root / "models/autoencoder.safetensors")
    with torch.no_grad():
        expected = model.decode(model.encode(to_unit_range(torch.from_numpy(images)))).numpy()
    found_labels, found = table.read(made)
    assert (found_labels == labels).all()
    assert abs(found / 255 - expected).max() < 0.5001 / 255

    found_scores = pd.read_csv(scores, dtype={"label": str})
    assert list(found_scores.columns) == ["label", "bce", "bce_excess"]
    assert (found_scores["label"] == labels).all()
    bce, _ = per_image_losses(model, torch.from_numpy(images))
    np.testing.assert_allclose(found_scores["bce"], bce, rtol=1e-6)
    x = to_unit_range(torch.from_numpy(images)).double()
    entropies = F.binary_cross_entropy(x, x, reduction="none").mean(1)
    np.testing.assert_allclose(found_scores["bce_excess"], bce - entropies, atol=1e-7)


def test_grey_images_have_no_high_excess_and_percentiles_are_of_the_reference(
    ran: Project, tmp_path: Path
) -> None:
    """Every reconstruction of a grey image has a high BCE; that of white noise is bad as well."""
    noise = np.random.default_rng(0).integers(0, 256, (1, 784), np.uint8)
    some = table.read(ran.root / "data/test.csv").images[:3]
    strange = np.concatenate([np.zeros((1, 784), np.uint8), noise, some])
    table.write(tmp_path / "strange.csv", [(np.array(list("abcde")), strange)])
    made, scores = tmp_path / "made.csv", tmp_path / "scores.csv"
    for images, out in (
        ("data/test.csv", "all.csv"),
        (str(tmp_path / "strange.csv"), "scores.csv"),
    ):
        arguments = ["--images", images, "--reconstructions", str(made), "--reference"]
        arguments += ["data/test.csv", "--scores", str(tmp_path / out)]
        ran.run_module("tools.reconstruct", *MODEL, *arguments)
    found = pd.read_csv(scores)
    everything = pd.read_csv(tmp_path / "all.csv")
    assert found["percentile"][1] == 100
    for excess, percentile in zip(found["bce_excess"], found["percentile"], strict=True):
        below = 100 * (everything["bce_excess"] < excess - 1e-9).mean()
        assert percentile == pytest.approx(below, abs=1.01)  # the image itself is among them
    in_order = everything.sort_values("bce_excess")["percentile"]
    assert in_order.is_monotonic_increasing
    assert (in_order.iloc[0], in_order.iloc[-1]) == (0, 99)


def test_a_picture_shows_each_image_beside_its_reconstruction(ran: Project, tmp_path: Path) -> None:
    reconstruct(ran, "data/test.csv", tmp_path / "made.csv", tmp_path / "scores.csv")
    reconstruct(ran, "data/test.csv", tmp_path / "made.PNG", tmp_path / "again.csv")
    assert (tmp_path / "scores.csv").read_bytes() == (tmp_path / "again.csv").read_bytes()
    _, images = table.read(ran.root / "data/test.csv")
    _, made = table.read(tmp_path / "made.csv")
    with Image.open(tmp_path / "made.PNG") as picture:
        shown = np.asarray(picture)
    assert (shown == image_grid(images, made)).all()


@pytest.mark.parametrize("count", [1, 2, 7, 100, MAX_IMAGES])
def test_a_sheet_has_every_pair_once_in_order(count: int) -> None:
    rng = np.random.default_rng(count)
    images, made = rng.integers(0, 256, (2, count, 784), np.uint8)
    shown = image_grid(images, made)[::SCALE, ::SCALE]
    columns = shown.shape[1] // 61
    assert shown.shape == (-(-count // columns) * 32, columns * 61)
    rest = shown.copy()
    for number, (image, reconstruction) in enumerate(zip(images, made, strict=True)):
        top, left = number // columns * 32 + 2, number % columns * 61 + 2
        for pixels, start in ((image, left), (reconstruction, left + 29)):
            place = np.s_[top : top + 28, start : start + 28]
            assert (shown[place] == pixels.reshape(28, 28)).all()
            rest[place] = GRID_GREY
    assert (rest == GRID_GREY).all()
    height, width = shown.shape
    assert count < 7 or 0.7 < height / width < 1.4


@pytest.mark.parametrize(
    ("images", "made", "message"),
    [
        ("nowhere.png", "made.png", "nowhere.png: No such file or directory"),
        ("plots/loss.csv", "made.csv", "plots/loss.csv: line 1 has 3 cells, expected 785"),
        ("data/test.csv", "made.jpg", "made.jpg: expected a name that ends in .csv or .png"),
        ("data/test.csv", "scores.csv", "scores.csv: --reconstructions would overwrite --scores"),
        ("data/train.csv", "made.png", "made.png: over 400 images"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    ran: Project, tmp_path: Path, images: str, made: str, message: str
) -> None:
    output = reconstruct(ran, images, tmp_path / made, tmp_path / "scores.csv", status=1)
    assert message in output
    assert output.startswith("error: ")
    assert output.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_memory_does_not_grow_with_the_rows(ran: Project, tmp_path: Path) -> None:
    peaks = []
    made, scores = tmp_path / "made.csv", tmp_path / "scores.csv"
    for count in (6_000, 48_000):
        rows = np.zeros((count, 784), np.uint8)
        rows[:, 400] = 255
        table.write(tmp_path / "many.csv", [(np.full(count, "0"), rows)])
        paths = ("--images", str(tmp_path / "many.csv"), "--reconstructions", str(made))
        peaks.append(peak_memory(ran, "tools.reconstruct", *MODEL, *paths, "--scores", str(scores)))
        assert scores.read_text().count("\n") == count + 1
    assert peaks[1] - peaks[0] < 20_000  # KiB; the images of 42,000 rows take 32,000


@pytest.mark.process
def test_help_lists_inputs_and_outputs() -> None:
    output = Project(ROOT).run_module("tools.reconstruct", "--help")
    options = re.findall(r"^  --(\w+) PATH", output, re.MULTILINE)
    assert options == ["model", "images", "reference", "reconstructions", "scores"]
