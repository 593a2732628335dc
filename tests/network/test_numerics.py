"""Device and floating-point settings."""

import pytest
import torch
from helpers.project import Project

from autoencoder.base.errors import UserError
from autoencoder.network import numerics
from autoencoder.network.numerics import choose_device, configure_numerics


def test_device() -> None:
    present = "cuda" if torch.cuda.device_count() else "cpu"
    if torch.backends.mps.is_available():
        present = "mps"
    assert choose_device("auto").type == present
    assert choose_device("cpu").type == "cpu"
    absent = {"cuda": torch.cuda.device_count() > 0, "mps": torch.backends.mps.is_available()}
    for name in [name for name, there in absent.items() if not there]:
        with pytest.raises(UserError, match=f"device '{name}' is not available on this machine"):
            choose_device(name)


def test_products_are_float32_whatever_the_environment_says(fresh: Project) -> None:
    project = Project(fresh.root)
    project.environment |= {
        "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": "1",
        "ONEDNN_MAX_CPU_ISA": "AVX512_CORE_AMX",
    }
    code = (
        "import stages, os, torch;"
        "from autoencoder.network.numerics import configure_numerics, _product_error;"
        "print(configure_numerics(), _product_error() < 1e-3);"
        "print(torch.backends.cuda.matmul.fp32_precision, os.environ['ONEDNN_MAX_CPU_ISA']);"
        "print((torch.tensor(1e-30) * torch.tensor(1e-10)).item())"
    )
    output = project.run("python", "-c", code).split()
    assert output == ["oneDNN", "True", "ieee", "AVX512_CORE", "0.0"]


def test_inaccurate_products_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numerics, "_product_error", lambda: 0.1)
    assert configure_numerics() == "default"
    assert torch.backends.mkldnn.matmul.fp32_precision == "ieee"  # type: ignore[attr-defined]
