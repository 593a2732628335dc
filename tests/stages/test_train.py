"""The train stage: resuming after it was killed, and divergence."""

import json
import os
import re
import signal
from pathlib import Path

import pytest
import torch
from helpers.project import TRAIN, Project, train_outputs
from safetensors import safe_open
from safetensors.torch import load_file

from autoencoder.base.files import process_lock
from autoencoder.network.checkpoint import Checkpoints


def checkpoints(project: Project, directory: str = "checkpoints") -> list[Path]:
    """The checkpoints of interrupted runs."""
    return list((project.root / directory).glob("*.safetensors"))


def train_until(project: Project, epoch: int, how: signal.Signals) -> None:
    """Start a training run, and stop it when it has said that `epoch` is done."""
    with project.start("python", *TRAIN) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith(f"epoch {epoch:2d} "):
                process.send_signal(how)
                break
    assert process.returncode != 0


@pytest.mark.slow
def test_a_stopped_run_goes_on_to_the_same_bytes(project: Project) -> None:
    project.set_params(epochs=12)
    project.run("python", *TRAIN)
    undisturbed = train_outputs(project)

    for name in ("m.safetensors", "loss.csv"):
        (project.root / name).unlink()
    for epoch, how in ((2, signal.SIGKILL), (5, signal.SIGINT), (8, signal.SIGTERM)):
        train_until(project, epoch, how)
        assert not (project.root / "m.safetensors").exists()
    output = project.run("python", *TRAIN)
    (after,) = re.findall(r"resuming after epoch (\d+)", output)
    assert 8 <= int(after) < 12
    assert train_outputs(project) == undisturbed
    assert checkpoints(project) == []


@pytest.mark.slow
def test_an_edit_during_a_run_is_an_error_that_keeps_the_checkpoint(project: Project) -> None:
    """Whether by hand or by `dvc exp run`, which edits params.yaml before it waits for the lock."""
    project.set_params(epochs=200, seed=1, patience=0)  # longer than the edits take
    project.commit("a longer run")
    lock = (project.root / "dvc.lock").read_text()
    with project.start("dvc", "repro") as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("epoch  1 "):
                break
        # Before the other edit, which it could stash for a moment.
        project.run("dvc", "exp", "run", "-S", "seed=2", status=255)
        with (project.root / "autoencoder/network/step.py").open("a") as file:
            file.write("EDITED = 1\n")
        output = process.stdout.read()
    assert process.returncode == 255, output
    expected = "error: params.yaml: seed is 2, was 1; autoencoder/network/step.py has changed, so"
    assert expected in output
    assert len(checkpoints(project, "models/.checkpoints")) == 1
    assert (project.root / "dvc.lock").read_text() == lock
    project.set_params(seed=1)
    project.run("git", "checkout", "autoencoder")
    assert "resuming after epoch 200" in project.run("dvc", "repro")


def test_a_second_trainer_is_refused_and_a_damaged_checkpoint_ignored(project: Project) -> None:
    project.set_params(epochs=4)
    with process_lock(project.root / "checkpoints/lock"):
        output = project.run_module("stages.train", *TRAIN[2:], status=1)
    assert f"process {os.getpid()};" in output
    assert output.count("\n") == 1
    assert not (project.root / "loss.csv").exists()
    train_until(project, 2, signal.SIGKILL)
    (state,) = checkpoints(project)
    state.write_text("damaged")
    assert f"{state.name}: damaged" in project.run_module("stages.train", *TRAIN[2:])


@pytest.mark.slow
def test_a_checkpoint_of_another_run_is_kept_and_not_used(project: Project) -> None:
    project.set_params(epochs=10)
    train_until(project, 2, signal.SIGKILL)
    (state,) = checkpoints(project)
    whole = state.read_bytes()

    def other_parameter() -> None:
        project.set_params(weight_decay=0.5)

    def other_code() -> None:
        with (project.root / "autoencoder/network/step.py").open("a") as file:
            file.write("ANOTHER_VERSION = 1\n")

    def other_data() -> None:
        table = project.root / "data/train.csv"
        table.chmod(0o644)
        header, *rows = table.read_text().splitlines(keepends=True)
        table.write_text("".join([header, *reversed(rows)]))

    for change in (other_parameter, other_code, other_data):
        project.run("git", "checkout", "--quiet", ".")
        project.set_params(epochs=10)
        change()
        output = project.run("python", *TRAIN)
        assert "resuming after" not in output, change.__name__
        assert f"{state.name}: kept, epoch " in output
        assert checkpoints(project) == [state]
        assert state.read_bytes() == whole


@pytest.mark.slow
def test_divergence_leaves_the_last_good_model(project: Project) -> None:
    project.set_params(epochs=10)
    train_until(project, 2, signal.SIGKILL)
    (state,) = checkpoints(project)
    with safe_open(state, "pt") as file:
        facts = json.loads(file.metadata()["checkpoint"])
    tensors = load_file(state)
    good = tensors["best_weights"]
    tensors["weights"] = torch.full_like(good, torch.nan)
    Checkpoints(state.parent, facts["lineage"]).save(tensors, facts["epoch"])

    output = project.run("python", *TRAIN, status=1)
    assert re.search(
        r"error: training diverged: the loss is nan in epoch \d+, step 1; lower", output
    )
    first = load_file(project.root / "m.safetensors")["encoder.0.weight"]
    assert torch.equal(first.flatten(), good[: first.numel()])
