"""Reproduce the run from scratch in a fresh clone and compare it with dvc.lock: `make verify`.

Raw files and tables must be identical on every machine. Weights, and everything computed from them,
may differ by rounding on another processor or with other packages; then the report says by how
much, and how the environments differ. The exit status is 1 if raw files or tables differ, or if
scores differ by more than the seed noise.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from dvc.repo import Repo
from dvc.stage import PipelineStage

from autoencoder.base.cli import make_parser, run
from autoencoder.base.errors import UserError
from autoencoder.network.model import Autoencoder
from tools.review.run import INCOMING, METRICS, RECORD, read_parameters
from tools.review.seed_noise import GATED, conditions, read_seeds, seed_noise
from tools.revisions import export, git, reader

MODEL = "models/autoencoder.safetensors"


@dataclass(frozen=True)
class Output:
    """An output of a stage, with its digests in two runs.

    Attributes
    ----------
    everywhere : bool
        Whether it must be identical on every machine: training starts from it.
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
    """Pair the outputs of two runs of the same dvc.yaml.

    Parameters
    ----------
    recorded, found : mapping
        The contents of their dvc.lock files.
    """
    stages = recorded["stages"]
    before_training = upstream("train", stages)
    return [
        Output(stage, before["path"], before["md5"], after["md5"], stage in before_training)
        for stage, entry in stages.items()
        for before, after in zip(
            entry.get("outs", []), found["stages"][stage].get("outs", []), strict=True
        )
    ]


def upstream(name: str, stages: Mapping[str, Any]) -> set[str]:
    """Return the stages whose outputs a stage of a dvc.lock depends on, also through others."""
    reads = [Path(dependency["path"]) for dependency in stages[name].get("deps", [])]
    direct = {
        stage
        for stage, entry in stages.items()
        for output in entry.get("outs", [])
        if any(overlap(Path(output["path"]), path) for path in reads)
    }
    return direct.union(*(upstream(stage, stages) for stage in direct))


def overlap(path: Path, other: Path) -> bool:
    """Tell whether one of two paths is or contains the other."""
    return path.is_relative_to(other) or other.is_relative_to(path)


def bring_user_data(clone: Path) -> None:
    """Copy the user's data into a clone of this project, because they are not in git.

    What `dvc add` or `dvc import` tracks comes from DVC's cache or a remote, anything else from the
    workspace. The run needs no other data in data/incoming: the clone forgets that DVC tracks them.

    Raises
    ------
    UserError
        If data are in none of these places.
    """
    dataset = Path(read_parameters(reader("HEAD"))["dataset"])
    tracked = []
    with Repo(str(clone)) as repo:
        for stage in repo.index.stages:
            if isinstance(stage, PipelineStage):
                continue
            paths = [Path(out.fs_path).relative_to(clone) for out in stage.outs]
            if any(overlap(path, dataset) or not path.is_relative_to(INCOMING) for path in paths):
                tracked += paths
            else:
                Path(stage.path).unlink()
    for path in tracked:
        try:
            export("HEAD", path, clone)
        except FileNotFoundError:
            copy_missing(path, clone / path)
    if dataset.is_relative_to(INCOMING) and not any(map(dataset.is_relative_to, tracked)):
        copy_missing(dataset, clone / dataset)


def copy_missing(source: Path, target: Path) -> None:
    """Copy a file or directory of the workspace, except for files that the target has.

    Raises
    ------
    UserError
        If it is not there.
    """
    if not source.exists():
        raise UserError(
            f"{source}: neither here nor in DVC's cache or remote, expected the data of the run to "
            "reproduce; copy them here again"
        )

    def copy(file: str | Path, new: str | Path) -> None:
        if not Path(new).exists():
            shutil.copy2(file, new)

    if source.is_dir():
        shutil.copytree(
            source, target, copy_function=copy, dirs_exist_ok=True, ignore_dangling_symlinks=True
        )
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        copy(source, target)


def distances(recorded: Path, found: Path) -> Iterator[str]:
    """Describe how far apart the models and scores of two runs are, and how they were made.

    Parameters
    ----------
    recorded, found : Path
        Directories with the metrics and the model; the recorded model may be missing.
    """
    scores = [json.loads((root / METRICS).read_text()) for root in (recorded, found)]
    for name, before in scores[0].items():
        if before != (after := scores[1][name]):
            yield f"{name}: {before} recorded, {after} found"
    made = [json.loads((root / RECORD).read_text()) for root in (recorded, found)]
    for fact in made[0] | made[1]:
        before, after = (one.get(fact) for one in made)
        if before != after:
            yield f"{fact}: {before} recorded, {after} here"
    if not (recorded / MODEL).exists():
        yield "weights: the recorded model is missing here; `dvc pull` downloads it from a remote"
        return
    weights = [Autoencoder.load(root / MODEL).state_dict() for root in (recorded, found)]
    furthest = max(
        (before - after).abs().max().item()
        for before, after in zip(*(one.values() for one in weights), strict=True)
    )
    yield f"weights: at most {furthest:.1e} apart"


def judge(
    table: Iterable[Output],
    recorded: Mapping[str, float],
    found: Mapping[str, float],
    noise: Mapping[str, float],
) -> str:
    """Explain in one line what the differences mean.

    Parameters
    ----------
    table : iterable of Output
    recorded, found : mapping of str to float
        The metrics of the two runs.
    noise : mapping of str to float
        Seed noise of the metrics; if it is empty, those of the gate must be equal.

    Raises
    ------
    UserError
        If they are larger than rounding.
    """
    different = [output for output in table if not output.same]
    if wrong := [output.path for output in different if output.everywhere]:
        raise UserError(
            f"{', '.join(wrong)}: differs from dvc.lock although it must match on every machine"
        )
    if far := [name for name in GATED if abs(found[name] - recorded[name]) > noise.get(name, 0)]:
        raise UserError(
            f"{', '.join(far)}: differs from the recorded value by more than the seed noise, which "
            "rounding does not explain"
            if noise
            else f"{', '.join(far)}: differs from the recorded value, and seed noise has not been "
            "measured with these parameters and data"
        )
    if different:
        return (
            "matches up to rounding, which depends on processor and packages: "
            "the scores are within the seed noise"
        )
    return "identical bytes in every output"


def call(*command: str) -> None:
    """Run a command.

    Raises
    ------
    UserError
        If it fails.
    """
    if subprocess.run(command, check=False).returncode:
        raise UserError(f"`{' '.join(command)}` failed, see above")


def main() -> None:
    """Clone, run, compare, print."""
    make_parser(__doc__).parse_args()
    with tempfile.TemporaryDirectory() as directory:
        recorded, clone = Path(directory) / "recorded", Path(directory) / "clone"
        found = clone / git("rev-parse", "--show-prefix")
        call("git", "clone", "--quiet", git("rev-parse", "--show-toplevel"), str(clone))
        bring_user_data(found)
        call(sys.executable, "-m", "dvc", "--cd", str(found), "repro", "--force", "--no-run-cache")
        read_committed = reader("HEAD")
        for name in ("dvc.lock", METRICS, RECORD, MODEL):
            (recorded / name).parent.mkdir(parents=True, exist_ok=True)
            try:
                (recorded / name).write_bytes(read_committed(name))
            except FileNotFoundError:
                if name != MODEL:
                    raise
        locks = [yaml.safe_load((root / "dvc.lock").read_text()) for root in (recorded, found)]
        table = outputs(*locks)
        print(f"\n{'stage':14}{'output':34}{'recorded':38}{'found':38}")
        for output in table:
            print(output)
        if not all(output.same for output in table):
            print(*distances(recorded, found), sep="\n", flush=True)
        record = json.loads((recorded / RECORD).read_text())
        dataset = read_parameters(read_committed)["dataset"]
        noise = seed_noise(read_seeds("HEAD"), conditions(record, dataset))
        scores = [json.loads((root / METRICS).read_text()) for root in (recorded, found)]
        print(judge(table, scores[0], scores[1], noise))


if __name__ == "__main__":
    run(main)
