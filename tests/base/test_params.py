"""params.yaml: every mistake is found before any work, and named."""

from pathlib import Path

import pytest
import yaml
from dvc.utils.serialize import parse_yaml
from helpers.errors import refusal
from helpers.project import PARAMS, ROOT, small_params
from hypothesis import given
from hypothesis import strategies as st

from autoencoder.base import params
from autoencoder.base.errors import UserError

GOOD = small_params()
ALL = list(params.Params.model_fields)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "params.yaml"


def test_the_committed_file_is_valid() -> None:
    params.read_params(ALL, ROOT / "params.yaml")


def test_the_small_project_has_a_value_for_every_parameter() -> None:
    assert list(PARAMS) == ALL, "tests/helpers/project.py: PARAMS needs a value for each parameter"


def test_values_are_read_as_written(path: Path) -> None:
    path.write_text(yaml.safe_dump(GOOD))
    assert params.read_params(ALL, path).model_dump(mode="json") == GOOD


# The first is what DVC makes of -S learning_rate=0.00001.
@pytest.mark.parametrize("text", ["1e-05", "010", "0o10", "0x10", "1_000", "0b11", "1:30", "1e1"])
def test_numbers_are_read_as_dvc_reads_them(path: Path, text: str) -> None:
    others = {name: value for name, value in GOOD.items() if name != "weight_decay"}
    path.write_text(f"{yaml.safe_dump(others)}weight_decay: {text}\n")
    value = parse_yaml(path.read_text(), path)["weight_decay"]
    if isinstance(value, str):
        assert "weight_decay" in refusal(lambda: params.read_params(ALL, path))
    else:
        assert params.read_params(ALL, path).weight_decay == value


def test_a_number_may_be_written_as_text_or_with_decimals(path: Path) -> None:
    path.write_text(yaml.safe_dump(GOOD | {"z_size": "16", "batch_size": 20.0, "noise": "0.5"}))
    read = params.read_params(ALL, path)
    assert (read.z_size, read.batch_size, read.noise) == (16, 20, 0.5)


def test_paths_are_normalised(path: Path) -> None:
    path.write_text(yaml.safe_dump(GOOD | {"dataset": "data/incoming/a/../b/"}))
    assert params.read_params(["dataset"], path).dataset == "data/incoming/b"


def test_only_declared_parameters_can_be_read(path: Path) -> None:
    path.write_text(yaml.safe_dump(GOOD))
    read = params.read_params(["seed"], path)
    assert read.seed == GOOD["seed"]
    with pytest.raises(AttributeError, match="z_size"):
        _ = read.z_size


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"z_size": 0}, "z_size is 0, expected greater than or equal to 1"),
        ({"z_size": True}, "z_size is True, expected a number"),
        ({"z_size": 2.5}, "z_size is 2.5, expected a valid integer"),
        ({"z_size": None}, "z_size is None, expected a valid integer"),
        ({"z_size": "many"}, "z_size is 'many', expected a valid integer"),
        ({"z_size": [16, 32]}, r"z_size is \[16, 32\], expected a valid integer"),
        ({"learning_rate": 0}, "learning_rate is 0, expected greater than 0"),
        ({"learning_rate": float("nan")}, "learning_rate is nan, expected a finite number"),
        ({"learning_rate": float("inf")}, "learning_rate is inf, expected a finite number"),
        ({"weight_decay": -0.1}, "weight_decay is -0.1, expected greater than or equal to 0"),
        ({"validation_fraction": 1}, "validation_fraction is 1, expected less than 1"),
        ({"noise": 1.5}, "noise is 1.5, expected less than or equal to 1"),
        ({"noise": -0.5}, "noise is -0.5, expected greater than or equal to 0"),
        ({"launcher": " "}, "launcher is ' ', expected a single-line command"),
        ({"launcher": "a\nb"}, r"launcher is 'a\\nb', expected a single-line command"),
        ({"epochs": 0}, "epochs is 0, expected greater than or equal to 1"),
        ({"batch_size": -1}, "batch_size is -1, expected greater than or equal to 1"),
        ({"patience": -1}, "patience is -1, expected greater than or equal to 0"),
        ({"seed": -1}, "seed is -1, expected greater than or equal to 0"),
        ({"activation": "sigmod"}, "activation is 'sigmod', expected 'sigmoid', 'tanh', 'relu'"),
        ({"device": "tpu"}, "device is 'tpu', expected 'auto', 'cpu', 'cuda' or 'mps'"),
        ({"dataset": 3}, "dataset is 3, expected a valid string"),
        ({"test_fraction": 0}, "test_fraction is 0, expected greater than 0"),
        ({"test_fraction": 1}, "test_fraction is 1, expected less than 1"),
        ({"mirror": "host/directory"}, "mirror is .host/directory., expected an address such as"),
        ({"mirror": 3}, "mirror is 3, expected a valid string"),
        ({"mirror": "http://me:pw@host/"}, "mirror contains @ or .*, and so perhaps a password"),
        (
            {"mirror": "https://host/?token=pw"},
            "mirror contains @ or .*, and so perhaps a password",
        ),
        ({"z_sise": 16}, "'z_sise' is not a parameter; did you mean z_size?"),
        ({"z_size": 0, "epochs": 0}, "z_size is 0.*; epochs is 0"),
    ],
)
def test_mistakes_are_named(path: Path, change: dict[str, object], message: str) -> None:
    path.write_text(yaml.safe_dump(GOOD | change))
    with pytest.raises(UserError, match=f"params.yaml: .*{message}") as caught:
        params.read_params([], path)
    assert "\n" not in str(caught.value)
    assert "pw" not in str(caught.value)


@pytest.mark.parametrize("name", ALL)
def test_missing_parameters_are_named(path: Path, name: str) -> None:
    path.write_text(yaml.safe_dump({key: GOOD[key] for key in ALL if key != name}))
    with pytest.raises(UserError, match=f"params.yaml: {name} is missing"):
        params.read_params([], path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected lines such as `z_size: 32`, found None"),
        ("z_size 32", "found 'z_size 32'"),
        ("z_size: [", "line 1"),
        ("z_size: !!python/object/apply:os.getcwd []", "could not determine a constructor"),
        ("seed: 1\nz_size: 2026-13-01\n", "expected lines such as"),
        ("z_size: !!int x", "expected lines such as|int of thousands of digits"),
        ("z_size: !!bool x", "expected lines such as"),
        ("z_size: 0x" + "f" * 9000, "expected lines such as|int of thousands of digits"),
        ("seed: 1\n? [a, b]\n: 2\n", "is not a parameter"),
        ("1: 2", "'1' is not a parameter"),
        ('"a\\nb": 2', r"'a\\nb' is not a parameter"),
        ("a: " + "[" * 500, "nested too deeply"),
        ("- &a [x, x, x]\n" + "- [*a, *a, *a]\n" * 9, r"found \[\['x', 'x', 'x'\], .{,60}$"),
        ("z_size: \0", "unacceptable character"),
        ("z_size: 1\n---\nz_size: 2\n", "expected a single document .*line 2"),
    ],
)
def test_damaged_files_are_named(path: Path, text: str, message: str) -> None:
    path.write_text(text)
    with pytest.raises(UserError, match=f"params.yaml: .*{message}") as caught:
        params.read_params([], path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ALL)
def test_a_value_of_another_kind_is_named(path: Path, name: str) -> None:
    other = 1 if name == "invert" else True
    for value in ([GOOD[name]], {"a": 1}, other, "", b"\xff"):
        path.write_text(yaml.safe_dump(GOOD | {name: value}))
        with pytest.raises(UserError, match=f"params.yaml: {name} is .*, expected ") as caught:
            params.read_params([], path)
        assert "\n" not in str(caught.value)


SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(), st.dates()
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(SCALARS, inner), max_leaves=5
)


@given(
    content=st.dictionaries(st.sampled_from(ALL) | st.text(), VALUES, max_size=4).map(
        lambda values: yaml.safe_dump(GOOD | values).encode()
    )
    | st.text("0123456789abefx_.:+-!&*[]{}'\"|>#%@~\t\n").map(lambda text: f"seed: {text}".encode())
    | st.binary()
)
def test_any_file_is_read_or_refused_in_one_line(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    message = refusal(lambda: params.read_params(ALL, path))
    assert message == "" or message.startswith(f"{path}: ")
    assert message.isprintable()
