"""The state of training runs on disk, so that an interrupted run resumes at its last epoch."""

import hashlib
import json
import logging
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save as encode
from torch import Tensor

from autoencoder.base.files import atomic_write
from autoencoder.base.provenance import differences

log = logging.getLogger(__name__)

_METADATA = "checkpoint"
# What reading a damaged file, or one that is no checkpoint, raises.
_DAMAGED = (SafetensorError, OSError, ValueError, LookupError, TypeError)


class Checkpoints:
    """The checkpoint of a run, next to those of other runs that were interrupted.

    Each has the digest of its lineage as its name, so a run with other inputs, after a typo in a
    parameter for instance, does not touch the checkpoint of the run before it.
    """

    KEPT = 3  # at most, the one of this run included; the oldest ones are deleted

    def __init__(self, directory: Path, lineage: Mapping[str, Any]) -> None:
        self.directory = directory
        self.lineage: dict[str, Any] = json.loads(json.dumps(lineage))
        name = hashlib.sha256(json.dumps(self.lineage).encode()).hexdigest()
        self.path = directory / f"{name[:12]}.safetensors"

    def save(self, state: Mapping[str, Tensor], epoch: int) -> None:
        """Write the state of this run after an epoch."""
        tensors = {name: value.cpu() for name, value in state.items()}
        facts = {"lineage": self.lineage, "epoch": epoch, "sha256": _digest(tensors)}
        with atomic_write(self.path) as partial:
            partial.write_bytes(encode(tensors, {_METADATA: json.dumps(facts)}))
        for path in self._others()[self.KEPT - 1 :]:
            path.unlink(missing_ok=True)

    def load(self) -> dict[str, Tensor] | None:
        """Read the state of this run; log that it resumes, and which other runs could.

        Returns None if this run has no checkpoint, or it is damaged, which is logged.
        """
        for path in self._others():
            with suppress(*_DAMAGED), safe_open(path, "pt") as file:
                facts = _facts(file)
                reason = "; ".join(differences(facts["lineage"], **self.lineage))
                log.info("%s: kept, epoch %d of another run: %s", path, facts["epoch"], reason)
        try:
            with safe_open(self.path, "pt") as file:
                facts = _facts(file)
                state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            if facts["lineage"] != self.lineage or facts["sha256"] != _digest(state):
                raise ValueError("its digest does not match")
            log.info("%s: resuming after epoch %d", self.path, facts["epoch"])
        except FileNotFoundError:
            return None
        except _DAMAGED as error:
            log.warning("%s: damaged (%s), training starts at the first epoch", self.path, error)
            return None
        return state

    def delete(self) -> None:
        """Delete the checkpoint of this run."""
        self.path.unlink(missing_ok=True)

    def _others(self) -> list[Path]:
        """Return the checkpoints of other runs, the newest first."""
        paths = [path for path in self.directory.glob("*.safetensors") if path != self.path]
        return sorted(paths, key=lambda path: path.stat().st_mtime_ns, reverse=True)


def _facts(file: Any) -> dict[str, Any]:
    """Read what `Checkpoints.save` wrote next to the tensors."""
    facts: dict[str, Any] = json.loads((file.metadata() or {})[_METADATA])
    return facts


def _digest(state: Mapping[str, Tensor]) -> str:
    """Compute the SHA-256 of the names and the contents of tensors on the CPU."""
    digest = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.numpy().data)
    return digest.hexdigest()
