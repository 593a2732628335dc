"""The network: shapes and ranges, its first gradients, its file, its errors."""

import json
import resource
import subprocess
import sys
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
from autoencoder.network.model import Autoencoder, CentredLinear, to_unit_range


@pytest.mark.parametrize("activation", get_args(Activation))
@pytest.mark.parametrize("z_size", [1, 32, 100])
def test_shapes_and_ranges(images: Tensor, z_size: int, activation: str) -> None:
    model = network(images, z_size, activation)
    z = model.encode(to_unit_range(images))
    x = model.decode(z)
    assert z.shape == (600, z_size)
    assert x.shape == (600, 784)
    for values in (z, x):
        assert (values >= 0).all()
        assert (values <= 1).all()
    assert torch.allclose(torch.sigmoid(model(to_unit_range(images))), x)


def test_layers() -> None:
    sizes = [
        (layer.in_features, layer.out_features)
        for layer in Autoencoder(32, "relu").modules()
        if isinstance(layer, nn.Linear)
    ]
    assert sizes == [(784, 512), (512, 256), (256, 32), (32, 256), (256, 512), (512, 784)]


def test_a_centred_layer_is_a_linear_layer_with_another_bias() -> None:
    torch.manual_seed(0)
    layer = CentredLinear(20, 10)
    x = torch.rand(5, 20)
    bias = layer.bias - layer.weight.sum(1) / 2
    assert torch.allclose(layer(x), F.linear(x, layer.weight, bias), atol=1e-6)


@pytest.mark.parametrize("activation", get_args(Activation))
def test_gradients_reach_the_first_layer(images: Tensor, activation: str) -> None:
    model = network(images, activation=activation)
    x = to_unit_range(images[:64])
    F.binary_cross_entropy_with_logits(model(x), x).backward()
    norms = [
        layer.weight.grad.norm().item()
        for layer in model.modules()
        if isinstance(layer, nn.Linear) and layer.weight.grad is not None
    ]
    assert len(norms) == 6
    assert 0.1 < norms[0] / norms[-1] < 10


def test_the_first_reconstruction_is_near_the_mean_image(images: Tensor) -> None:
    x = to_unit_range(images)
    mean = x.mean(0).clamp(1e-3, 1 - 1e-3)
    of_mean = F.binary_cross_entropy(mean.expand_as(x), x)
    of_half = F.binary_cross_entropy(torch.full_like(x, 0.5), x)
    first = per_image_losses(network(images), images)[0].mean()
    assert abs(first - of_mean) < 0.3 * (of_half - of_mean)


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
model, images = Autoencoder(8, "sigmoid"), torch.zeros(40_000, 784, dtype=torch.uint8)
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
    model = network(images, z_size=7, activation="gelu")
    model.save(tmp_path / "m.safetensors", {"seed": 3})
    loaded = Autoencoder.load(tmp_path / "m.safetensors")
    assert (loaded.z_size, loaded.activation) == (7, "gelu")
    assert torch.equal(loaded(to_unit_range(images)), model(to_unit_range(images)))


@pytest.mark.slow
@pytest.mark.process
def test_saving_gives_the_same_bytes_in_every_process(tmp_path: Path) -> None:
    code = """
import sys, torch
from pathlib import Path
from autoencoder.network.model import Autoencoder
model = Autoencoder(2, "relu")
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
    architecture = {"z_size": 4_000_000, "activation": "sigmoid"}  # weights of 8 GB
    save_file(load_file(saved), saved, {"autoencoder": json.dumps({"architecture": architecture})})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UserError, match=r"not a model of this project .*size mismatch"):
        Autoencoder.load(saved)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 20  # KiB


@pytest.mark.parametrize("name", ["absent", "."])
def test_what_is_no_file_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(OSError, match=str(tmp_path)):
        Autoencoder.load(tmp_path / name)


def test_a_file_without_architecture_is_refused(saved: Path) -> None:
    save_file(load_file(saved), saved)
    with pytest.raises(UserError, match="not a model of this project"):
        Autoencoder.load(saved)


def test_weights_of_another_precision_become_float32(saved: Path) -> None:
    resave(saved, {"encoder.0.bias": torch.full((512,), 0.1, dtype=torch.float64)})
    bias = Autoencoder.load(saved).state_dict()["encoder.0.bias"]
    assert torch.equal(bias, torch.full((512,), 0.1))


def test_weights_that_are_not_finite_are_refused(saved: Path) -> None:
    resave(saved, {"encoder.0.bias": torch.full((512,), torch.nan)})
    with pytest.raises(UserError, match=r"encoder.0.bias contains values that are not finite"):
        Autoencoder.load(saved)
