"""Device and floating-point settings."""

import pytest
import torch
from conftest import Project

from autoencoder.errors import UserError
from autoencoder.network.numerics import choose_device


def test_device() -> None:
    present = "cuda" if torch.cuda.is_available() else "cpu"
    if torch.backends.mps.is_available():
        present = "mps"
    assert choose_device("auto").type == present
    assert choose_device("cpu").type == "cpu"
    absent = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    for name in [name for name, there in absent.items() if not there]:
        with pytest.raises(UserError, match=f"device '{name}' is not available on this machine"):
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
