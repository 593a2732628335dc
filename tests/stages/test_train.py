"""The train stage: the split, the device, and going on after it was killed."""

import re
import signal

import pytest
import torch
from conftest import Project
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from autoencoder.errors import UserError
from autoencoder.network.model import Autoencoder
from autoencoder.network.numerics import choose_device
from autoencoder.network.trainer import split_validation


def test_split_takes_every_row_once() -> None:
    numbered = torch.arange(100, dtype=torch.uint8)[:, None]
    training, validation = split_validation(numbered, 0.1, seed=0)
    assert (len(training), len(validation)) == (90, 10)
    assert sorted(torch.cat([training, validation]).flatten().tolist()) == list(range(100))
    assert torch.equal(split_validation(numbered, 0.1, seed=0)[1], validation)
    assert not torch.equal(split_validation(numbered, 0.1, seed=1)[1], validation)
    assert len(split_validation(numbered, 0.001, seed=0)[1]) == 1


def test_device() -> None:
    present = "cuda" if torch.cuda.is_available() else "cpu"
    if torch.backends.mps.is_available():
        present = "mps"
    assert choose_device("auto").type == present
    assert choose_device("cpu").type == "cpu"
    absent = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    for name in [name for name, there in absent.items() if not there]:
        with pytest.raises(UserError, match=f"device is {name}, which this machine has not"):
            choose_device(name)


def test_arithmetic_is_that_of_float32_whatever_the_environment_says(fresh: Project) -> None:
    here = Project(fresh.root)
    here.environment["TORCH_ALLOW_TF32_CUBLAS_OVERRIDE"] = "1"
    code = (
        "import torch; from autoencoder.network.numerics import configure_numerics;"
        "print(torch.get_float32_matmul_precision());"
        "configure_numerics(threads=3);"
        "print(torch.get_float32_matmul_precision(), torch.get_num_threads());"
        "print((torch.tensor(1e-30) * torch.tensor(1e-10)).item())"
    )
    assert here.run("python", "-c", code).split() == ["high", "highest", "3", "0.0"]


TRAIN = [
    *("-m", "stages.train", "--table", "data/train.csv", "--model", "m.safetensors"),
    *("--losses", "loss.csv", "--checkpoint", "checkpoint"),
]


def outputs(project: Project) -> list[bytes]:
    return [(project.root / name).read_bytes() for name in ("m.safetensors", "loss.csv")]


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
    undisturbed = outputs(project)

    for name in ("m.safetensors", "loss.csv"):
        (project.root / name).unlink()
    for epoch, how in ((2, signal.SIGKILL), (5, signal.SIGINT), (8, signal.SIGTERM)):
        train_until(project, epoch, how)
        assert not (project.root / "m.safetensors").exists()
    output = project.run("python", *TRAIN)
    (after,) = re.findall(r"resuming after epoch (\d+)", output)
    assert 8 <= int(after) < 12
    assert outputs(project) == undisturbed
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
        assert "going on" not in project.run("python", *TRAIN), change.__name__


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
