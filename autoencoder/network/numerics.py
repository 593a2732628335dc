"""Where and how a process computes: device, matrix products and rounding."""

import logging
import warnings
from typing import Any

import numpy as np
import torch

from autoencoder.base.errors import UserError, one_line
from autoencoder.network.distributed import SINGLE, World

log = logging.getLogger(__name__)

# Outside training steps, where more threads would gain little: with other numbers of them, products
# of some shapes round differently.
SCORING_THREADS = 1

# Largest error of a matrix product whose elements are sums of 784 products in 0..1: float32 has
# 2e-4 (measured, MKL and oneDNN), bfloat16 has more than 0.1.
_MAX_ERROR = 1e-3


def choose_device(name: str, world: World = SINGLE) -> torch.device:
    """Return the device for the parameter `device`; make a GPU the current one.

    auto takes a GPU if PyTorch can use it and there is one for each process of this machine. Raises
    UserError if PyTorch cannot use the device that is asked for.
    """
    if name in ("auto", "cuda"):
        fault = _cuda_fault(world)
        if fault is None:
            torch.cuda.set_device(world.local_rank)
            return torch.device(f"cuda:{world.local_rank}")
        if name == "cuda":
            raise UserError(f"params.yaml: device is 'cuda': {fault}; use device: auto")
        # Without any GPU there is nothing to report.
        if torch.cuda.device_count() and world.local_rank == 0:
            log.info("training on the CPU: %s", fault)
    if name in ("auto", "mps"):
        if torch.backends.mps.is_available() and world.world_size == 1:
            return torch.device("mps")
        if name == "mps":
            raise UserError(
                "params.yaml: device is 'mps', which is not available on this machine or with "
                "several processes; use device: auto"
            )
    return torch.device("cpu")


def _cuda_fault(world: World) -> str | None:
    """Say in one line why this process cannot train on its GPU, or return None if it can.

    The driver can be too old for this PyTorch, or PyTorch can lack kernels for the GPU. So a small
    kernel is run.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        available = torch.cuda.is_available()
    if not available:
        reasons = [one_line(warning.message) for warning in caught]
        return reasons[0] if reasons else "no NVIDIA GPU that PyTorch can use"
    if (count := torch.cuda.device_count()) < world.local_world_size:
        return f"{count} GPUs for {world.local_world_size} processes"
    try:
        (torch.ones(2, device=f"cuda:{world.local_rank}") * 2).cpu()
    except RuntimeError as error:
        return one_line(str(error).strip().splitlines()[0])
    return None


def configure_numerics() -> str:
    """Make results independent of the environment as far as possible, and products fast.

    Denormal numbers, below 1e-38, are treated as 0: AdamW's moments of pixels that are rarely lit
    decay into them, and processors handle them slowly. Matrix products are in float32 on every
    device, even if the environment asks for lower precision.

    On a CPU with AVX-512 they go through oneDNN, which uses it where PyTorch's default, MKL, uses
    AVX2 on AMD processors, and which rounds in the same way on all of them. PyTorch chooses oneDNN
    only if bfloat16 is permitted; `base.startup` keeps oneDNN from using it, and a product is
    compared with float64 to be sure.

    Returns the library of the products on the CPU: oneDNN, MKL, or "default", PyTorch's choice for
    processors that have neither.
    """
    torch.set_num_threads(SCORING_THREADS)
    torch.set_flush_denormal(True)
    torch.backends.cuda.matmul.fp32_precision = "ieee"
    default = "MKL" if torch.backends.mkl.is_available() else "default"
    if not torch.backends.mkldnn.is_available():
        return default
    matmul: Any = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    matmul.fp32_precision = "ieee"
    usual, exact = _product(torch.float32), _product(torch.float64)
    matmul.fp32_precision = "bf16"
    product = _product(torch.float32)
    # Without AVX-512, the setting has no effect.
    if torch.equal(product, usual):
        return default
    error = float((product - exact).abs().max())
    if error <= _MAX_ERROR:
        return "oneDNN"
    matmul.fp32_precision = "ieee"
    log.warning(
        "matrix products by %s: oneDNN's have an error of %.2g, expected at most %.0e",
        default,
        error,
        _MAX_ERROR,
    )
    return default


def _product(dtype: torch.dtype) -> torch.Tensor:
    """Multiply two matrices of the first layer's shape, random numbers in 0..1."""
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.rand(shape, generator=generator) for shape in ((64, 784), (784, 512)))
    return torch.mm(a.to(dtype), b.to(dtype))


def describe_environment(device: torch.device, products: str) -> dict[str, str]:
    """Return what rounding depends on: packages, device, instruction set and products."""
    return {
        "torch": torch.__version__,
        "numpy": np.__version__,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "products": products,
    }
