"""The state of a training run on disk, so that a stopped one goes on from its last epoch."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save as encode
from torch import Tensor

from autoencoder.files import replacing

_METADATA = "checkpoint"


def save(path: Path, state: Mapping[str, Tensor], run: Any) -> None:
    """Write the state of a training run.

    Parameters
    ----------
    path : Path
        The safetensors file to make or replace.
    state : mapping of str to Tensor
    run
        What tells one training run from another; JSON can hold it.
    """
    tensors = {name: value.cpu() for name, value in state.items()}
    with replacing(path) as partial:
        partial.write_bytes(encode(tensors, {_METADATA: json.dumps(run)}))


def load(path: Path, run: Any) -> dict[str, Tensor] | None:
    """Read what `save` wrote.

    Returns
    -------
    dict of str to Tensor, or None
        None if there is no checkpoint at `path`, or that of another run.
    """
    try:
        with safe_open(path, "pt") as file:
            if json.loads((file.metadata() or {})[_METADATA]) != run:
                return None
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (FileNotFoundError, SafetensorError, ValueError, KeyError):
        return None
