"""The parameters of a run: the contents of params.yaml, validated as a whole."""

import difflib
import os
import reprlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from autoencoder.base.errors import UserError, one_line
from autoencoder.base.files import named_errors

FILE = Path("params.yaml")

MAX_LAYERS, MAX_WIDTH = 8, 4096

_SECRET = "secret"  # noqa: S105 - the type of an error
_EXAMPLE = "lines such as `z_size: 32`"


def _reject_bool(value: object) -> object:
    """Reject booleans, which pydantic would convert to 0 or 1."""
    if isinstance(value, bool):
        raise ValueError("Input should be a number")
    return value


def _check_address(value: str) -> str:
    """Reject what is not the address of a directory or bucket, or contains a secret."""
    scheme, separator, rest = value.partition(":/")
    host = "" if scheme == "file" else rest.removeprefix("/").partition("/")[0]
    if "@" in host or "?" in rest:
        raise PydanticCustomError(
            _SECRET,
            "contains @ or ?, and so perhaps a password or token, which would be shared with "
            "params.yaml: expected an address without; ~/.netrc and fsspec's configuration are the "
            "places for them",
        )
    if not (separator and scheme.isascii() and scheme.isalnum() and value.isprintable()):
        raise ValueError("an address such as https://…, file:///… or s3://…")
    return value


def _check_command(value: str) -> str:
    """Reject what is not a command on a single line."""
    if not (value.strip() and value.isprintable()):
        raise ValueError("a single-line command")
    return value


def _check_widths(value: object) -> tuple[int, ...]:
    """Reject what is not a list of widths of layers."""
    widths = value if isinstance(value, list) else []
    if not 1 <= len(widths) <= MAX_LAYERS or not all(
        type(width) is int and 1 <= width <= MAX_WIDTH for width in widths
    ):
        raise ValueError(
            f"one to {MAX_LAYERS} whole numbers from 1 to {MAX_WIDTH}, such as [512, 256]"
        )
    return tuple(widths)


def _reject_number(value: object) -> object:
    """Reject numbers, which pydantic would take for true or false."""
    if not isinstance(value, bool) and value != "auto":
        raise ValueError("true, false or auto")
    return value


Activation = Literal["sigmoid", "tanh", "relu", "gelu", "silu"]
Address = Annotated[str, AfterValidator(_check_address)]
Command = Annotated[str, AfterValidator(_check_command)]
# A path may lead through `..`.
NameOrPath = Annotated[str, Field(min_length=1), AfterValidator(os.path.normpath)]
Inversion = Annotated[Literal[True, False, "auto"], BeforeValidator(_reject_number)]
Integer = Annotated[int, BeforeValidator(_reject_bool)]
Number = Annotated[float, BeforeValidator(_reject_bool)]
Widths = Annotated[tuple[int, ...], BeforeValidator(_check_widths)]


class Params(BaseModel):
    """Every parameter, without defaults: params.yaml alone sets values, and explains them."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    dataset: NameOrPath
    mirror: Address | None
    test_fraction: Number = Field(gt=0, lt=1)
    invert: Inversion
    fit: Literal["stretch", "pad", "mnist"]
    hidden_sizes: Widths
    z_size: Integer = Field(ge=1, le=MAX_WIDTH)
    activation: Activation
    seed: Integer = Field(ge=0, lt=2**32)
    epochs: Integer = Field(ge=1, le=10**6)
    batch_size: Integer = Field(ge=1)
    learning_rate: Number = Field(gt=0)
    weight_decay: Number = Field(ge=0)
    noise: Number = Field(ge=0, le=1)
    validation_fraction: Number = Field(gt=0, lt=1)
    patience: Integer = Field(ge=0)
    device: Literal["auto", "cpu", "cuda", "mps"]
    # Not read by a stage: DVC inserts it into the command of train.
    launcher: Command


def explain(names: Iterable[str], path: Path = FILE) -> list[str]:
    """Return the lines that set some parameters, each with its comment, as far as there are any."""
    lines = path.read_text(errors="replace").splitlines() if path.is_file() else []
    return [line for line in lines if line.partition(":")[0] in names]


def read_params(names: Iterable[str], path: Path = FILE) -> Params:
    """Read and validate the whole file; return the parameters that were asked for.

    Reading any other raises AttributeError, so that a stage cannot depend on a parameter that it
    does not declare. Raises UserError if the file is not valid, and OSError if it cannot be read.
    """
    with named_errors(path):
        content = path.read_bytes()
    checked = validate_params(parse_params(content, path), path)
    return Params.model_construct(**{name: getattr(checked, name) for name in names})


def parse_params(content: bytes, source: object = FILE) -> dict[str, Any]:
    """Parse the contents of params.yaml, without validation.

    Raises UserError if they are not a YAML mapping; the message begins with `source`.
    """
    try:
        # DVC's parser. PyYAML reads some values differently: 010 is 8 there and 10 here.
        values = YAML(typ="safe").load(content.decode())
    except RecursionError as error:
        raise UserError(f"{source}: nested too deeply, expected {_EXAMPLE}") from error
    except (YAMLError, ValueError, LookupError) as error:  # of values such as 2026-13-01, too
        raise UserError(f"{source}: {one_line(error)}, expected {_EXAMPLE}") from error
    if not isinstance(values, dict):
        raise UserError(f"{source}: expected {_EXAMPLE}, found {_short(values)}")
    return values


def validate_params(values: Mapping[str, Any], source: object = FILE) -> Params:
    """Validate the values of all parameters.

    Raises UserError if one is unknown, missing, of the wrong type or out of range. The message is
    one line, begins with `source` and names every parameter at fault.
    """
    try:
        return Params.model_validate(values)
    except ValidationError as error:
        raise UserError(f"{source}: {'; '.join(map(_explain, error.errors()))}") from error


def _short(value: object) -> str:
    """Show any value in a few characters on one line, with little work."""
    try:
        return f"{reprlib.repr(value):.60}"
    except ValueError:  # Python refuses to convert integers of thousands of digits
        return f"{type(value).__name__} of thousands of digits"


def _explain(error: Any) -> str:
    """Turn one of pydantic's errors into a phrase."""
    name = ".".join(str(part) for part in error["loc"])
    if error["type"] == _SECRET:  # the value is not shown
        return f"{name} {error['msg']}"
    if error["type"] == "missing":
        return f"{name} is missing"
    if error["type"] in ("extra_forbidden", "invalid_key"):
        near = difflib.get_close_matches(name, Params.model_fields, n=1, cutoff=0)
        return f"{_short(name)} is not a parameter; did you mean {near[0]}?"
    expected = error["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    return f"{name} is {_short(error['input'])}, expected {expected}"
