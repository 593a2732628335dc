"""The container installs the Debian packages that the checks need."""

import re

from helpers.project import ROOT


def debian_packages(text: str) -> set[str]:
    """Return the packages that a script installs with apt-get."""
    text = text.replace("\\\n", "")
    (names,) = re.findall(r"apt-get install --yes --no-install-recommends ([a-z0-9 -]+)", text)
    return set(names.split())


def test_container_has_the_packages_that_ci_installs() -> None:
    container = debian_packages((ROOT / "Dockerfile").read_text())
    assert container == {"git", "make"} | debian_packages((ROOT / ".ci/run").read_text())
