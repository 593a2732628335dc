"""The state of a training run on disk, so that a stopped one goes on from its last epoch."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save as encode
from torch import Tensor

from stages.files import replacing

_METADATA = "checkpoint"


def save(path: Path, state: Mapping[str, Tensor], **facts: Any) -> None:
    """Write tensors and facts.

    Parameters
    ----------
    path : Path
        The safetensors file to make or replace.
    state : mapping of str to Tensor
    **facts
        What JSON can hold; `run`, which tells one training run from another, among them.
    """
    tensors = {name: value.cpu() for name, value in state.items()}
    with replacing(path) as partial:
        partial.write_bytes(encode(tensors, {_METADATA: json.dumps(facts)}))


def load(path: Path, run: Any) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Read what `save` wrote.

    Returns
    -------
    (state, facts), or None
        None if there is no checkpoint at `path`, or that of another run.
    """
    try:
        with safe_open(path, "pt") as file:
            facts = json.loads((file.metadata() or {})[_METADATA])
            if facts["run"] != run:
                return None
            return {name: file.get_tensor(name) for name in file.keys()}, facts  # noqa: SIM118
    except (FileNotFoundError, SafetensorError, ValueError, KeyError):
        return None
