"""The library in other people's hands: installed, imported, exported."""

import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.networks import network
from helpers.project import ROOT, Project, copy_checkout
from torch import Tensor

from autoencoder.network.model import to_unit_range

PROGRAMS = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for directory in ("stages", "tools", "benchmarks")
    for path in sorted((ROOT / directory).rglob("*.py"))
    if path.name not in ("setup.py", "__main__.py")
]


@pytest.mark.process
def test_importing_changes_nothing() -> None:
    code = f"""
import gc, importlib, os, sys, threading
os.environ |= {{"OMP_DYNAMIC": "true", "MKL_CBWR": "AVX2", "OMP_NUM_THREADS": "2,1"}}
before = dict(os.environ), sys.excepthook, gc.isenabled(), threading.active_count()
for module in {["autoencoder", *PROGRAMS]}:
    importlib.import_module(module)
importlib.import_module("autoencoder").Autoencoder
assert before == (dict(os.environ), sys.excepthook, gc.isenabled(), threading.active_count())
"""
    Project(ROOT).run("python", "-c", code)


@pytest.mark.slow
@pytest.mark.process
def test_the_package_is_the_library_and_loads_a_model_elsewhere(
    images: Tensor, tmp_path: Path
) -> None:
    project = copy_checkout(tmp_path / "project")
    pip = ["python", "-m", "pip", "--disable-pip-version-check"]
    options = ["--no-deps", "--no-build-isolation", "--wheel-dir", str(tmp_path)]
    project.run(*pip, "wheel", ".", *options)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        top = {name.partition("/")[0] for name in archive.namelist()}
        archive.extractall(tmp_path / "site")
    assert {name for name in top if not name.endswith(".dist-info")} == {"autoencoder"}
    assert project.run("git", "status", "--porcelain", "--untracked-files=all", "build") == ""

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    network(images).save(elsewhere / "m.safetensors", {})
    code = "from autoencoder import Autoencoder; print(Autoencoder.load('m.safetensors').z_size)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=elsewhere,
        env={"PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "32\n"


@pytest.mark.slow
def test_the_network_can_be_exported_to_onnx(images: Tensor, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx.reference", reason="onnx is not installed")
    model = network(images, activation="silu").plain()
    x = to_unit_range(images)[:5]
    torch.onnx.export(model, (x,), tmp_path / "m.onnx", verbose=False)
    (logits,) = onnx.ReferenceEvaluator(str(tmp_path / "m.onnx")).run(None, {"x": x.numpy()})
    assert np.allclose(logits, model(x).detach().numpy(), atol=1e-4)
