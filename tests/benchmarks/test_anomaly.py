"""The anomaly score: its AUROC is the share of pairs in the right order, and it is measured."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import Digits, Project, named
from hypothesis import given
from hypothesis import strategies as st

from autoencoder.data import table
from benchmarks.anomaly import auroc

SCORES = st.lists(st.integers(0, 9) | st.floats(-1, 1), min_size=1, max_size=30)


@given(usual=SCORES, odd=SCORES)
def test_auroc_is_the_share_of_pairs_in_order(usual: list[float], odd: list[float]) -> None:
    pairs = [(a, b) for a in usual for b in odd]
    share = sum(1.0 if a < b else 0.5 if a == b else 0.0 for a, b in pairs) / len(pairs)
    assert auroc(np.array(usual, float), np.array(odd, float)) == pytest.approx(share, rel=1e-12)


def test_another_kind_of_image_is_told_apart(
    ran: Project, tmp_path: Path, test_digits: Digits
) -> None:
    project = Project(tmp_path / "project")
    for name in ("benchmarks", "stages", "models", "data", "params.yaml"):
        if (ran.root / name).is_dir():
            shutil.copytree(ran.root / name, project.root / name)
        else:
            shutil.copy(ran.root / name, project.root / name)
    labels, images = named(test_digits)
    table.write(tmp_path / "negatives.csv", [(labels[:40], 255 - images[:40])])
    output = project.run(sys.executable, "-m", "benchmarks.anomaly", "../negatives.csv")
    (report,) = pd.read_csv(project.root / "benchmarks/anomaly.csv").to_dict("records")
    assert str(report) == output.strip()
    assert (report["other"], report["rows"]) == ("negatives", 40)
    assert report["bce_other"] > report["bce"]
    assert report["auroc"] == report["auroc_grey"] == 1


def test_what_has_no_images_is_one_line(ran: Project) -> None:
    command = (sys.executable, "-m", "benchmarks.anomaly", "nowhere.csv")
    output = ran.run(*command, status=1)
    assert output == "error: nowhere.csv: No such file or directory\n"
