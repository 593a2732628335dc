"""The convert stage: classes are logged, black and white exchanged, files named as the user's."""

import re

import numpy as np
import pytest
from helpers.digits import Digits, named
from helpers.project import Project

from autoencoder.data import table

COMMAND = "stages.convert --raw data/raw --train data/train.csv --test data/test.csv"


@pytest.mark.parametrize("dataset", ["mnist", "data/incoming/mine.csv"])
def test_black_and_white_are_exchanged(
    project: Project, dataset: str, train_digits: Digits
) -> None:
    labels, images = named(train_digits)
    table.write(project.root / "data/raw/mine.csv", [(labels, images)])
    project.set_params(dataset=dataset)
    project.run_module(*COMMAND.split())
    before = [table.read(project.root / f"data/{name}.csv") for name in ("train", "test")]
    project.set_params(dataset=dataset, invert=True)
    output = project.run_module(*COMMAND.split())
    for name, (old_labels, old_images) in zip(("train", "test"), before, strict=True):
        new_labels, new_images = table.read(project.root / f"data/{name}.csv")
        assert (new_labels == old_labels).all()
        assert (new_images == 255 - old_images).all()
        count = (np.asarray(old_labels) == "0").sum()
        assert re.search(rf"^data/{name}.csv: 10 classes: 0: {count}, ", output, re.MULTILINE)


def test_a_fault_names_the_original(project: Project) -> None:
    (project.root / "data/raw/mine.csv").write_text("label,1\n")
    project.set_params(dataset="data/incoming/mine.csv")
    output = project.run_module(*COMMAND.split(), status=1)
    assert output.startswith("error: data/incoming/mine.csv: line 1 has 2 cells, expected 785")
