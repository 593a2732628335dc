"""A run of the pipeline, in the workspace or a commit, as its files describe it."""

import hashlib
import io
import json
import math
import os
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dvc.api
import pandas as pd
import yaml
from dvc.dependency.param import ParamsDependency
from dvc.repo import Repo
from dvc.repo.brancher import switch

from autoencoder.base.errors import UserError
from autoencoder.base.files import sha256
from autoencoder.data.names import is_visible
from autoencoder.base.provenance import differences
from tools.review.seed_noise import BETTER, GATED, describe_data, table_digests
from tools.revisions import reader

TRAIN = "data/train.csv"
TEST = "data/test.csv"
RECORD = "metrics/provenance.json"
INCOMING = "data/incoming"  # the user's data, of which `dataset` names a part
RAW = Path("data/raw")

# The pictures of sanity_check, and their headings in the report.
PICTURES = {
    "plots/sanity_check.png": "Images, latent codes and reconstructions",
    "plots/worst.png": "Worst reconstructions",
}

WORKSPACE = "workspace"  # the name of the run that is not a revision


@dataclass(frozen=True)
class Run:
    """A run and its results.

    Attributes
    ----------
    name : str
        Name for the reader.
    params, metrics : dict
    data : str
        What identifies its data, see `describe_data`.
    test : str
        MD5 of the test table.
    losses : DataFrame
        Columns epoch, train and validation.
    classes : Series
        Test BCE by label.
    pictures : dict of str to bytes
        The pictures of `PICTURES` that it has, PNG, by path.
    provenance : dict
        What the model and the scores were made from, as evaluate recorded it; empty for a run of
        a version that did not record it.
    """

    name: str
    params: dict[str, Any]
    metrics: dict[str, float]
    data: str
    test: str
    losses: pd.DataFrame
    classes: pd.Series
    pictures: dict[str, bytes]
    provenance: dict[str, Any]

    @classmethod
    def read(cls, name: str, revision: str | None = None) -> "Run":
        """Read a revision or experiment through DVC; None is the workspace.

        Raises
        ------
        UserError
            If a stage is frozen or changed since it was run, its results were made from other
            parameters, code or tables, bce, mse or a plot is missing, or a metric is not a finite
            number.
        DvcException
            If there is no such revision.
        """
        with Repo() as repo, switch(repo, revision) if revision else nullcontext():
            check_stages(repo, name)
        read = reader(revision)
        try:
            lock = yaml.safe_load(read("dvc.lock"))
            metrics = dvc.api.metrics_show(rev=revision)
            losses = pd.read_csv(io.BytesIO(read("plots/loss.csv")))
            classes = pd.read_csv(
                io.BytesIO(read("plots/classes.csv")),
                dtype={"label": str},
                keep_default_na=False,
            )
            recorded = {out["path"] for out in lock["stages"]["evaluate"]["outs"]}
            provenance = json.loads(read(RECORD)) if RECORD in recorded else {}
            code = {
                module: hashlib.sha256(read(module)).hexdigest()
                for module in provenance.get("code", {})
            }
            drawn = {out["path"] for out in lock["stages"]["sanity_check"]["outs"]}
            run = cls(
                name,
                dvc.api.params_show(rev=revision),
                {metric: metrics[metric] for metric in BETTER if metric in metrics},
                describe_data(lock),
                table_digests(lock)[TEST],
                losses[["epoch", "train", "validation"]],
                classes.set_index("label")["bce"],
                {path: read(path) for path in PICTURES if path in drawn},
                provenance,
            )
            if provenance:
                tables = table_digests(lock)
                found = differences(provenance, run.params, tables[TRAIN], code)
                if provenance["test_md5"] != tables[TEST]:
                    found.append("the test table was different")
                if found:
                    raise UserError(
                        f"{name}: its results were made from other inputs: {'; '.join(found)}; "
                        "train again with `dvc repro --force --single-item train`, then `dvc repro`"
                    )
        except (OSError, KeyError, ValueError) as error:
            raise UserError(f"{name}: cannot be compared: {error}") from error
        for metric in GATED:
            if metric not in run.metrics:
                raise UserError(f"{name}: metric {metric} is missing; run `dvc repro`")
        for metric, value in run.metrics.items():
            if not isinstance(value, int | float) or not math.isfinite(value):
                raise UserError(f"{name}: metric {metric} is {value}, expected a number")
        return run


def check_stages(repo: Repo, name: str) -> None:
    """Check that the results of a revision were made by its parameters, code and data.

    Files that DVC keeps may be missing, as in a clone without a remote.

    Parameters
    ----------
    repo : Repo
        Open at the revision.
    name : str
        Its name for messages.

    Raises
    ------
    UserError
        If a stage is frozen, or changed since it was run.
    """
    stages = repo.index.stages
    if frozen := [stage.name for stage in stages if stage.frozen]:
        raise UserError(
            f"{name}: {', '.join(frozen)}: frozen, so it may be out of date; delete `frozen: true` "
            "from dvc.yaml and run `dvc repro`"
        )
    outputs = {str(out) for stage in stages for out in stage.outs}

    def changed(dependency: Any) -> bool:
        if isinstance(dependency, ParamsDependency):
            return bool(dependency.status())
        state = dependency.workspace_status().get(str(dependency))
        if state == "deleted":
            return str(dependency) not in outputs | {INCOMING}
        if str(dependency) == INCOMING:
            return state is not None and name == WORKSPACE and incoming_changed()
        return state is not None

    stale = [
        stage.name
        for stage in stages
        if stage.changed_stage()
        or any(map(changed, stage.deps))
        or any(set(out.workspace_status().values()) - {"deleted"} for out in stage.outs)
    ]
    if stale:
        raise UserError(f"{name}: {', '.join(stale)}: changed since the last run; run `dvc repro`")


def incoming_changed() -> bool:
    """Tell whether the user's data that `dataset` names differ from their copy in data/raw."""
    source = Path(os.path.normpath(dvc.api.params_show()["dataset"]))
    if INCOMING not in map(str, source.parents) or not source.exists():
        return False

    def digests(root: Path) -> dict[Path, str]:
        return {
            path.relative_to(root.parent): sha256(path)
            for path in [root, *root.rglob("*")]
            if path.is_file() and is_visible(path, root.parent)
        }

    return digests(source) != digests(RAW / source.name)
