"""Codes of a table and of pictures: those of the model, to the last bit, in bounded memory."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from helpers.project import Project, peak_memory
from PIL import Image

from autoencoder.data import table
from autoencoder.network.model import Autoencoder, to_unit_range

OPTIONS = ("--model", "models/autoencoder.safetensors", "--images")


def encode(project: Project, images: Path | str, codes: Path, *flags: str, status: int = 0) -> str:
    arguments = (*OPTIONS, str(images), "--codes", str(codes), *flags)
    return project.run_module("tools.encode", *arguments, status=status)


def test_codes_are_those_of_the_model(ran: Project, tmp_path: Path) -> None:
    output = encode(ran, "data/test.csv", tmp_path / "codes.csv")
    assert output == f"{tmp_path}/codes.csv: latent codes of shape (100, 32)\n"
    labels, images = table.read(ran.root / "data/test.csv")
    model = Autoencoder.load(ran.root / "models/autoencoder.safetensors")
    with torch.no_grad():
        expected = model.encode(to_unit_range(torch.from_numpy(images)))
    found = pd.read_csv(tmp_path / "codes.csv", dtype={"label": str})
    assert list(found.columns) == ["label", *(f"z{number}" for number in range(32))]
    assert (found["label"] == labels).all()
    # Another process may multiply matrices otherwise, in the last bits.
    codes = found.iloc[:, 1:].to_numpy(np.float32)
    np.testing.assert_allclose(codes, expected, rtol=1e-5)
    with (tmp_path / "codes.csv").open() as file:
        next(file)
        for line, row in zip(file, codes, strict=True):
            assert line.rstrip().split(",")[1:] == [f"{number:.9g}" for number in row]


def test_a_table_without_header_and_pictures_give_the_same_codes(
    ran: Project, tmp_path: Path
) -> None:
    labels, images = table.read(ran.root / "data/test.csv")
    rows = (ran.root / "data/test.csv").read_text().splitlines(keepends=True)[1:]
    (tmp_path / "bare.csv").write_text("".join(rows))
    for row, (label, pixels) in enumerate(zip(labels, images, strict=True)):
        (tmp_path / "classes" / label).mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray(pixels.reshape(28, 28))
        picture.save(tmp_path / "classes" / label / f"{row:03}.png")
    found = []
    for name in ("bare.csv", "classes", "classes/3"):
        encode(ran, tmp_path / name, tmp_path / "codes.csv")
        found.append(pd.read_csv(tmp_path / "codes.csv", dtype={"label": str}))
    bare, by_class, threes = found
    in_order = bare.sort_values("label", kind="stable", ignore_index=True)
    pd.testing.assert_frame_equal(by_class, in_order, rtol=1e-5)
    assert list(threes["label"]) == [f"{row:03}.png" for row in range(3, 100, 10)]
    some = in_order[in_order["label"] == "3"].reset_index(drop=True)
    pd.testing.assert_frame_equal(
        threes.drop(columns="label"), some.drop(columns="label"), rtol=1e-5
    )


def test_a_pipe_may_be_closed_before_its_end(ran: Project, tmp_path: Path) -> None:
    stdout = tmp_path / "stdout"  # not the machine's own, which a mistake would replace
    stdout.symlink_to("/dev/stdout")
    command = f"python -m tools.encode {' '.join(OPTIONS)} data/test.csv --codes '{stdout}'"
    assert ran.run("bash", "-c", f"{command} | true; exit ${{PIPESTATUS[0]}}", status=1) == ""


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ("nowhere.csv", "nowhere.csv: No such file or directory"),
        ("stages", "stages: nothing but "),
    ],
)
def test_what_has_no_images_is_one_line(
    ran: Project, tmp_path: Path, images: str, message: str
) -> None:
    output = encode(ran, images, tmp_path / "codes.csv", status=1)
    assert output.startswith(f"error: {message}")
    assert output.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_opposite_of_the_training_images_is_reported_and_inverted(
    ran: Project, tmp_path: Path
) -> None:
    labels, images = table.read(ran.root / "data/test.csv")
    table.write(tmp_path / "white.csv", [(labels, 255 - images)])
    codes = tmp_path / "codes.csv"
    encode(ran, "data/test.csv", codes)
    expected = codes.read_text()
    assert "opposite of what the model was trained on" in encode(ran, tmp_path / "white.csv", codes)
    output = encode(ran, tmp_path / "white.csv", codes, "--invert")
    assert "opposite of" not in output
    assert codes.read_text() == expected


@pytest.mark.slow
def test_memory_does_not_grow_with_the_rows(ran: Project, tmp_path: Path) -> None:
    peaks = []
    # Large codes, next to which the few bytes that are kept of each image do not count.
    Autoencoder((4,), 256, "relu").save(tmp_path / "wide.safetensors", {})
    for count in (5_000, 20_000):
        rows = np.zeros((count, 784), np.uint8)
        rows[:, 400] = 255
        table.write(tmp_path / "many.csv", [(np.full(count, "0"), rows)])
        options = ("--model", "wide.safetensors", "--images", "many.csv", "--codes", "codes.csv")
        paths = [str(tmp_path / x) if "." in x else x for x in options]
        peaks.append(peak_memory(ran, "tools.encode", *paths))
        assert (tmp_path / "codes.csv").read_text().count("\n") == count + 1
    assert peaks[1] - peaks[0] < 8_000  # KiB; the codes of 15,000 rows take 15,000
