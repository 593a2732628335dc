"""The train stage: resuming after it was killed, and divergence."""

import re
import signal

import pytest
import torch
from conftest import TRAIN, Project, train_outputs
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from autoencoder.network.model import Autoencoder


def train_until(project: Project, epoch: int, how: signal.Signals) -> None:
    """Start a training run, and stop it when it has said that `epoch` is done."""
    with project.start("python", *TRAIN) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith(f"epoch {epoch:2d} "):
                process.send_signal(how)
                break
    assert process.returncode != 0


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
    assert not (project.root / "checkpoint").exists()


@pytest.mark.slow
def test_a_checkpoint_of_another_run_is_not_used(project: Project) -> None:
    project.set_params(epochs=10)
    train_until(project, 2, signal.SIGKILL)
    checkpoint = project.root / "checkpoint"
    whole = checkpoint.read_bytes()

    def other_parameter() -> None:
        project.set_params(weight_decay=0.5)

    def other_code() -> None:
        with (project.root / "autoencoder/network/step.py").open("a") as file:
            file.write("# another version\n")

    def other_data() -> None:
        table = project.root / "data/train.csv"
        table.chmod(0o644)
        header, *rows = table.read_text().splitlines(keepends=True)
        table.write_text("".join([header, *reversed(rows)]))

    for change in (other_parameter, other_code, other_data):
        project.run("git", "checkout", "--quiet", ".")
        project.set_params(epochs=10)
        checkpoint.write_bytes(whole)
        change()
        assert "resuming after" not in project.run("python", *TRAIN), change.__name__


@pytest.mark.slow
def test_divergence_leaves_the_last_good_model(project: Project) -> None:
    project.set_params(epochs=10)
    train_until(project, 2, signal.SIGKILL)
    state = project.root / "checkpoint"
    with safe_open(state, "pt") as file:
        metadata = file.metadata()
    tensors = load_file(state)
    good = tensors["best_weights"]
    tensors["weights"] = torch.full_like(good, torch.nan)
    save_file(tensors, state, metadata)

    output = project.run("python", *TRAIN, status=1)
    assert re.search(r"error: training diverged: the loss is nan in epoch \d+, step 1; try", output)
    saved = Autoencoder.load(project.root / "m.safetensors")
    assert torch.equal(torch.nn.utils.parameters_to_vector(saved.parameters()), good)
