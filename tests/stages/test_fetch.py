"""The fetch stage: a data set that does not exist is reported."""

import re

import pytest
from helpers.project import Project


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        ("data/incoming/none.csv", "data/incoming/none.csv: nothing there"),
        ("data/incoming/.mine.csv", r"data/incoming/\.mine\.csv: hidden"),
        *(
            (name, f"params.yaml: dataset is {path!r}, expected mnist, .* path below data/incoming")
            for name, path in (
                ("data/incoming/", "data/incoming"),
                ("data/incoming/../raw", "data/raw"),
                ("/etc/passwd", "/etc/passwd"),
                ("mnsit", "mnsit"),
            )
        ),
    ],
)
def test_a_data_set_that_is_none_is_named(
    fresh_project: Project, dataset: str, message: str
) -> None:
    fresh_project.set_params(dataset=dataset)
    command = "stages.fetch --incoming data/incoming --raw data/raw --record data/record"
    output = fresh_project.run_module(*command.split(), status=1)
    assert re.fullmatch(f"error: {message}.*\n", output)
