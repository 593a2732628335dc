"""Run everything from nothing in a clone and compare with what is recorded: `make verify`.

Raw files and tables must come out the same on every machine; the exit status is 1 if they do not.
Weights, and all that is computed from them, may differ in rounding on another processor or with
other packages; then it says by how much they do, and what in the environment differs.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from dvc.api import DVCFileSystem

from stages import InputError
from stages.autoencoder import Autoencoder, lineage
from stages.command import run

MODEL = "models/autoencoder.safetensors"
METRICS = "metrics/test.json"
PACKAGES = "requirements.lock"


@dataclass(frozen=True)
class Output:
    """What a stage writes, with its digest in two runs.

    Attributes
    ----------
    everywhere : bool
        Whether it must be the same on every machine: the stage does not depend on the packages.
    """

    stage: str
    path: str
    recorded: str
    found: str
    everywhere: bool

    @property
    def same(self) -> bool:
        """Whether both runs wrote the same bytes."""
        return self.recorded == self.found

    def __str__(self) -> str:
        word = "same" if self.same else "different"
        return f"{self.stage:14}{self.path:34}{self.recorded:38}{self.found:38}{word}"


def outputs(recorded: Mapping[str, Any], found: Mapping[str, Any]) -> list[Output]:
    """Put the outputs of two runs of one dvc.yaml beside one another.

    Parameters
    ----------
    recorded, found : mapping
        What their dvc.lock files hold.
    """
    return [
        Output(
            *(stage, before["path"], before["md5"], after["md5"]),
            everywhere=PACKAGES not in [dependency["path"] for dependency in entry["deps"]],
        )
        for stage, entry in recorded["stages"].items()
        for before, after in zip(entry["outs"], found["stages"][stage]["outs"], strict=True)
    ]


def distances(recorded: Path, found: Path) -> Iterator[str]:
    """Say how far apart the models and the scores of two runs are, and how they were made.

    Parameters
    ----------
    recorded, found : Path
        Folders with the metrics and the model; the recorded one may lack it.
    """
    scores = [json.loads((side / METRICS).read_text()) for side in (recorded, found)]
    for name, before in scores[0].items():
        yield f"{name}: {before} recorded, {scores[1][name]} found"
    if not (recorded / MODEL).exists():
        yield "the recorded model is not here; with `dvc pull` this says how it was made"
        return
    weights = [Autoencoder.load(side / MODEL).state_dict() for side in (recorded, found)]
    furthest = max(
        (before - after).abs().max().item()
        for before, after in zip(*(side.values() for side in weights), strict=True)
    )
    yield f"weights: {furthest:.1e} apart at most"
    made = [lineage(side / MODEL) for side in (recorded, found)]
    for fact in made[0] | made[1]:
        before, after = (side.get(fact) for side in made)
        if before != after:
            yield f"{fact}: {before} recorded, {after} here"


def main() -> None:
    """Clone, run, compare, print."""
    with tempfile.TemporaryDirectory() as folder:
        recorded, found = Path(folder) / "recorded", Path(folder) / "found"
        for command in (
            ["git", "clone", "--quiet", ".", str(found)],
            [sys.executable, "-m", "dvc", "--cd", str(found), "repro", "--force", "--no-run-cache"],
        ):
            if subprocess.run(command, check=False).returncode:
                raise InputError(f"`{' '.join(command)}` failed, see above")
        committed = DVCFileSystem(rev="HEAD")
        for name in ("dvc.lock", METRICS, MODEL):
            (recorded / name).parent.mkdir(parents=True, exist_ok=True)
            try:
                (recorded / name).write_bytes(committed.read_bytes(name))
            except FileNotFoundError:
                if name != MODEL:
                    raise
        locks = [yaml.safe_load((side / "dvc.lock").read_text()) for side in (recorded, found)]
        table = outputs(*locks)
        print(f"\n{'stage':14}{'output':34}{'recorded':38}{'found':38}")
        for output in table:
            print(output)
        if all(output.same for output in table):
            print("the same bytes in every output")
        else:
            print("\n".join(distances(recorded, found)))
    wrong = [output.path for output in table if output.everywhere and not output.same]
    if wrong:
        raise InputError(f"{', '.join(wrong)}: not what is recorded, on any machine it should be")


if __name__ == "__main__":
    run(main)
