"""The digest of a module, what a program computes and nothing else; differences of records."""

import re

import pytest
from helpers.project import ROOT

from autoencoder.base.provenance import differences, loaded_modules, module_digest

SOURCE = '''\
"""A module.

With several lines.
"""

import math  # a comment


def area(radius: float, label: str = "r # no comment") -> str:  # another
    """Compute an area."""

    text = f"""{label}:

      # not a comment   
    {radius!r:>{len(label)}}"""
    return (
        # why
        text + f"{math.pi * radius**2:.2f}"

        + 'x'
    )


class Empty(Exception):
    """Nothing but a docstring."""
'''  # noqa: W291 - a space in a string


def edited(pattern: str, replacement: str) -> bytes:
    text, count = re.subn(pattern, replacement, SOURCE, flags=re.MULTILINE)
    assert count, pattern
    return text.encode()


@pytest.mark.parametrize(
    ("pattern", "replacement"),
    [
        ("  # a comment", ""),
        ("# another", "# in other words: é"),
        (r'^"""A module.$', '"""Something\n\nelse.'),
        (r'^"""A module.\n\nWith several lines.\n"""\n', ""),
        ("Compute an area.", "Say how large."),
        ('    """Compute an area."""\n', ""),
        (r"^\n\nclass", "\n\n\n\n# Errors.\n\nclass"),
        (r"\n\n        \+ 'x'", "\n        + 'x'"),
        ("        # why\n", "\n\n"),
        ("Nothing but a docstring.", "Less."),
        (r"text \+ f", "text+f"),
        ("'x'", '"x"'),
    ],
)
def test_comments_docstrings_and_layout_do_not_count(pattern: str, replacement: str) -> None:
    assert module_digest(edited(pattern, replacement)) == module_digest(SOURCE.encode())


@pytest.mark.parametrize(
    ("pattern", "replacement"),
    [
        ("# no comment", "# none"),
        ("      # not a comment   $", ""),
        ("      # not a comment   $", "      # not a comment"),
        (r":\n\n      # not", r":\n      # not"),
        ("label: str", "name: str"),
        (r"\.2f", ".3f"),
        ("'x'", "'y'"),
        ("import math", "import math, os"),
        ("    return", "        return"),  # no longer Python
    ],
)
def test_code_counts(pattern: str, replacement: str) -> None:
    assert module_digest(edited(pattern, replacement)) != module_digest(SOURCE.encode())


def test_the_digest_is_the_same_with_every_python() -> None:
    """Python 3.12 has other syntax trees for f-strings than 3.11 and 3.13."""
    assert module_digest(SOURCE.encode()).startswith("137a7c6f4480b869")


def test_code_that_cannot_be_parsed_counts_as_a_whole() -> None:
    for content in (b"def (", b"x = '''", b"\xff", b"x = 1\n  y = 2\n"):
        assert module_digest(content) != module_digest(content + b"# a comment\n")


def test_every_module_of_the_project_can_be_read() -> None:
    for path in ROOT.glob("autoencoder/**/*.py"):
        content = path.read_bytes()
        assert module_digest(content) == module_digest(content + b"\n# a comment\n")


LINEAGE = {"parameters": {"z_size": 16, "seed": 0}, "train_md5": "a", "code": {"step.py": "1"}}
CURRENT = ({"z_size": 16, "seed": 0, "mirror": None}, "a", {"step.py": "1", "plots.py": "2"})


def test_the_current_inputs_differ_in_nothing() -> None:
    assert differences(LINEAGE, *CURRENT) == []


def test_the_environment_is_compared_if_it_is_given() -> None:
    trained = LINEAGE | {"device": "cpu"}
    assert differences(trained, *CURRENT) == []
    assert differences(trained, *CURRENT, device="cuda") == ["device was cpu, is cuda"]


def test_each_difference_is_named() -> None:
    assert differences(LINEAGE, {"z_size": 32}, "b", {}) == [
        "z_size was 16, is 32",
        "seed was 0, is None",
        "the training table was different",
        "step.py was different",
    ]


def test_a_model_that_says_nothing_was_made_from_something_else() -> None:
    assert differences({}, *CURRENT) == ["the training table was different"]


def test_loaded_modules_are_those_of_the_project_in_a_fixed_order() -> None:
    code = loaded_modules()
    name = "autoencoder/base/provenance.py"
    assert code[name] == module_digest((ROOT / name).read_bytes())
    assert {name.partition("/")[0] for name in code} <= {"autoencoder", "stages"}
    assert list(code) == sorted(code)
