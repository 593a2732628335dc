"""Where and how a process computes: device, floating-point settings and environment."""

import platform

import numpy as np
import torch

from autoencoder.errors import UserError
from autoencoder.network.distributed import SINGLE, World


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


def configure_numerics(threads: int) -> None:
    """Make results independent of the environment as far as possible.

    Denormal numbers, below 1e-38, are treated as 0: AdamW's moments of pixels that are rarely lit
    decay into them, and processors handle them slowly. Matrix products are float32 even if the
    environment asks for lower precision (TORCH_ALLOW_TF32_CUBLAS_OVERRIDE).

    Parameters
    ----------
    threads : int
        CPU threads; the order of sums depends on it.
    """
    torch.set_flush_denormal(True)
    torch.set_num_threads(threads)
    torch.set_float32_matmul_precision("highest")


def describe_environment(device: torch.device) -> dict[str, str]:
    """Return what rounding depends on: packages, device and vector instructions."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "instructions": torch.backends.cpu.get_cpu_capability(),
    }
