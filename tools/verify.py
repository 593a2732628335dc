"""Run everything from nothing in a clone and compare with what is recorded: `make verify`.

Raw files and tables must come out the same on every machine. Weights, and all that is computed from
them, may differ in rounding on another processor or with other packages; then it says by how much
they do, and what in the environment differs. The exit status is 1 if raw files or tables differ, or
if scores do by more than those of other seeds would.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from dvc.api import DVCFileSystem

from autoencoder.cli import run
from autoencoder.errors import UserError
from autoencoder.network.model import Autoencoder, lineage
from tools.review import GATED, seed_noise

MODEL = "models/autoencoder.safetensors"
METRICS = "metrics/test.json"
PACKAGES = "requirements.lock"
# Of what a model's file says of its making: what rounding depends on.
ENVIRONMENT = ("python", "torch", "numpy", "device", "instructions")


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
        if before != (after := scores[1][name]):
            yield f"{name}: {before} recorded, {after} found"
    if not (recorded / MODEL).exists():
        made_here = lineage(found / MODEL)
        yield f"here: {', '.join(f'{fact} {made_here[fact]}' for fact in ENVIRONMENT)}"
        yield (
            "the recorded model, which says the same of itself, is not here: "
            "`dvc pull` brings it, if there is a remote"
        )
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


def judge(
    table: Iterable[Output], recorded: Mapping[str, float], found: Mapping[str, float]
) -> str:
    """Say in a line what the differences mean.

    Parameters
    ----------
    table : iterable of Output
    recorded, found : mapping of str to float
        The metrics of the two runs.

    Raises
    ------
    UserError
        If they are more than rounding.
    """
    different = [output for output in table if not output.same]
    if wrong := [output.path for output in different if output.everywhere]:
        raise UserError(f"{', '.join(wrong)}: not what is recorded, on any machine it should be")
    noise = seed_noise()
    if far := [name for name in GATED if abs(found[name] - recorded[name]) > noise[name]]:
        raise UserError(
            f"{', '.join(far)}: further from what is recorded than another seed would be; "
            "that is more than rounding"
        )
    if different:
        return (
            "as recorded, but for rounding, which is another on another processor or with other "
            "packages: the scores lie within the noise of seeds"
        )
    return "the same bytes in every output"


def main() -> None:
    """Clone, run, compare, print."""
    with tempfile.TemporaryDirectory() as folder:
        recorded, found = Path(folder) / "recorded", Path(folder) / "found"
        for command in (
            ["git", "clone", "--quiet", ".", str(found)],
            [sys.executable, "-m", "dvc", "--cd", str(found), "repro", "--force", "--no-run-cache"],
        ):
            if subprocess.run(command, check=False).returncode:
                raise UserError(f"`{' '.join(command)}` failed, see above")
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
        if not all(output.same for output in table):
            print(*distances(recorded, found), sep="\n", flush=True)
        print(
            judge(table, *(json.loads((side / METRICS).read_text()) for side in (recorded, found)))
        )


if __name__ == "__main__":
    run(main)
