"""The parameters of a run: what params.yaml may hold, checked as a whole."""

import difflib
import reprlib
from collections.abc import Hashable, Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from autoencoder.errors import UserError

FILE = Path("params.yaml")

DATASETS = (
    *("mnist", "fashion-mnist", "kmnist", "qmnist"),
    *("emnist-balanced", "emnist-byclass", "emnist-bymerge"),
    *("emnist-digits", "emnist-letters", "emnist-mnist"),
)

_FORM = "lines of the form `z_size: 32`"


def _not_a_truth_value(value: object) -> object:
    """Refuse what pydantic would take for 0 or 1."""
    if isinstance(value, bool):
        raise ValueError("Input should be a number")
    return value


def _dataset(value: str) -> str:
    """Refuse what is neither the name of a published data set nor a path."""
    if value not in DATASETS and "/" not in value:
        raise ValueError(f"{', '.join(DATASETS)}, or a path below data/incoming")
    return value


def _address(value: str) -> str:
    """Refuse what fetch cannot open."""
    if not value.startswith(("http://", "https://", "file:/")):
        raise ValueError("an http://, https:// or file:/ address")
    return value


def _line(value: str) -> str:
    """Refuse what is no command."""
    if not (value.strip() and value.isprintable()):
        raise ValueError("a command of one line")
    return value


Dataset = Annotated[str, AfterValidator(_dataset)]
Address = Annotated[str, AfterValidator(_address)]
Line = Annotated[str, AfterValidator(_line)]
Integer = Annotated[int, BeforeValidator(_not_a_truth_value)]
Number = Annotated[float, BeforeValidator(_not_a_truth_value), Field(allow_inf_nan=False)]


class Params(BaseModel):
    """Every parameter, without defaults: params.yaml is the one place where a value stands.

    A text that reads as a number counts as one: DVC writes ``-S learning_rate=0.00001`` as
    ``1e-05``, which YAML takes for text.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    dataset: Dataset = Field(description="the data set, or the path of your own")
    mirror: Address | None = Field(description="base address to fetch from first, or null")
    test_fraction: Number = Field(
        gt=0, lt=1, description="share of your own images to test on; published sets tell"
    )
    z_size: Integer = Field(ge=1, le=4096, description="numbers in the latent code")
    activation: Literal["sigmoid", "tanh", "relu", "gelu", "silu"] = Field(
        description="activation of the hidden layers"
    )
    seed: Integer = Field(ge=0, lt=2**32, description="seed of split, weights, row order and noise")
    epochs: Integer = Field(ge=1, le=10**6, description="passes over the training rows, at most")
    batch_size: Integer = Field(ge=1, description="rows a step")
    learning_rate: Number = Field(gt=0, description="peak of the one-cycle schedule")
    weight_decay: Number = Field(ge=0, description="AdamW's weight decay")
    noise: Number = Field(ge=0, le=1, description="uniform noise added to the training inputs")
    validation_fraction: Number = Field(
        gt=0, lt=1, description="share of the training rows held out for validation"
    )
    patience: Integer = Field(ge=0, description="epochs without gain before stopping; 0: never")
    device: Literal["auto", "cpu", "cuda", "mps"] = Field(description="processor to train on")
    threads: Integer = Field(ge=1, le=1024, description="threads of the CPU for each process")
    # Not for a stage to read: DVC puts it into the command of train.
    launcher: Line = Field(description="what starts train: python -m, or torchrun")


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, refusing a key that stands twice instead of taking the last."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Build a value; name the line of a text that is not of its type, 2026-13-01 for one."""
        try:
            value = super().construct_object(node, deep)
            if isinstance(value, int):
                str(value)  # which Python refuses if it has thousands of digits
            return value
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            expected = f"expected a value of type {node.tag.rpartition(':')[2]}"
            raise yaml.constructor.ConstructorError(
                None, None, expected, node.start_mark
            ) from error

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Build a mapping, each key once."""
        seen: set[Hashable] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str) or key in seen:
                wrong = "stands twice" if isinstance(key, str) else "is not a name"
                raise yaml.constructor.ConstructorError(
                    None, None, f"{_short(key)} {wrong}", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


def read(names: Iterable[str], path: Path = FILE) -> Params:
    """Read and check the whole file; give out the parameters that were asked for.

    Parameters
    ----------
    names : iterable of str
        The parameters that the caller uses. The others raise AttributeError when read, so that a
        stage cannot come to depend on a parameter that it does not declare.
    path : Path
        A YAML mapping of parameter names to values.

    Raises
    ------
    UserError
        If the file is missing or not a mapping, or a parameter is unknown, missing, doubled, of the
        wrong type or out of range. The message is one line and names each parameter at fault.
    """
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), _Loader)  # noqa: S506 - a SafeLoader
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: {' '.join(str(error).split())}") from error
    except RecursionError as error:
        raise UserError(f"{path}: nested too deeply, expected {_FORM}") from error
    if not isinstance(values, dict):
        raise UserError(f"{path}: expected {_FORM}, found {_short(values)}")
    try:
        checked = Params.model_validate(values)
    except ValidationError as error:
        raise UserError(f"{path}: {'; '.join(map(_explain, error.errors()))}") from error
    return Params.model_construct(**{name: getattr(checked, name) for name in names})


def _short(value: object) -> str:
    """Few characters on one line, and little work, for any value."""
    return f"{reprlib.repr(value):.60}"


def _explain(error: Any) -> str:
    """One phrase for one of pydantic's errors."""
    name = ".".join(str(part) for part in error["loc"])
    if error["type"] == "missing":
        return f"{name} is missing"
    if error["type"] == "extra_forbidden":
        near = difflib.get_close_matches(name, Params.model_fields, n=1, cutoff=0)
        return f"{_short(name)} is not a parameter; did you mean {near[0]}?"
    expected = error["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    return f"{name} is {_short(error['input'])}, expected {expected}"
