"""The container and the development container: what they are built from fits the project."""

import json
import re
import tomllib

from conftest import ROOT
from packaging.specifiers import SpecifierSet

LINES = (ROOT / "Dockerfile").read_text().replace("\\\n", "").splitlines()
STEPS = [line.split(maxsplit=1) for line in LINES if line and not line.startswith("#")]
CONTAINER = json.loads((ROOT / ".devcontainer/devcontainer.json").read_text())
COMMANDS = ["make", "repro", "test"]


def steps(instruction: str) -> list[str]:
    """What follows an instruction of the Dockerfile, wherever it stands there."""
    return [rest for word, rest in STEPS if word == instruction]


def debian_packages(text: str) -> set[str]:
    """The packages that a text asks Debian for."""
    (names,) = re.findall(r"apt-get install --yes --no-install-recommends ([a-z0-9 -]+)", text)
    return set(names.split())


def test_its_python_is_one_that_the_project_takes() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (image,) = steps("FROM")
    version = re.fullmatch(r"python:(\d+\.\d+)-slim-bookworm", image)
    assert version
    assert version[1] in SpecifierSet(project["requires-python"])


def test_debian_s_packages_are_those_that_the_commands_and_the_tests_use() -> None:
    assert debian_packages("\n".join(LINES)) == {"git", "make"} | debian_packages(
        (ROOT / ".ci/run").read_text()
    )


def test_the_build_sees_what_it_copies_and_no_more() -> None:
    sources = [name for copied in steps("COPY") for name in copied.split()[:-1]]
    first, *let_in = (ROOT / ".dockerignore").read_text().split()
    assert first == "*"
    assert let_in == [f"!{name}" for name in sources]
    assert all((ROOT / name).is_file() for name in sources)


def test_the_locked_packages_are_outside_of_the_checkout_and_the_user_s() -> None:
    assert [rest.split("&&")[-1].strip() for rest in steps("RUN")][-1].endswith("make setup")
    assert re.search(r"^VENV \?=", (ROOT / "Makefile").read_text(), re.MULTILINE)
    environment = dict(rest.split("=", maxsplit=1) for rest in steps("ENV"))
    (user,) = steps("USER")
    (checkout,) = steps("WORKDIR")
    assert environment["VENV"].startswith(f"/home/{user}/")
    assert not environment["VENV"].startswith(f"{checkout}/")
    words = [word for word, _ in STEPS]
    assert words.index("USER") < words.index("COPY"), "who installs is who may change"
    assert CONTAINER["remoteUser"] == user


def test_both_containers_run_the_two_commands() -> None:
    (command,) = steps("CMD")
    assert json.loads(command) == COMMANDS
    assert CONTAINER["postCreateCommand"].split() == COMMANDS


def test_the_development_container_is_built_from_the_same_file() -> None:
    folder = ROOT / ".devcontainer"
    assert (folder / CONTAINER["build"]["dockerfile"]).resolve() == ROOT / "Dockerfile"
    assert (folder / CONTAINER["build"]["context"]).resolve() == ROOT
