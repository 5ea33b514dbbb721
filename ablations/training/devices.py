"""Whether a run can be trained on the devices that it asks for."""

from __future__ import annotations

import torch
from torch import nn

from ablations.config.schema import RunConfig
from ablations.data import ImageDataset
from ablations.errors import ConfigError, DataError
from ablations.text.phrases import pluralize
from poolformer.metaformer import MetaFormer


def uses_gpu(accelerator: str) -> bool:
    """Whether ``system.accelerator`` means a GPU on this machine.

    Raises:
        ConfigError: It requires a GPU and there is none.
    """
    available = torch.cuda.is_available()
    if accelerator == "gpu" and not available:
        raise ConfigError("system.accelerator gpu: this machine has none that torch can use")
    return available and accelerator != "cpu"


def check_devices(config: RunConfig, images: ImageDataset) -> None:
    """Check that a run can be trained on as many devices as it asks for.

    Raises:
        ConfigError: There are too few GPUs, or the model has a batch norm and trains on CPUs.
        DataError: There are fewer validation images than processes.
    """
    system = config.system
    gpu = uses_gpu(system.accelerator)
    if system.world_size == 1:
        return
    if gpu and torch.cuda.device_count() < system.devices:
        raise ConfigError(
            f"system.devices {system.devices}: this process sees "
            f"{pluralize(torch.cuda.device_count(), 'GPU')}"
        )
    if not gpu and _has_batch_norm(config):
        raise ConfigError(
            f"system.devices {system.devices} on system.nodes {system.nodes}: on CPUs torch has no "
            "batch norm over several processes: use one process, GPUs, or another model.norm "
            "(group, layer, none)"
        )
    if len(images.val) < system.world_size:
        raise DataError(
            f"{pluralize(len(images.val), 'validation image')} cannot be shared out among "
            f"{system.world_size} processes"
        )


def _has_batch_norm(config: RunConfig) -> bool:
    """Whether the model has a batch norm, the config's or a token mixer's own."""
    with torch.random.fork_rng(devices=[]):
        model = MetaFormer(config.model)
    return any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules())
