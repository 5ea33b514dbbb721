"""The config of a run: frozen dataclasses, and the run id that follows from them.

The id covers the fields that change the result (``model``, ``data``, ``optim``, ``seed``). It does
not cover ``system``, the location of the data and the name of the recipe.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

import orjson

from ablations.config.data_sources import find_data_source
from ablations.config.limits import INF, check_fields, check_number
from ablations.errors import ConfigError
from poolformer.config import MetaFormerConfig

# Fields that only one of the pipelines uses.
TENSOR_ONLY = ["fit", "crop_padding"]
TIMM_ONLY = ["auto_augment", "color_jitter", "random_erasing", "crop_scale", "crop_pct"]
TIMM_ONLY += ["train_interpolation"]


@dataclass(frozen=True)
class DataConfig:
    """The images and how they reach the model.

    Args:
        name: mini, fashion, cifar10, cifar100, imagenette, folder, or a data source that a plugin
            registers.
        root: Folder of the files, or null where the images are in the package or are found; does
            not change the result, so it is not part of the id.
        image_size: Side of an image in pixels, 1 or more; the model is built from it.
        batch_size: Images a step over all devices, 1 or more: the effective batch.
        pipeline: tensor (all images in memory, shift and flip on whole batches; for small images)
            or timm (timm's ImageNet transforms, image by image).
        hflip: Probability of a horizontal flip, 0 to 1.
        fit: pad (zeros around the image) or resize (bilinear) to ``image_size``; read by pipeline
            tensor only.
        crop_padding: Largest random shift in pixels, with zeros moving in, 0 or more; read by
            pipeline tensor only.
        auto_augment: RandAugment or AutoAugment policy of timm's, such as rand-m9-mstd0.5-inc1;
            null for none; read by pipeline timm only.
        color_jitter: Strength of the colour jitter, 0 or more; read by pipeline timm only, where
            ``auto_augment`` does not replace it.
        random_erasing: Probability of erasing a rectangle, 0 to 1; read by pipeline timm only.
        crop_scale: Smallest and largest area of the random resized crop as shares of the image,
            above 0 to 1; read by pipeline timm only.
        crop_pct: Share of the resized image that validation crops from its centre, 0.05 to 1; read
            by pipeline timm only.
        train_interpolation: bilinear, bicubic or random; read by pipeline timm only.
        mixup: Mixup alpha, 0 for none.
        cutmix: CutMix alpha, 0 for none.
        mixup_prob: Probability that a batch is mixed, 0 to 1; read with ``mixup`` or ``cutmix``.
        mixup_switch_prob: Probability of CutMix where both are on, 0 to 1.
    """

    name: str = "mini"
    root: str | None = None
    image_size: int = 32
    batch_size: int = 128
    pipeline: str = "tensor"
    hflip: float = 0.5
    fit: str = "pad"
    crop_padding: int = 0
    auto_augment: str | None = None
    color_jitter: float = 0.0
    random_erasing: float = 0.0
    crop_scale: tuple[float, float] = (0.08, 1.0)
    crop_pct: float = 1.0
    train_interpolation: str = "bilinear"
    mixup: float = 0.0
    cutmix: float = 0.0
    mixup_prob: float = 1.0
    mixup_switch_prob: float = 0.5

    def __post_init__(self) -> None:
        source = find_data_source(self.name)
        if self.root == "":
            raise ConfigError("data.root is an empty name: give a folder, or null")
        check_fields("data", self)
        if self.pipeline == "tensor" and not source.in_memory:
            raise ConfigError(
                f"data.pipeline tensor holds all images in memory and cannot read {self.name}: "
                "use data.pipeline timm"
            )
        other, unused = (
            ("timm", TIMM_ONLY) if self.pipeline == "tensor" else ("tensor", TENSOR_ONLY)
        )
        for name in unused:
            if getattr(self, name) != getattr(DataConfig, name):
                raise ConfigError(
                    f"data.{name} is read by data.pipeline {other} only, and this run has "
                    f"{self.pipeline}: leave it out or change data.pipeline"
                )
        low, high = self.crop_scale
        if not 0 < low <= high <= 1:
            raise ConfigError(f"data.crop_scale {[low, high]} must rise within (0, 1]")

    @property
    def mixing(self) -> bool:
        """Whether batches are mixed, so that the loss sees soft targets."""
        return self.mixup > 0 or self.cutmix > 0


@dataclass(frozen=True)
class OptimConfig:
    """How the model is trained.

    Args:
        optimizer: adamw, adam, lamb, lion or sgd (with momentum 0.9), from timm. Biases, norms and
            LayerScale are not decayed.
        lr: Peak learning rate, above 0; null: ``lr_base`` x batch_size / 1024, the paper's rule.
        lr_base: Learning rate at a batch of 1024 images, above 0; resolved into ``lr``, then null.
        weight_decay: Decoupled weight decay, 0 or more.
        betas: The two decay rates of the moments, each 0 to below 1; read by adamw, adam, lamb and
            lion.
        eps: The optimizer's epsilon, 0 or more; read by adamw, adam and lamb.
        epochs: Passes over the training images, before the cool-down, 1 or more.
        warmup_epochs: Of these, epochs of linear warm-up: 0 or more, fewer than ``epochs``.
        warmup_lr: Learning rate at the first step, 0 or more; read with ``warmup_epochs`` above 0.
        min_lr: Learning rate at the end of the cosine and in the cool-down, 0 or more.
        cooldown_epochs: Epochs added at ``min_lr``, 0 or more.
        schedule_unit: step or epoch: how often the learning rate changes.
        label_smoothing: Share of the target spread over all classes, 0 to 0.999.
        grad_clip: Largest norm of the whole gradient, above 0; null for no clipping.
    """

    optimizer: str = "adamw"
    lr: float | None = None
    lr_base: float | None = 1e-3
    weight_decay: float = 0.05
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    epochs: int = 300
    warmup_epochs: int = 5
    warmup_lr: float = 1e-6
    min_lr: float = 1e-5
    cooldown_epochs: int = 0
    schedule_unit: str = "step"
    label_smoothing: float = 0.1
    grad_clip: float | None = None

    def __post_init__(self) -> None:
        check_fields("optim", self)
        if not 0 <= self.warmup_epochs < self.epochs:
            fitting = max(0, min(self.warmup_epochs, self.epochs - 1))
            cooling = ""
            if cool := self.cooldown_epochs:
                cooling = f"; {cool} epochs of cool-down come on top (--optim.cooldown_epochs)"
            raise ConfigError(
                f"optim.warmup_epochs {self.warmup_epochs} must be 0 or more and fewer than "
                f"optim.epochs {self.epochs}: add --optim.warmup_epochs {fitting}{cooling}"
            )
        for name in ("lr", "lr_base", "grad_clip"):
            value = getattr(self, name)
            if value is not None and not 0 < value < INF:
                raise ConfigError(f"optim.{name} {value} must be positive, or null")
        if self.lr is None and self.lr_base is None:
            raise ConfigError("optim.lr and optim.lr_base are both null: set one")

    @property
    def total_epochs(self) -> int:
        """Epochs that are trained, cool-down included."""
        return self.epochs + self.cooldown_epochs


@dataclass(frozen=True)
class SystemConfig:
    """How a run uses its machine. These fields do not change the run id.

    Args:
        accelerator: auto (a GPU where there is one), cpu or gpu.
        devices: GPUs (or processes on the CPU) a run trains on, on each of its machines, 1 to
            4096; the images of a step are divided among them.
        nodes: Machines a run trains on, 1 to 4096.
        precision: auto (bf16-mixed on a GPU that has it, 32-true elsewhere), 32-true, bf16-mixed
            or 16-mixed.
        threads: CPU threads of torch, 1 to 4096. One is the default because two processes of one
            thread beat one of two on small models, and because a sum's last digit depends on it.
        loader_workers: Processes that prepare images for the timm pipeline, 0 to 4096; 0 for none.
        compile: Whether the model goes through torch.compile.
        tracker: wandb (offline without an account, or as WANDB_MODE says) or none.
        project: The W&B project; the default leaves it to WANDB_PROJECT, where that is set.
        log_model: Whether the weights of the last epoch go to W&B too.
        plugins: Modules to import first, whose token mixers ``model.token_mixers`` may name.
    """

    accelerator: str = "auto"
    devices: int = 1
    nodes: int = 1
    precision: str = "auto"
    threads: int = 1
    loader_workers: int = 0
    compile: bool = False
    tracker: str = "wandb"
    project: str = "metaformer-ablations"
    log_model: bool = False
    plugins: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_fields("system", self)

    @property
    def world_size(self) -> int:
        """Processes that train one run."""
        return self.devices * self.nodes


@dataclass(frozen=True)
class RunConfig:
    """One run, fully resolved; `ablations.resolve` builds it.

    Args:
        seed: Seeds the weights, the order of the images and their augmentation; 0 to 2147483647.
        recipe: The recipe that it was built from; a label, not part of the id.
    """

    model: MetaFormerConfig = field(default_factory=MetaFormerConfig)
    data: DataConfig = field(default_factory=DataConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    system: SystemConfig = field(default_factory=SystemConfig)
    seed: int = 0
    recipe: str = "mini"

    def __post_init__(self) -> None:
        if type(self.seed) is not int:  # True equals 1, but would give another id
            raise ConfigError(f"seed {self.seed!r} must be a whole number")
        check_number("seed", self.seed, 0, 2**31 - 1)
        if self.data.batch_size % self.system.world_size:
            raise ConfigError(
                f"data.batch_size {self.data.batch_size} is the batch over all devices, and cannot "
                f"be divided evenly among system.devices {self.system.devices} on system.nodes "
                f"{self.system.nodes}"
            )
        if self.data.mixing and self.data.batch_size // self.system.world_size % 2:
            raise ConfigError(
                f"data.batch_size {self.data.batch_size} gives each process an odd number of "
                "images, but mixup and cutmix pair them: use a multiple of "
                f"{2 * self.system.world_size}"
            )

    @property
    def run_id(self) -> str:
        """First 12 hex digits of a SHA-256 over the canonical JSON of the fields in the id."""
        return run_id_of(self.to_json())

    @property
    def variant_id(self) -> str:
        """The id that all seeds of a variant share: the run id with seed 0."""
        return replace(self, seed=0).run_id

    def to_json(self) -> dict[str, Any]:
        """The config as JSON values. Bytes of a path that are not UTF-8 are escaped."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        if root := plain["data"]["root"]:
            plain["data"]["root"] = root.encode("utf-8", "backslashreplace").decode()
        return plain


RUN_ID = re.compile("[0-9a-f]{12}")  # what ``run_id_of`` gives
DEFAULTS = {group: RunConfig().to_json()[group] for group in ("model", "data", "optim")}
# Fields such as "model.norm" that were added after version 0.1. Ids leave them out while they have
# their default, so that runs trained before keep theirs.
ADDED_FIELDS: list[str] = []
# Fields with float values, also in lists or optional.
FLOATS = {
    group: [item.name for item in fields(kind) if "float" in str(item.type)]
    for group, kind in (("model", MetaFormerConfig), ("data", DataConfig), ("optim", OptimConfig))
}


def variant_key(config: Mapping[str, Any]) -> str:
    """Canonical JSON of the fields in the id of a config (as JSON values), without the seed."""
    half = {group: config[group] for group in DEFAULTS}
    half["data"] = {name: value for name, value in half["data"].items() if name != "root"}
    for group, name in (each.split(".") for each in ADDED_FIELDS):
        if half[group].get(name) == DEFAULTS[group][name]:
            half[group] = {key: value for key, value in half[group].items() if key != name}
    # Ids use the standard library's JSON. It is slow, so the result is cached per variant: a table
    # may have ten thousand records.
    return _canonical(orjson.dumps(half))


@functools.lru_cache(maxsize=100_000)
def _canonical(half: bytes) -> str:
    return json.dumps(orjson.loads(half), sort_keys=True, separators=(",", ":"))


def run_id_of(config: Mapping[str, Any], variant: str | None = None) -> str:
    """The run id of a config as JSON values, without building a RunConfig.

    Args:
        config: The config.
        variant: Its ``variant_key``, if known.
    """
    # "seed" sorts after the groups, so the JSON of the variant comes first.
    half = (variant or variant_key(config)).removesuffix("}")
    text = f'{half},"seed":{json.dumps(config["seed"])}}}'
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def with_defaults(config: Mapping[str, Any]) -> dict[str, Any]:
    """A config as JSON values, with the default of each field that its version did not have."""
    return {**config, **{group: default | config[group] for group, default in DEFAULTS.items()}}


def restore_floats(config: Mapping[str, Any]) -> dict[str, Any]:
    """A config with its floats restored, after JSON of another program wrote 1.0 as 1."""

    def point(value: Any) -> Any:
        if isinstance(value, list):
            return [point(item) for item in value]
        return float(value) if type(value) is int else value

    restored = dict(config)
    for group, names in FLOATS.items():
        values = restored[group]
        restored[group] = values | {name: point(values[name]) for name in names if name in values}
    return restored
