"""A run of the pipeline, in the workspace or a commit, as its files describe it."""

import io
import json
import math
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from dvc.repo import Repo
from dvc.repo.brancher import switch
from dvc.stage import PipelineStage

from autoencoder.base import params
from autoencoder.base.errors import UserError
from autoencoder.base.files import file_digest
from autoencoder.base.provenance import differences, module_digest
from autoencoder.data.names import is_visible
from tools.review.seed_noise import BETTER, conditions
from tools.revisions import Files

TRAIN = "data/train.csv"
TEST = "data/test.csv"
METRICS = "metrics/test.json"
RECORD = "metrics/provenance.json"
INCOMING = "data/incoming"  # the user's data, of which `dataset` names a part
RAW = Path("data/raw")

# The pictures of sanity_check, and their headings in the report.
PICTURES = {
    "plots/sanity_check.png": (
        "Each run's images of median BCE, with latent codes, reconstructions and differences"
    ),
    "plots/worst.png": "Worst reconstructions, their images and differences",
}

WORKSPACE = "workspace"  # the name of the run that is not a revision


def read_parameters(files: Files) -> dict[str, Any]:
    """Read all parameters of a run, as validated, so that equal values are equal.

    Those of code with other parameters, such as a base from before one was added, are as they are.
    A UserError if params.yaml is not a YAML mapping.
    """
    values = params.parse_params(files.read(params.FILE))
    try:
        return params.validate_params(values).model_dump(mode="json")
    except UserError:
        return values


@dataclass(frozen=True)
class Run:
    """A run and its results."""

    name: str
    params: dict[str, Any]
    metrics: dict[str, float]
    losses: pd.DataFrame  # epoch, train and validation
    classes: pd.Series  # test BCE by label
    pictures: dict[str, bytes]  # those of `PICTURES` that it has, PNG, by path
    record: dict[str, Any]  # what model and scores were made from, as evaluate recorded it

    @property
    def conditions(self) -> dict[str, str]:
        """What its seed noise depends on."""
        return conditions(self.record, self.params["dataset"])

    @classmethod
    def read(cls, name: str, files: Files) -> "Run":
        """Read a run, and check that its results belong to its parameters, code and data.

        A UserError if a stage is frozen or changed since it was run, its results were made from
        other parameters, code or tables, a plot is missing, or a metric is not a finite number.
        """
        try:
            values = read_parameters(files)
            with Repo() as repo, switch(repo, files.commit) if files.commit else nullcontext():
                check_stages(repo, name, str(values["dataset"]))
                digests = {str(out): out.hash_info.value for out in repo.index.outs}
            metrics = json.loads(files.read(METRICS))
            losses = pd.read_csv(io.BytesIO(files.read("plots/loss.csv")))
            classes = pd.read_csv(
                io.BytesIO(files.read("plots/classes.csv")),
                dtype={"label": str},
                keep_default_na=False,
            )
            run = cls(
                name,
                values,
                {metric: metrics[metric] for metric in BETTER if metric in metrics},
                losses[["epoch", "train", "validation"]],
                classes.set_index("label")["bce"],
                {path: files.read(path) for path in PICTURES if path in digests},
                json.loads(files.read(RECORD)),
            )
            code = {module: module_digest(files.read(module)) for module in run.record["code"]}
            found = differences(run.record, values, digests[TRAIN], code)
            if run.record["test_md5"] != digests[TEST]:
                found.append("the test table was different")
        except (OSError, KeyError, ValueError) as error:
            raise UserError(
                f"{name}: cannot be compared: {error}; expected a commit with the results of "
                "`dvc repro`"
            ) from error
        if found:
            raise UserError(
                f"{name}: its results were made from other inputs: {'; '.join(found)}; "
                "train again with `dvc repro --force --single-item train`, then `dvc repro`"
            )
        for metric, value in run.metrics.items():
            if not isinstance(value, int | float) or not math.isfinite(value):
                raise UserError(f"{name}: metric {metric} is {value}, expected a number")
        return run


def check_stages(repo: Repo, name: str, dataset: str) -> None:
    """Check that the results of a revision were made by its parameters, code and data.

    `repo` is open at the revision called `name`, whose parameter is `dataset`. Files that DVC keeps
    may be missing, as in a clone without a remote. What `dvc add`, `dvc import` and `dvc
    import-url` track counts where a stage reads it. A UserError if a stage is frozen, or changed
    since it was run.
    """
    stages = [stage for stage in repo.index.stages if isinstance(stage, PipelineStage)]
    if frozen := [stage.name for stage in stages if stage.frozen]:
        raise UserError(
            f"{name}: {', '.join(frozen)}: frozen, so it may be out of date; delete `frozen: true` "
            "from dvc.yaml and run `dvc repro`"
        )
    may_be_missing = {INCOMING, *map(str, repo.index.outs)}

    def changed(file: Any) -> bool:
        state = file.workspace_status().get(str(file))
        if state == "deleted":
            return str(file) not in may_be_missing
        if str(file) == INCOMING:
            return state is not None and name == WORKSPACE and incoming_changed(dataset)
        return state is not None

    if stale := [
        stage.name
        for stage in stages
        if stage.changed_stage() or any(map(changed, [*stage.deps, *stage.outs]))
    ]:
        raise UserError(f"{name}: {', '.join(stale)}: changed since the last run; run `dvc repro`")


def incoming_changed(dataset: str) -> bool:
    """Tell whether the user's data that `dataset` names differ from their copy in data/raw."""
    source = Path(dataset)
    if Path(INCOMING) not in source.parents or not source.exists():
        return False

    def digests(root: Path) -> dict[Path, str]:
        return {
            path.relative_to(root.parent): file_digest(path)
            for path in [root, *root.rglob("*")]
            if path.is_file() and is_visible(path, root.parent)
        }

    return digests(source) != digests(RAW / source.name)
