"""The network: shapes and ranges, its first gradients, its file, its errors."""

import copy
import io
import json
import pickle
import resource
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import get_args

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the name that PyTorch's own documentation gives it
from helpers.networks import network
from helpers.project import ROOT
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from autoencoder.base.errors import UserError
from autoencoder.base.params import Activation
from autoencoder.network.metrics import per_image_losses
from autoencoder.network.model import (
    ACTIVATIONS,
    Autoencoder,
    to_unit_range,
)


@pytest.mark.parametrize("activation", get_args(Activation))
@pytest.mark.parametrize("z_size", [1, 32, 100])
def test_shapes_and_ranges(images: Tensor, z_size: int, activation: Activation) -> None:
    model = network(images, z_size, activation)
    z = model.encode(to_unit_range(images))
    x = model.decode(z)
    assert z.shape == (600, z_size)
    assert x.shape == (600, 784)
    for values in (z, x):
        assert (values >= 0).all()
        assert (values <= 1).all()
    assert torch.allclose(torch.sigmoid(model(to_unit_range(images))), x)


@pytest.mark.parametrize(
    ("hidden_sizes", "sizes"),
    [
        ((512, 256), [784, 512, 256, 32, 256, 512, 784]),
        ((9,), [784, 9, 32, 9, 784]),
        ((7, 6, 5), [784, 7, 6, 5, 32, 5, 6, 7, 784]),
    ],
)
def test_layers(hidden_sizes: tuple[int, ...], sizes: list[int]) -> None:
    model = Autoencoder(hidden_sizes, 32, "relu")
    linear = [layer for layer in model.modules() if isinstance(layer, nn.Linear)]
    others = {type(layer) for layer in model.modules()} - {Autoencoder, nn.Sequential, nn.Linear}
    found = [(layer.in_features, layer.out_features) for layer in linear]
    assert (found, others) == ([*pairwise(sizes)], {nn.ReLU}), (
        "the network of autoencoder/network/model.py has other layers than before: adapt this test "
        "and what docs/development.md lists under 'Your own network'"
    )


def test_errors_are_those_of_torch(images: Tensor) -> None:
    model = network(images)
    bce, mse = per_image_losses(model, images)
    x = to_unit_range(images)
    with torch.no_grad():
        y = model.decode(model.encode(x)).double()
    expected = F.binary_cross_entropy(y, x.double(), reduction="none").mean(1)
    assert torch.allclose(bce, expected, rtol=1e-5)
    assert torch.allclose(mse, (y - x).square().mean(1), rtol=1e-5)
    assert bce.dtype == mse.dtype == torch.float64


@pytest.mark.slow
@pytest.mark.process
def test_errors_take_the_memory_of_some_images_however_many_there_are() -> None:
    code = """
import torch
from autoencoder.network.metrics import per_image_losses
from autoencoder.network.model import Autoencoder
def peak():
    return int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0])
model, images = Autoencoder((512, 256), 8, "sigmoid"), torch.zeros(40_000, 784, dtype=torch.uint8)
per_image_losses(model, images[:3000])
before = peak()
per_image_losses(model, images)
print(peak() - before)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, check=True
    )
    assert int(done.stdout) < 40 * 1024  # KiB; the images themselves take 30 MiB


def test_save_and_load(images: Tensor, tmp_path: Path) -> None:
    model = Autoencoder((30, 20), 7, "gelu")
    model.save(tmp_path / "m.safetensors", {"seed": 3})
    loaded = Autoencoder.load(tmp_path / "m.safetensors")
    assert not loaded.training
    assert (loaded.hidden_sizes, loaded.z_size, loaded.activation) == ((30, 20), 7, "gelu")
    assert torch.equal(loaded(to_unit_range(images)), model(to_unit_range(images)))


@pytest.mark.parametrize(("lineage", "noise"), [({"parameters": {"noise": 0.5}}, 0.5), ({}, 0)])
def test_the_file_says_how_much_noise_the_network_removes(
    tmp_path: Path, lineage: dict[str, dict[str, float]], noise: float
) -> None:
    Autoencoder((30, 20), 7, "gelu").save(tmp_path / "m.safetensors", lineage)
    loaded = Autoencoder.load(tmp_path / "m.safetensors")
    assert loaded.training_noise == noise
    assert loaded.lineage == lineage


@pytest.mark.usefixtures("only_linear_layers")
@pytest.mark.parametrize("activation", get_args(Activation))
def test_the_file_is_an_ordinary_network(
    images: Tensor, tmp_path: Path, activation: Activation
) -> None:
    """Loaded without this project's code, it computes the same."""
    path = tmp_path / "m.safetensors"
    network(images, 8, activation).save(path, {})
    f = ACTIVATIONS[activation]
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        encoder=nn.Sequential(
            nn.Linear(784, 64), f(), nn.Linear(64, 32), f(), nn.Linear(32, 8), nn.Sigmoid()
        ),
        decoder=nn.Sequential(
            nn.Linear(8, 32), f(), nn.Linear(32, 64), f(), nn.Linear(64, 784), nn.Sigmoid()
        ),
    )
    ordinary = nn.Sequential(layers)
    ordinary.load_state_dict(load_file(path))
    x = to_unit_range(images)
    model = Autoencoder.load(path)
    assert torch.equal(ordinary(x), model.decode(model.encode(x)))


def through_torch_save(model: Autoencoder) -> Autoencoder:
    buffer = io.BytesIO()
    torch.save(model, buffer)
    buffer.seek(0)
    loaded: Autoencoder = torch.load(buffer, weights_only=False)
    return loaded


def through_export(model: Autoencoder) -> nn.Module:
    return torch.export.export(model, (torch.rand(600, 784),)).module()


@pytest.mark.parametrize("activation", get_args(Activation))
@pytest.mark.parametrize(
    "copied",
    [
        copy.deepcopy,
        lambda model: pickle.loads(pickle.dumps(model)),
        through_torch_save,
        through_export,
    ],
    ids=["deepcopy", "pickle", "torch.save", "torch.export"],
)
def test_a_loaded_model_can_be_copied(
    saved: Path, images: Tensor, activation: Activation, copied: Callable[[nn.Module], nn.Module]
) -> None:
    network(images, 32, activation).save(saved, {})
    model = Autoencoder.load(saved)
    x = to_unit_range(images)
    assert torch.equal(copied(model)(x), model(x))


@pytest.mark.slow
@pytest.mark.process
def test_a_forked_worker_can_use_a_loaded_model(saved: Path, images: Tensor) -> None:
    """As a DataLoader's workers do, if loading has started no threads."""
    code = f"""
import multiprocessing, sys, torch
from autoencoder import Autoencoder
torch.set_num_threads(2)
model = Autoencoder.load({str(saved)!r})
process = multiprocessing.get_context("fork").Process(
    target=lambda: model.encode(torch.rand(600, 784))
)
process.start()
process.join(60)
process.kill()
sys.exit(process.exitcode)
"""
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


@pytest.mark.slow
@pytest.mark.process
def test_saving_gives_the_same_bytes_in_every_process(tmp_path: Path) -> None:
    code = """
import sys, torch
from pathlib import Path
from autoencoder.network.training_network import TrainingNetwork
model = TrainingNetwork((512, 256), 2, "relu")
model.initialise(torch.full((784,), 0.1), torch.Generator().manual_seed(0))
model.save(Path(sys.argv[1]), {"a": 1, "b": {"c": 2, "d": 3}})
"""
    for number in range(2):
        path = tmp_path / str(number)
        subprocess.run([sys.executable, "-c", code, path], cwd=ROOT, check=True)
        assert path.read_bytes() == (tmp_path / "0").read_bytes()


def resave(path: Path, change: dict[str, Tensor], drop: str | None = None) -> None:
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    weights = {name: value for name, value in load_file(path).items() if name != drop}
    save_file(weights | change, path, metadata)


@pytest.fixture
def saved(images: Tensor, tmp_path: Path) -> Path:
    network(images).save(tmp_path / "m.safetensors", {})
    return tmp_path / "m.safetensors"


def test_truncated_file_is_refused(saved: Path) -> None:
    saved.write_bytes(saved.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"m.safetensors: not a model of this project \("):
        Autoencoder.load(saved)


def test_pickle_is_refused_and_not_run(saved: Path, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "sprung",))

    torch.save({"weights": Trap()}, saved)
    with pytest.raises(UserError, match="not a model of this project"):
        Autoencoder.load(saved)
    assert not (tmp_path / "sprung").exists()


def test_other_tensors_are_refused(saved: Path) -> None:
    original = saved.read_bytes()
    for change, drop, message in (
        ({"extra": torch.zeros(1)}, None, "extra"),
        ({}, "encoder.0.bias", "encoder.0.bias"),
        ({"encoder.4.bias": torch.zeros(16)}, None, "size mismatch for encoder.4.bias"),
    ):
        saved.write_bytes(original)
        resave(saved, change, drop)
        with pytest.raises(UserError, match=f"not a model of this project .*{message}"):
            Autoencoder.load(saved)


def test_a_z_size_that_is_not_that_of_the_tensors_takes_no_memory(saved: Path) -> None:
    architecture = {  # weights of 8 GB
        "hidden_sizes": [512, 256],
        "z_size": 4_000_000,
        "activation": "sigmoid",
    }
    save_file(load_file(saved), saved, {"autoencoder": json.dumps({"architecture": architecture})})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UserError, match=r"not a model of this project .*size mismatch"):
        Autoencoder.load(saved)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 20  # KiB


@pytest.mark.parametrize(
    ("name", "reason"), [("absent", "No such file or directory"), (".", "Is a directory")]
)
def test_what_is_no_file_is_named(tmp_path: Path, name: str, reason: str) -> None:
    with pytest.raises(OSError, match=f"{reason}: '{tmp_path}"):
        Autoencoder.load(tmp_path / name)


def test_a_file_without_architecture_is_refused(saved: Path) -> None:
    save_file(load_file(saved), saved)
    with pytest.raises(UserError, match="not a model of this project"):
        Autoencoder.load(saved)


def test_weights_of_another_precision_become_float32(saved: Path) -> None:
    resave(saved, {"encoder.0.bias": torch.full((64,), 0.1, dtype=torch.float64)})
    bias = Autoencoder.load(saved).state_dict()["encoder.0.bias"]
    assert torch.equal(bias, torch.full((64,), 0.1))


def test_weights_that_are_not_finite_are_refused(saved: Path) -> None:
    resave(saved, {"encoder.0.bias": torch.full((64,), torch.nan)})
    with pytest.raises(UserError, match=r"encoder.0.bias contains values that are not finite"):
        Autoencoder.load(saved)
