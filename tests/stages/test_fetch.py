"""The fetch stage: a data set that does not exist is reported."""

import re

import pytest
from helpers.project import Project

NOT_A_NAME = "params.yaml: dataset is '{}', expected mnist, .* path below data/incoming"


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        ("data/incoming/none.csv", "data/incoming/none.csv: nothing there"),
        ("data/incoming/.mine.csv", r"data/incoming/\.mine\.csv: hidden"),
        ("data/incoming/", NOT_A_NAME.format("data/incoming")),
        ("data/incoming/../raw", NOT_A_NAME.format("data/raw")),
        ("/etc/passwd", NOT_A_NAME.format("/etc/passwd")),
        ("mnsit", NOT_A_NAME.format("mnsit")),
    ],
)
def test_a_data_set_that_is_none_is_named(
    fresh_project: Project, dataset: str, message: str
) -> None:
    fresh_project.set_params(dataset=dataset)
    command = "stages.fetch --incoming data/incoming --raw data/raw"
    output = fresh_project.run_module(*command.split(), status=1)
    assert re.fullmatch(f"error: {message}.*\n", output)
