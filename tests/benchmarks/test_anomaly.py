"""The anomaly score and its AUROC."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.digits import Digits, named
from helpers.project import Project
from hypothesis import given
from hypothesis import strategies as st

from autoencoder.data import table
from benchmarks.anomaly import auroc

SCORES = st.lists(st.integers(0, 9) | st.floats(-1, 1), min_size=1, max_size=30)


@given(normal=SCORES, anomalous=SCORES)
def test_auroc_is_the_share_of_pairs_in_order(normal: list[float], anomalous: list[float]) -> None:
    pairs = [(a, b) for a in normal for b in anomalous]
    share = sum(1.0 if a < b else 0.5 if a == b else 0.0 for a, b in pairs) / len(pairs)
    assert auroc(np.array(normal, float), np.array(anomalous, float)) == pytest.approx(
        share, rel=1e-12
    )


@pytest.mark.slow
def test_negatives_are_detected(ran: Project, tmp_path: Path, test_digits: Digits) -> None:
    project = Project(tmp_path / "project")
    for name in ("autoencoder", "benchmarks", "models", "data", "params.yaml"):
        if (ran.root / name).is_dir():
            shutil.copytree(ran.root / name, project.root / name)
        else:
            shutil.copy(ran.root / name, project.root / name)
    labels, images = named(test_digits)
    table.write(tmp_path / "negatives.csv", [(labels[:40], 255 - images[:40])])
    output = project.run_module("benchmarks.anomaly", "../negatives.csv")
    (report,) = pd.read_csv(project.root / "benchmarks/anomaly.csv").to_dict("records")
    assert str(report) == output.splitlines()[-1]
    assert (report["other"], report["rows"]) == ("negatives", 40)
    assert report["bce_other"] > report["bce"]
    assert report["auroc"] == report["auroc_grey"] == 1


def test_usage_is_shown_without_a_file(ran: Project) -> None:
    output = ran.run_module("benchmarks.anomaly", status=2)
    assert "the following arguments are required: other" in output


def test_missing_file_is_reported_in_one_line(ran: Project) -> None:
    output = ran.run_module("benchmarks.anomaly", "nowhere.csv", status=1)
    assert output == "error: nowhere.csv: No such file or directory\n"
