"""What a run computes in: ``system.precision`` as it is on this machine."""

from __future__ import annotations

import sys
from pathlib import Path

from ablations.config.schema import SystemConfig

# Without any of these there is no GPU, and torch need not be imported to say so.
DRIVERS = ["/dev/nvidiactl", "/proc/driver/nvidia", "/dev/kfd", "/dev/dxg"]


def resolve_precision(system: SystemConfig) -> str:
    """``auto`` as bf16-mixed on a GPU that has it, else as 32-true: a CPU is faster in float32."""
    if system.precision != "auto":
        return system.precision
    here = "torch" in sys.modules or any(Path(driver).exists() for driver in DRIVERS)
    if system.accelerator == "cpu" or not here:
        return "32-true"

    import torch

    # torch emulates it on older GPUs, slowly.
    native = torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    return "bf16-mixed" if native else "32-true"
