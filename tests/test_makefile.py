"""The Makefile: what a user gives as the value of a variable reaches the program as it is."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.project import ROOT

pytestmark = pytest.mark.process

# Code for a shell, for make, or for both, and a name with spaces and quotes.
VALUES = [
    "main;touch broken",
    "$(shell touch broken)",
    "`touch broken`",
    "$$(touch broken)",
    "\"; touch broken; '",
    "my pages/it's (1)",
    "--option",
    "*",
    "range(8,17,8)",
    "a && touch broken | touch broken > broken",
]


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """A stand-in for the environment, whose python prints its arguments and $SEED, one a line."""
    program = tmp_path / "environment/bin/python"
    program.parent.mkdir(parents=True)
    program.write_text(
        f"#!{sys.executable}\n"
        "import os, sys\n"
        "print(*sys.argv[1:], os.environ.get('SEED', ''), sep='\\n')\n"
        "sys.exit(int(os.environ.get('STATUS', 0)))\n"
    )
    program.chmod(0o755)
    return tmp_path / "environment"


def make(environment: Path, *arguments: str, **variables: str) -> list[str]:
    """The arguments that a target gives to python, without its module; nothing is set up."""
    result = subprocess.run(
        [
            "make",
            "--silent",
            "--file",
            str(ROOT / "Makefile"),
            f"VENV={environment}",
            "--old-file=setup",
            "--old-file=repository",
            *arguments,
        ],
        cwd=environment.parent,
        env={name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ} | variables,
        capture_output=True,
        text=True,
        check=True,
    )
    assert sorted(environment.parent.iterdir()) == [environment], "a value was run as code"
    return result.stdout.splitlines()[2:]


@pytest.mark.parametrize("value", VALUES)
def test_no_value_is_code(environment: Path, value: str) -> None:
    for given, variables in ((True, {}), (False, {"BASE": value, "TOLERANCE": value})):
        options = [f"BASE={value}", f"TOLERANCE={value}"] if given else []
        found = make(environment, "review", *options, **variables)
        assert found == [f"--tolerance={value}", "--", value, ""]
    assert make(environment, "sweep", f"PARAM={value}", f"VALUES={value}") == [
        "--",
        value,
        value,
        "",
    ]
    assert make(environment, "explore", f"OUT={value}") == [f"--out={value}", ""]
    assert make(environment, "preview", f"DATA={value}") == ["--", value, ""]
    found = make(environment, "bench", f"NAME={value}", f"OTHER={value}")
    assert found == [f"--other={value}", value, ""]
    assert make(environment, "soak", f"SEED={value}")[-1] == value


def test_a_variable_that_is_not_given_has_its_default(environment: Path) -> None:
    assert make(environment, "review") == ["--", "main", ""]
    assert make(environment, "review", "BASE=") == ["--", "", ""]
    assert make(environment, "explore") == [""]
    assert make(environment, "sweep") == ["--", "z_size", "8,16,32,64", ""]
    assert make(environment, "sweep", "VALUES=8, 16")[2] == "8, 16"


def test_the_message_of_make_has_the_status_of_the_review(environment: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError) as error:
        make(environment, "review", STATUS="3")
    assert error.value.returncode == 2
    assert error.value.stderr.rstrip().endswith("Error 3")
