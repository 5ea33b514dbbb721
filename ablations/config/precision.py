"""The precision that ``system.precision`` means on this machine."""

from __future__ import annotations

import sys
from pathlib import Path

from ablations.config.schema import SystemConfig

# Without any of these there is no GPU, so torch need not be imported.
DRIVERS = ["/dev/nvidiactl", "/proc/driver/nvidia", "/dev/kfd", "/dev/dxg"]


def resolve_precision(system: SystemConfig) -> str:
    """The precision; ``auto`` is bf16-mixed on a GPU that supports it, else 32-true.

    A CPU is faster in float32.
    """
    if system.precision != "auto":
        return system.precision
    here = "torch" in sys.modules or any(Path(driver).exists() for driver in DRIVERS)
    if system.accelerator == "cpu" or not here:
        return "32-true"

    import torch

    # Older GPUs emulate bfloat16, slowly.
    native = torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    return "bf16-mixed" if native else "32-true"
