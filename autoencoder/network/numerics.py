"""Where and how a process computes: device, matrix products and rounding."""

import platform
from pathlib import Path

import numpy as np
import torch

from autoencoder.base.errors import UserError
from autoencoder.network.distributed import SINGLE, World

# Largest error of a matrix product whose elements are sums of 784 products in 0..1: float32 has
# 2e-4 (measured, MKL and oneDNN), bfloat16 has more than 0.1.
_MAX_ERROR = 1e-3


def choose_device(name: str, world: World = SINGLE) -> torch.device:
    """Return the device for the parameter `device` in this process.

    auto takes a GPU if this machine has one for each of its processes.

    Raises
    ------
    UserError
        If this machine has no such device.
    """
    available = {
        "cuda": torch.cuda.device_count() >= world.local_world_size,
        "mps": torch.backends.mps.is_available() and world.world_size == 1,
        "cpu": True,
    }
    if name == "auto":
        name = next(device for device, present in available.items() if present)
    if not available[name]:
        each = f" for {world.local_world_size} processes" if world.world_size > 1 else ""
        raise UserError(
            f"params.yaml: device {name!r} is not available on this machine{each}; use device: auto"
        )
    return torch.device(f"cuda:{world.local_rank}" if name == "cuda" else name)


def configure_numerics() -> str:
    """Make results independent of the environment as far as possible, and products fast.

    Denormal numbers, below 1e-38, are treated as 0: AdamW's moments of pixels that are rarely lit
    decay into them, and processors handle them slowly. Matrix products are in float32 on every
    device, even if the environment asks for lower precision.

    On the CPU they go through oneDNN, which uses AVX-512 where PyTorch's default, MKL, uses AVX2
    on AMD processors. PyTorch chooses oneDNN only if bfloat16 is permitted; `base.startup` keeps
    oneDNN from using it, and a product is compared with float64 to be sure.

    Returns
    -------
    str
        The library of the products on the CPU: oneDNN, or default if oneDNN is not available or
        not accurate.
    """
    torch.set_flush_denormal(True)
    torch.backends.cuda.matmul.fp32_precision = "ieee"
    if torch.backends.mkldnn.is_available():
        matmul = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
        matmul.fp32_precision = "bf16"
        if _product_error() <= _MAX_ERROR:
            return "oneDNN"
        matmul.fp32_precision = "ieee"
    return "default"


def _product_error() -> float:
    """Return the largest error of a matrix product at the first layer's shape."""
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.rand(shape, generator=generator) for shape in ((64, 784), (784, 512)))
    return float((torch.mm(a, b) - torch.mm(a.double(), b.double())).abs().max())


def describe_environment(device: torch.device, products: str) -> dict[str, str]:
    """Return what rounding depends on: packages, device, processor and products."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "processor": processor_name(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "products": products,
    }


def processor_name() -> str:
    """Return the name of the processor, as Linux knows it, or at least its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
