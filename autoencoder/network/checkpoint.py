"""The state of a training run on disk, so that an interrupted run resumes at its last epoch."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save as encode
from torch import Tensor

from autoencoder.files import atomic_write

_METADATA = "checkpoint"


def save(path: Path, state: Mapping[str, Tensor], fingerprint: Any) -> None:
    """Write the state of a training run.

    Parameters
    ----------
    path : Path
        The safetensors file to create or replace.
    state : mapping of str to Tensor
    fingerprint
        Whatever distinguishes this training run from others, as JSON values.
    """
    tensors = {name: value.cpu() for name, value in state.items()}
    with atomic_write(path) as partial:
        partial.write_bytes(encode(tensors, {_METADATA: json.dumps(fingerprint)}))


def load(path: Path, fingerprint: Any) -> dict[str, Tensor] | None:
    """Read a file that `save` wrote.

    Returns
    -------
    dict of str to Tensor, or None
        None if there is no readable checkpoint at `path` or it belongs to another run.
    """
    try:
        with safe_open(path, "pt") as file:
            if json.loads((file.metadata() or {})[_METADATA]) != fingerprint:
                return None
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (FileNotFoundError, SafetensorError, ValueError, KeyError):
        return None
