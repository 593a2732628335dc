"""Verification in a fresh clone: what differs, and what it means."""

import json
import re
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml
from helpers.digits import Digits, write_pictures
from helpers.errors import refusal
from helpers.project import Project

from autoencoder.base.files import file_digest
from autoencoder.base.provenance import module_digest
from autoencoder.network.model import Autoencoder
from tools.review.run import METRICS, RECORD
from tools.verify import MODEL, distances, judge


def compared(raw: str, model: str) -> pd.DataFrame:
    """An output that is the same everywhere and one that need not be, with these results."""
    return pd.DataFrame(
        {"output": ["data/raw", "model"], "everywhere": [True, False], "result": [raw, model]}
    )


def test_differences_are_judged_by_what_may_differ() -> None:
    scores, noise = {"bce": 0.07, "mse": 0.004}, {"bce": 0.0002, "mse": 0.0001}
    same = compared("same", "same")
    rounded, other = compared("same", "different"), compared("different", "same")
    within = {name: scores[name] + 0.9 * noise[name] for name in scores}
    assert judge(same, scores, scores, noise) == "identical bytes in every output"
    assert judge(rounded, scores, within, noise).startswith("matches up to rounding")
    assert refusal(lambda: judge(other, scores, scores, noise)).startswith(
        "data/raw: differs from dvc.lock"
    )
    for name in scores:
        for sign in (-1, 1):
            beyond = scores | {name: scores[name] + sign * 1.1 * noise[name]}
            assert refusal(partial(judge, rounded, scores, beyond, noise)) == (
                f"{name}: differs from the recorded value by more than the seed noise, which "
                "rounding does not explain"
            )
    assert "has not been measured" in refusal(lambda: judge(rounded, scores, within, {}))


def reader(root: Path) -> Callable[[str], bytes]:
    """What reads the files of a run in a directory."""
    return lambda path: (root / path).read_bytes()


def test_what_differs_is_said(ran: Project, tmp_path: Path) -> None:
    for directory in ("metrics", "models"):
        shutil.copytree(ran.root / directory, tmp_path / directory)
    model = Autoencoder.load(ran.root / MODEL)
    made = model.lineage
    model.state_dict()["encoder.0.weight"][3, 5] += 0.5
    model.save(tmp_path / MODEL, made)
    (tmp_path / RECORD).write_text(json.dumps(made | {"instructions": "none"}))
    path = tmp_path / METRICS
    path.write_text(json.dumps(json.loads(path.read_text()) | {"bce": 0.5}))

    said = list(distances(reader(ran.root), reader(tmp_path)))
    (score,) = [line for line in said if line.endswith("found")]
    assert re.fullmatch(r"bce: 0\.\d+ recorded, 0\.5 found", score)
    assert "weights: at most 5.0e-01 apart" in said
    assert f"instructions: {made['instructions']} recorded, none here" in said


def test_without_the_recorded_model_it_says_what_to_do(ran: Project, tmp_path: Path) -> None:
    shutil.copytree(ran.root / "metrics", tmp_path / "metrics")
    record = tmp_path / RECORD
    record.write_text(record.read_text().replace(torch.__version__, "1.0"))
    environment, advice = distances(reader(tmp_path), reader(ran.root))
    assert environment == f"torch: 1.0 recorded, {torch.__version__} here"
    assert "`dvc pull`" in advice


def test_where_the_model_came_from_is_in_its_file(ran: Project) -> None:
    made = Autoencoder.load(ran.root / MODEL).lineage
    assert made["parameters"]["z_size"] == 32
    assert made["train_md5"] == file_digest(ran.root / "data/train.csv", "md5")
    assert made["code"]["stages/train.py"] == module_digest(
        (ran.root / "stages/train.py").read_bytes()
    )
    assert made["torch"] == torch.__version__
    assert {
        "numpy",
        "device",
        "instructions",
        "products",
        "best_epoch",
    } <= made.keys()


@pytest.mark.slow
def test_a_run_is_the_same_from_nothing(project: Project) -> None:
    output = project.run("python", "-m", "tools.verify")
    assert output.count(" same\n") == 11
    assert output.splitlines()[-1] == "identical bytes in every output"


@pytest.mark.slow
@pytest.mark.parametrize("tracked", ["file", "directory", "nothing"])
def test_a_run_on_user_data_is_reproduced(
    project: Project, train_digits: Digits, tmp_path: Path, tracked: str
) -> None:
    incoming = project.root / "data/incoming"
    if tracked == "file":
        shutil.copy(project.root / "data/train.csv", incoming / "mine [1].csv")
        project.run("dvc", "add", "--quiet", "data/incoming/mine [1].csv")
    else:
        write_pictures(incoming / "mine [1]/digits", train_digits)
    if tracked == "directory":
        project.run("dvc", "add", "--quiet", "data/incoming/mine [1]")
    sources = {"file": "mine [1].csv", "directory": "mine [1]/digits", "nothing": "mine [1]"}
    source = sources[tracked]
    # Data that the run does not use, and that nobody has any more: frozen by import-url.
    (tmp_path / "other.csv").write_text("0\n")
    project.run("dvc", "import-url", str(tmp_path / "other.csv"), "data/incoming/other.csv")
    project.set_params(dataset=f"data/incoming/{source}", epochs=2)
    project.run("dvc", "repro")
    project.commit("user data")
    (incoming / "other.csv").unlink()
    if tracked == "file":  # as committed, whatever is in the workspace now
        (incoming / "mine [1].csv").unlink()
        (incoming / "mine [1].csv").write_text("edited\n")
    output = project.run("python", "-m", "tools.verify")
    assert output.splitlines()[-1] == "identical bytes in every output"

    shutil.rmtree(project.root / ".dvc/cache")
    shutil.rmtree(project.environment["DVC_SITE_CACHE_DIR"])  # which knows what was in the cache
    for path in incoming.glob("mine*"):
        if path.suffix != ".dvc":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    output = project.run("python", "-m", "tools.verify", status=1)
    assert f"error: data/incoming/{source}: neither here nor in DVC's cache or remote" in output


@pytest.mark.slow
def test_what_was_not_recorded_so_fails(project: Project) -> None:
    path = project.root / "dvc.lock"
    recorded = yaml.safe_load(path.read_text())["stages"]["convert"]["outs"][0]["md5"]
    path.write_text(path.read_text().replace(recorded, "f" * 32))
    project.commit("another digest of a table")
    output = project.run("python", "-m", "tools.verify", status=1)
    assert output.count(" different\n") == 1
    assert "error: data/test.csv: differs from dvc.lock" in output
