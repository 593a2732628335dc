"""The preview shows what convert would read, without running a stage."""

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from helpers.digits import draw_digits, named, write_pictures
from helpers.project import ROOT, Project
from PIL import Image

from autoencoder.data import table

TRAIN, TEST = draw_digits(60, seed=3), draw_digits(30, seed=12)


@pytest.fixture
def incoming(fresh_project: Project) -> Path:
    path = fresh_project.root / "data/incoming/my digits"
    write_pictures(path / "train", TRAIN)
    write_pictures(path / "test", TEST)
    (path / "README.md").write_text("about")
    (path / "train/Thumbs.db").write_text("x")
    return path


def test_the_account_is_printed_and_images_of_each_class_drawn(
    fresh_project: Project, incoming: Path
) -> None:
    output = fresh_project.run_module("tools.preview", str(incoming))
    for part in (
        "pictures; 90 of 28x28",
        "values: 0 to 255",
        "ink: white on black",
        "training: 60 images, 10 classes: digit 0: 6, ",
        "test: 30 images, 10 classes: digit 0: 3, ",
        "skipped: README.md, 1 hidden",
        "preview.png: up to ten images of each class",
    ):
        assert part in output
    picture = np.asarray(Image.open(fresh_project.root / "preview.png"))
    digit = TRAIN[1][3].repeat(2, 0).repeat(2, 1)
    places = np.lib.stride_tricks.sliding_window_view(picture, digit.shape)
    assert (places[:, 160:200:2] == digit).all((2, 3)).any()
    assert not (fresh_project.root / "data/train.csv").exists()


def test_convert_logs_the_same_lines(project: Project) -> None:
    table.write(project.root / "data/raw/mine.csv", [named(TRAIN)])
    (project.root / "data/incoming/mine.csv").write_bytes(
        (project.root / "data/raw/mine.csv").read_bytes()
    )
    project.set_params(dataset="data/incoming/mine.csv")
    command = "stages.convert --raw data/raw --train data/train.csv --test data/test.csv"
    converted = project.run_module(*command.split()).splitlines()
    previewed = project.run_module("tools.preview", "data/incoming/mine.csv").splitlines()
    assert previewed[:-1] == converted[: len(previewed) - 1]
    assert len(previewed) > 5


@pytest.mark.parametrize("option", [["--invert"], ["--invert", "auto"], ["--fit", "mnist"]])
def test_options_replace_the_parameters(
    fresh_project: Project, incoming: Path, option: list[str]
) -> None:
    plain = fresh_project.run_module("tools.preview", str(incoming), "--out", "a.png")
    changed = fresh_project.run_module("tools.preview", str(incoming), "--out", "b.png", *option)
    if option[-1] != "auto":  # all are white on black
        a, b = ((fresh_project.root / name).read_bytes() for name in ("a.png", "b.png"))
        assert a != b
    assert ("exchanged" in changed) == ("--invert" in option)
    assert "exchanged" not in plain


def test_the_picture_may_not_replace_the_data(fresh_project: Project, incoming: Path) -> None:
    output = fresh_project.run_module(
        "tools.preview", str(incoming), "--out", str(incoming), status=1
    )
    assert "would overwrite" in output


@pytest.mark.process
@pytest.mark.parametrize(
    "data",
    [
        "$(touch pwned)",
        "`touch pwned`",
        "'; touch pwned; '",
        '"; touch pwned; "',
        "$(shell touch pwned)",
        "a b/$HOME",
        "--help",
        "x\\",
    ],
)
@pytest.mark.parametrize("where", ["argument", "environment"])
def test_make_passes_the_path_as_it_is(tmp_path: Path, data: str, where: str) -> None:
    (tmp_path / "bin").mkdir()
    python = tmp_path / "bin/python"
    python.write_text('#!/bin/sh\nprintf "%s\\n" "$@" > arguments\n')
    python.chmod(0o755)
    (tmp_path / "Makefile").write_text(
        (ROOT / "Makefile").read_text().replace("preview: setup", "preview:")
    )
    environment = {**os.environ, "VENV": str(tmp_path)}
    arguments = [f"DATA={data}"] if where == "argument" else []
    if not arguments:
        environment["DATA"] = data
    subprocess.run(["make", "preview", *arguments], cwd=tmp_path, env=environment, check=True)
    assert (tmp_path / "arguments").read_text() == f"-m\ntools.preview\n--\n{data}\n"
    assert not (tmp_path / "pwned").exists()
