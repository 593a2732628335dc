"""README holds true: its commands run, its numbers are those of the committed run."""

import json
import re
import shlex
import subprocess

import pandas as pd
import pytest
import yaml
from conftest import ROOT, Project

from autoencoder.params import Params
from tools.review import seed_noise

README = (ROOT / "README.md").read_text()
# As committed: a run on another machine may differ in the last digits.
METRICS = json.loads(
    subprocess.run(
        ["git", "show", "HEAD:metrics/test.json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
)

# Not run here: they get the project or set it up, which stands before any test can run.
SET_UP = (
    *("git clone ", "cd ", "python3 -m venv ", ". .venv/", "pip install ", "python -m pytest"),
    "docker ",
)


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    lines = [line for block in blocks("console") for line in block.splitlines()]
    return [line[2:] for line in lines if line.startswith("$ ")]


def test_commands_run(project: Project) -> None:
    """In the order of README, in one checkout."""
    ran = []
    for command in commands():
        if command.startswith("make "):
            make, *arguments = shlex.split(command)
            project.run(make, "--dry-run", *arguments)
        elif not command.startswith(SET_UP):
            project.run("sh", "-c", command)
            ran.append(command.split()[:2])
    for essential in ("repro", "exp", "metrics", "plots"):
        assert ["dvc", essential] in ran


def test_the_notebook_lines_run(ran: Project) -> None:
    (code,) = blocks("python")
    ran.run("python", "-c", code)


def test_every_target_of_the_makefile_is_named() -> None:
    targets = re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert targets
    for target in targets:
        assert f"make {target}" in README


@pytest.mark.parametrize("name", METRICS)
def test_metrics_are_those_of_the_committed_run(name: str) -> None:
    row = re.search(rf"^\| `{name}` \| ([\d.]+) \|", README, re.MULTILINE)
    assert row, f"README's table of metrics has no row for {name}"
    assert row[1] == f"{METRICS[name]:.5f}"


@pytest.mark.parametrize("name", ["z_size", "activation"])
def test_sweeps_are_quoted_as_measured(name: str) -> None:
    committed = str(yaml.safe_load((ROOT / "params.yaml").read_text())[name])
    table = pd.read_csv(ROOT / f"sweeps/{name}.csv", dtype={name: str}).set_index(name)
    assert committed in table.index
    for value, row in table.drop(committed).iterrows():
        numbers = " | ".join(f"{row[metric]:.5f}" for metric in ("bce", "mse", "mse_pca"))
        assert f"| `{name}` {value} | {numbers} |" in README


def test_choices_are_quoted_as_measured() -> None:
    for bce in pd.read_csv(ROOT / "benchmarks/ablations.csv")["bce"]:
        assert f"| {bce:.5f} | | |" in README


def test_the_anomaly_score_is_quoted_as_measured() -> None:
    measured = pd.read_csv(ROOT / "benchmarks/anomaly.csv").iloc[0]
    text = " ".join(README.split())
    assert measured["other"] == "fashion-mnist"
    for quoted in (
        f"{measured['rows']:,} test images of Fashion-MNIST",
        f"a BCE of {measured['bce_other']:.5f} on average, those of MNIST {measured['bce']:.5f};",
        f"an AUROC of {measured['auroc']:.6f}, the brightness",
        f"alone with {measured['auroc_grey']:.6f} (",
    ):
        assert quoted in text
    assert abs(measured["bce"] - METRICS["bce"]) < seed_noise()["bce"]


def test_the_benchmark_is_quoted_as_measured() -> None:
    report = (ROOT / "benchmarks/training.md").read_text()
    assert report.partition("\n\nWhat a step")[0] in README


@pytest.mark.parametrize("name", ["processes", "scale"])
def test_the_times_of_processes_and_of_many_images_are_quoted_as_measured(name: str) -> None:
    assert (ROOT / f"benchmarks/{name}.md").read_text() in README


def test_the_noise_of_seeds_is_quoted_as_measured() -> None:
    bce = pd.read_csv(ROOT / "sweeps/seed.csv")["bce"]
    assert len(bce) >= 5
    text = " ".join(README.split())
    assert f"of {bce.mean():.5f} on average with a standard deviation of {bce.std():.5f}" in text
    assert f"lie within {seed_noise()['bce']:.5f} of one another" in text
    assert abs(METRICS["bce"] - bce.mean()) < seed_noise()["bce"]


@pytest.mark.parametrize("name", Params.model_fields)
def test_parameters_are_those_of_params_yaml(name: str) -> None:
    value = yaml.safe_load((ROOT / "params.yaml").read_text())[name]
    shown = "null" if value is None else value
    assert re.search(rf"^\| `{name}` \| `{shown}` \|", README, re.MULTILINE)


PAGES = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"]


@pytest.mark.parametrize("page", PAGES)
def test_files_and_targets_that_a_page_names_exist(page: str) -> None:
    text = (ROOT / page).read_text()
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (ROOT / target).exists(), target
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"`make ([a-z-]+)", text):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
