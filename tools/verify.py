"""Reproduce the run from scratch in a fresh clone and compare it with dvc.lock: `make verify`.

Raw files and tables must be identical on every machine. Weights, and everything computed from them,
may differ by rounding on another processor or with other packages; then the report says by how
much, and how the environments differ. The exit status is 1 if raw files or tables differ, or if
scores differ by more than the seed noise.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import pandas as pd
from dvc.repo import Repo
from dvc.repo.brancher import switch
from dvc.stage import PipelineStage
from safetensors.torch import load

from autoencoder.base.cli import make_parser, run
from autoencoder.base.errors import UserError
from tools.review.run import INCOMING, METRICS, RECORD, read_parameters
from tools.review.seed_noise import GATED, conditions, read_seeds, seed_noise
from tools.revisions import Files, git

MODEL = "models/autoencoder.safetensors"

Reader = Callable[[str], bytes]  # returns the content of a file of a run


def outputs(clone: Path) -> pd.DataFrame:
    """Compare the outputs of a run in a clone with those that its commit records.

    Columns stage, output, recorded and found (the digests), everywhere (whether it must be
    identical on every machine: training starts from it), and result, same or different.
    """
    with Repo(str(clone)) as repo:
        upstream = repo.stage.collect(f"{clone}/dvc.yaml:train", with_deps=True)
        found = digests(repo)
        with switch(repo, "HEAD"):
            table = pd.DataFrame({"recorded": digests(repo), "found": found})
    table = table.rename_axis(["stage", "output"]).reset_index()
    names = {stage.name for stage in upstream if isinstance(stage, PipelineStage)}
    table["everywhere"] = table["stage"].isin(names - {"train"})
    same = table["recorded"] == table["found"]
    return table.assign(result=same.map({True: "same", False: "different"}))


def digests(repo: Repo) -> dict[tuple[str, str], str]:
    """Return the digest in dvc.lock of each output, by its stage and its path."""
    return {
        (stage.name, out.def_path): out.hash_info.value
        for stage in repo.index.stages
        if isinstance(stage, PipelineStage)
        for out in stage.outs
    }


def bring_user_data(committed: Files, dataset: Path, clone: Path) -> None:
    """Copy the user's data into a clone of this project, because they are not in git.

    Of data/incoming, the run needs `dataset` alone. The data come from DVC's cache or a remote, or
    else from the workspace; a UserError if they are in none of these. In the clone, DVC does not
    track them.
    """
    needed = [dataset] if dataset.is_relative_to(INCOMING) else []
    with Repo(str(clone)) as repo:
        for stage in repo.index.stages:
            if not isinstance(stage, PipelineStage):
                paths = [Path(out.fs_path).relative_to(clone) for out in stage.outs]
                needed += [path for path in paths if not path.is_relative_to(INCOMING)]
                Path(stage.path).unlink()
    for path in needed:
        for files in (committed, Files(None)):
            with suppress(FileNotFoundError):
                files.copy(path, clone)
                break
        else:
            raise UserError(
                f"{path}: neither here nor in DVC's cache or remote, expected the data of the run "
                "to reproduce; copy them here again"
            )


def distances(recorded: Reader, found: Reader) -> Iterator[str]:
    """Describe how far apart the models and scores of two runs are, and how they were made.

    The recorded model may be missing.
    """
    for file, where in ((METRICS, "found"), (RECORD, "here")):
        before, after = (json.loads(read(file)) for read in (recorded, found))
        for name in before | after:
            if before.get(name) != after.get(name):
                yield f"{name}: {before.get(name)} recorded, {after.get(name)} {where}"
    try:
        before, after = (load(read(MODEL)) for read in (recorded, found))
    except FileNotFoundError:
        yield "weights: the recorded model is missing here; `dvc pull` downloads it from a remote"
    else:
        furthest = max((before[name] - after[name]).abs().max().item() for name in before)
        yield f"weights: at most {furthest:.1e} apart"


def judge(
    table: pd.DataFrame,
    recorded: Mapping[str, float],
    found: Mapping[str, float],
    noise: Mapping[str, float],
) -> str:
    """Explain in one line what the differences mean, given the `outputs` and metrics of two runs.

    A UserError if they are larger than rounding: than the seed noise of the metrics or, if that has
    not been measured, than 0.
    """
    different = table[table["result"] == "different"]
    if wrong := list(different.loc[different["everywhere"], "output"]):
        raise UserError(
            f"{', '.join(wrong)}: differs from dvc.lock although it must match on every machine"
        )
    if far := [name for name in GATED if abs(found[name] - recorded[name]) > noise.get(name, 0)]:
        unmeasured = ", and seed noise has not been measured with these parameters and data"
        more = " by more than the seed noise, which rounding does not explain"
        raise UserError(
            f"{', '.join(far)}: differs from the recorded value{more if noise else unmeasured}"
        )
    if len(different):
        return (
            "matches up to rounding, which depends on processor and packages: "
            "the scores are within the seed noise"
        )
    return "identical bytes in every output"


def main() -> None:
    """Clone, run, compare, print."""
    make_parser(__doc__).parse_args()
    committed = Files("HEAD")
    dataset = read_parameters(committed)["dataset"]
    with tempfile.TemporaryDirectory() as clone:
        root = Path(clone) / git("rev-parse", "--show-prefix")
        git("clone", "--quiet", git("rev-parse", "--show-toplevel"), clone)
        bring_user_data(committed, Path(dataset), root)
        repro = [sys.executable, "-m", "dvc", "repro", "--force", "--no-run-cache"]
        if subprocess.run(repro, cwd=root, check=False).returncode:
            raise UserError("`dvc repro` failed in a fresh clone, see above")
        table = outputs(root)
        print("", table.drop(columns="everywhere").to_string(index=False), sep="\n")
        runs: list[Reader] = [committed.read, lambda path: (root / path).read_bytes()]
        if (table["result"] == "different").any():
            print(*distances(*runs), sep="\n", flush=True)
        recorded, found = (json.loads(read(METRICS)) for read in runs)
        record = json.loads(committed.read(RECORD))
        noise, _ = seed_noise(read_seeds(committed), conditions(record, dataset))
        print(judge(table, recorded, found, noise))


if __name__ == "__main__":
    run(main)
