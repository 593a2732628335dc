"""The committed dvc.lock, metrics/ and plots/ come from the committed code; nothing is trained."""

import json
from pathlib import Path

import pytest
import yaml
from helpers.committed import committed, recorded_parameters, skip_if_different
from helpers.project import ROOT, Project, copy_checkout

from autoencoder.base.provenance import differences, module_digest
from autoencoder.data.datasets import DATASETS

pytestmark = pytest.mark.process

ABSENT = {"deleted", "not in cache"}


def changed(project: Project) -> dict[str, set[str]]:
    """Return what differs from dvc.lock, by stage; data and models may be absent, as in a clone."""
    found: dict[str, set[str]] = {}
    # The user's data is not in git, but for what `dvc add` wrote about it.
    incomplete = set() if project.params()["dataset"] in DATASETS else {"data/incoming"}
    for stage, entries in json.loads(project.run("dvc", "status", "--json")).items():
        for entry in entries:
            paths = {entry: ""} if isinstance(entry, str) else next(iter(entry.values()))
            for path, state in paths.items():
                absent = path.startswith(("data/", "models/")) and state in ABSENT
                if not absent and path not in incomplete:
                    found.setdefault(stage, set()).add(path)
    return found


def test_the_committed_results_match_the_code(tmp_path: Path) -> None:
    lock_text = committed("dvc.lock")
    lock = yaml.safe_load(lock_text)
    skip_if_different(
        yaml.safe_load((ROOT / "params.yaml").read_text()),
        recorded_parameters(lock_text),
        "params.yaml has not been run, see dvc.lock",
    )
    assert changed(copy_checkout(tmp_path)) == {}, "run `dvc repro` and commit its results"
    record = json.loads((ROOT / "metrics/provenance.json").read_text())
    values = yaml.safe_load((ROOT / "params.yaml").read_text())
    code = {name: module_digest((ROOT / name).read_bytes()) for name in record["code"]}
    tables = {out["path"]: out["md5"] for out in lock["stages"]["convert"]["outs"]}
    assert differences(record, values, tables["data/train.csv"], code) == []


def test_an_edit_without_a_run_is_found(ran: Project, tmp_path: Path) -> None:
    clone = Project(tmp_path / "clone")
    ran.run("git", "clone", "--quiet", ".", str(clone.root))
    assert changed(clone) == {}
    for name in ("autoencoder/network/step.py", "metrics/test.json", "plots/classes.csv"):
        with (clone.root / name).open("a") as file:
            file.write("\n")
    clone.set_params(z_size=16)
    (clone.root / "plots/sanity_check.png").unlink()
    assert changed(clone) == {
        "train": {"autoencoder/network", "params.yaml"},
        "evaluate": {
            "autoencoder/network",
            "params.yaml",
            "metrics/test.json",
            "plots/classes.csv",
        },
        "sanity_check": {"autoencoder/network", "plots/sanity_check.png"},
    }
