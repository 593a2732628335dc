"""The state of a training run on disk, so that an interrupted run resumes at its last epoch."""

import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save as encode
from torch import Tensor

from autoencoder.base.files import atomic_write

log = logging.getLogger(__name__)

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
    metadata = json.dumps({"fingerprint": fingerprint, "sha256": _digest(tensors)})
    with atomic_write(path) as partial:
        partial.write_bytes(encode(tensors, {_METADATA: metadata}))


def load(path: Path, fingerprint: Any) -> dict[str, Tensor] | None:
    """Read a file that `save` wrote.

    Returns
    -------
    dict of str to Tensor, or None
        None if there is no checkpoint at `path`, it belongs to another run, or it is damaged, which
        is logged.
    """
    try:
        with safe_open(path, "pt") as file:
            metadata = json.loads((file.metadata() or {})[_METADATA])
            if metadata["fingerprint"] != fingerprint:
                return None
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if metadata["sha256"] != _digest(state):
            raise ValueError("its digest does not match")
    except FileNotFoundError:
        return None
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        log.warning("%s: damaged (%s), training starts at the first epoch", path, error)
        return None
    return state


def _digest(state: Mapping[str, Tensor]) -> str:
    """Compute the SHA-256 of the names and the contents of tensors on the CPU."""
    digest = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.numpy().data)
    return digest.hexdigest()
