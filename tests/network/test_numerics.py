"""Device and floating-point settings."""

import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.project import Project
from torch import Tensor

from autoencoder.base.errors import UserError
from autoencoder.network import numerics
from autoencoder.network.distributed import World
from autoencoder.network.numerics import choose_device, configure_numerics, describe_environment


@pytest.mark.skipif(torch.cuda.device_count() > 0, reason="there is an NVIDIA GPU")
def test_device() -> None:
    mps = torch.backends.mps.is_available()
    assert choose_device("auto").type == ("mps" if mps else "cpu")
    assert choose_device("cpu").type == "cpu"
    with pytest.raises(UserError, match=r"device is 'cuda': .*; use device: auto"):
        choose_device("cuda")
    if not mps:
        with pytest.raises(UserError, match="device is 'mps', which is not available"):
            choose_device("mps")


@pytest.mark.skipif(torch.cuda.device_count() > 0, reason="there is an NVIDIA GPU")
def test_a_gpu_that_pytorch_cannot_use_is_named(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The driver reports it, but is too old, or only a part of it is in the container."""
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert choose_device("auto") == torch.device("cpu")
    (line,) = caplog.messages
    assert line.startswith("training on the CPU: ")
    with pytest.raises(UserError, match=r"^params.yaml: device is 'cuda': .*use device: auto$"):
        choose_device("cuda")


def test_a_gpu_without_kernels_is_named(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Of an architecture, for example, that this PyTorch was not built for."""

    def no_kernel(*_: object, device: str) -> None:
        raise RuntimeError("CUDA error: no kernel image is available\nCompile with TORCH_USE_…")

    caplog.set_level(logging.INFO)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch, "ones", no_kernel)
    assert choose_device("auto") == torch.device("cpu")
    choose_device("auto", World(1, 2, 1, 1))  # only one process of a machine reports it
    assert caplog.messages == ["training on the CPU: CUDA error: no kernel image is available"]


def test_each_process_takes_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    current: list[int] = []
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    monkeypatch.setattr(torch, "ones", lambda *_, device: torch.zeros(2))
    for name in ("auto", "cuda"):
        assert choose_device(name, World(3, 4, 1, 2)) == torch.device("cuda:1")
        assert choose_device(name) == torch.device("cuda:0")
    assert current == [1, 0, 1, 0]
    assert choose_device("auto", World(2, 3, 2, 3)) == torch.device("cpu")
    with pytest.raises(UserError, match="device is 'cuda': 2 GPUs for 3 processes"):
        choose_device("cuda", World(2, 3, 2, 3))


def test_an_apple_gpu_trains_in_a_single_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose_device("auto") == choose_device("mps") == torch.device("mps")
    assert choose_device("auto", World(0, 2, 0, 2)) == torch.device("cpu")
    with pytest.raises(UserError, match="device is 'mps', which is not available"):
        choose_device("mps", World(0, 2, 0, 2))


def test_scoring_has_a_fixed_number_of_threads() -> None:
    torch.set_num_threads(2)
    configure_numerics()
    assert torch.get_num_threads() == numerics.SCORING_THREADS == 1


HOSTILE = {
    "OMP_DYNAMIC": "true",
    "OMP_THREAD_LIMIT": "2",
    "OMP_MAX_ACTIVE_LEVELS": "0",
    "OMP_NUM_THREADS": "4,2",
    "NPY_DISABLE_CPU_FEATURES": "AVX512F AVX512CD AVX512_SKX",
    "NVIDIA_TF32_OVERRIDE": "1",
    "PYTORCH_TUNABLEOP_ENABLED": "1",
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": "1",
    "ONEDNN_MAX_CPU_ISA": "AVX512_CORE_AMX",
    "MKL_CBWR": "AVX2",
    "OPENBLAS_CORETYPE": "Haswell",
    "ATEN_CPU_CAPABILITY": "default",
}


@pytest.mark.slow
def test_the_environment_does_not_change_results(fresh: Project, tmp_path: Path) -> None:
    """A program, its settings and its numbers: the same with any of these variables."""
    package = tmp_path / "stages"
    package.mkdir()
    (package / "__init__.py").write_text((fresh.root / "stages/__init__.py").read_text())
    (package / "probe.py").write_text("""
import os, numpy, torch
from autoencoder.network.numerics import configure_numerics
from autoencoder.network.threads import available_threads
print(configure_numerics(), torch.backends.cuda.matmul.fp32_precision)
print((torch.tensor(1e-30) * torch.tensor(1e-10)).item())
print(sorted(name for name in os.environ if name.startswith(("OMP_", "NPY_", "TORCH_ALLOW"))))
print(float(numpy.log(numpy.linspace(0.1, 1, 1001, dtype=numpy.float32)).sum()))
torch.set_num_threads(3)
a, b = torch.rand(64, 784, generator=torch.Generator().manual_seed(0)), torch.ones(784, 512)
print(bool((torch.mm(a, b) - a.sum(1, keepdim=True)).abs().max() < 1e-2))
print(float(torch.mm(a, b).double().sum()))
print(os.environ["OMP_NUM_THREADS"])
""")
    outputs = []
    for variables in ({"OMP_NUM_THREADS": "2"}, HOSTILE):
        project = Project(tmp_path)
        project.environment |= {"PYTHONPATH": str(fresh.root), **variables}
        outputs.append(project.run("python", "-m", "stages.probe"))
    assert outputs[0] == outputs[1]
    assert outputs[0].splitlines()[0].endswith(" ieee")
    assert "\n0.0\n['OMP_DYNAMIC', 'OMP_NUM_THREADS']\n" in outputs[0]
    assert outputs[0].splitlines()[-1] == "2"


def test_inaccurate_products_are_not_used(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    usual = configure_numerics()
    if usual != "oneDNN":
        pytest.skip(f"products by {usual}, which has no less accurate setting")
    monkeypatch.setattr(numerics, "_MAX_ERROR", 1e-9)
    assert configure_numerics() in ("MKL", "default")
    assert torch.backends.mkldnn.matmul.fp32_precision == "ieee"  # type: ignore[attr-defined]
    (line,) = caplog.messages
    assert "oneDNN's have an error of" in line


@pytest.mark.parametrize(("error", "used"), [(2e-4, True), (0.1, False)])
def test_the_error_of_float32_is_accepted_and_that_of_bfloat16_is_not(
    monkeypatch: pytest.MonkeyPatch, error: float, used: bool
) -> None:
    if not torch.backends.mkldnn.is_available():
        pytest.skip("this PyTorch has no oneDNN")
    matmul: Any = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]

    def product(dtype: torch.dtype) -> Tensor:
        rounding = error if matmul.fp32_precision == "bf16" else 0.0
        return torch.full((2,), 200 + rounding, dtype=dtype)

    monkeypatch.setattr(numerics, "_product", product)
    assert (configure_numerics() == "oneDNN") == used


def test_products_without_the_setting_s_effect_are_not_called_onednn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As on processors without AVX-512, where PyTorch takes MKL whatever the setting says."""
    monkeypatch.setattr(numerics, "_product", lambda dtype: torch.ones(2, dtype=dtype))
    assert configure_numerics() in ("MKL", "default")


def test_denormals_are_zero_and_products_in_float32() -> None:
    torch.backends.cuda.matmul.fp32_precision = "tf32"
    configure_numerics()
    assert (torch.tensor(1e-30) * torch.tensor(1e-10)).item() == 0
    assert torch.backends.cuda.matmul.fp32_precision == "ieee"


def test_the_environment_is_that_of_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"GPU {device.index}")
    found = describe_environment(torch.device("cpu"), "oneDNN")
    assert found == {
        "torch": torch.__version__,
        "numpy": np.__version__,
        "device": "cpu",
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "products": "oneDNN",
    }
    assert describe_environment(torch.device("cuda:1"), "MKL")["device"] == "GPU 1"


def test_the_reason_of_pytorch_is_given_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    def is_available() -> bool:
        warnings.warn("old\ndriver", stacklevel=1)
        return False

    monkeypatch.setattr(torch.cuda, "is_available", is_available)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(2):
            with pytest.raises(UserError, match="device is 'cuda': old driver; use device: auto"):
                choose_device("cuda")


@pytest.mark.parametrize(("mkl", "products"), [(True, "MKL"), (False, "default")])
def test_without_onednn_products_are_those_of_pytorch(
    monkeypatch: pytest.MonkeyPatch, mkl: bool, products: str
) -> None:
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: mkl)
    assert configure_numerics() == products
