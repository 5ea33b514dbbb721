"""The accuracy of a checkpoint, or of a finished run, on validation images."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ablations import data
from ablations.config import plugins
from ablations.config.data_sources import find_data_source
from ablations.config.resolve import DERIVED_FIELDS, flatten, parse_value, resolve
from ablations.config.schema import RunConfig
from ablations.data.batches import VALIDATION_BATCH, create_validation_loader
from ablations.data.memory import memory_guard
from ablations.errors import CheckpointError, ConfigError
from ablations.machine.cores import usable_cores
from ablations.store import records
from ablations.store.records import Record
from ablations.training.devices import uses_gpu
from ablations.training.tasks.classification import create_accuracy, percent
from poolformer.checkpoints import (
    convert_layout,
    detect_layout,
    load_checkpoint,
    matching_models,
    read_weights,
)
from poolformer.config import MIXER_NAMES, SIZES, MetaFormerConfig, unknown_name
from poolformer.metaformer import MetaFormer
from poolformer.models import model_config

RECIPE = "imagenet"  # checkpoints see images through this recipe's validation transform
RELEASED = [*SIZES, "pppf", "ppff", "pppa", "ppaa"]  # presets whose crop SOURCES.md documents
AUTOCAST = {"32-true": None, "bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
Batches = Iterable[tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class EvaluatedModel:
    """A model with its weights, and how to evaluate it.

    Args:
        name: The name of the model, or the id of the run.
        config: The images, their transform, the device and the precision.
        model: The model with its weights.
        notes: Remarks for the user, a line each.
    """

    name: str
    config: RunConfig
    model: MetaFormer
    notes: list[str]


@dataclass(frozen=True)
class Accuracy:
    """The result of an evaluation.

    Args:
        top1: Percent of the images whose class has the largest logit.
        top5: Percent whose class is among the five largest (fewer if there are fewer classes).
        images: The number of images.
        speed: Images per second, from files to logits.
        nonfinite: Images with a logit that is not finite; they make the accuracy meaningless.
    """

    top1: float
    top5: float
    images: int
    speed: float
    nonfinite: int = 0


def model_from_checkpoint(
    path: Path,
    overrides: Mapping[str, Any],
    arch: str | None = None,
    resize_position_embedding: bool = False,
) -> EvaluatedModel:
    """A file of weights in any layout, with the paper's validation transform.

    The weights determine the model. If they fit several models, the name of the file decides, since
    the released files are named after their models. The crop is the paper's for that model.

    Args:
        path: The file.
        overrides: Fields of the config: where the images are, and what differs from the paper.
        arch: A name of MODELS, for weights that do not determine the model.
        resize_position_embedding: Interpolate a position embedding for another ``data.image_size``.

    Raises:
        ConfigError: The file cannot be read or does not fit, or a field is invalid.
    """
    weights = read_weights(path)
    try:
        layout, names = detect_layout(weights), matching_models(weights, path)
        head = convert_layout(weights, "own").get("head.weight")
    except CheckpointError as error:
        raise CheckpointError(f"checkpoint {path}: {error}") from error
    if arch is None and not names:
        raise CheckpointError(
            f"checkpoint {path}: its weights fit no named model; name the model with --arch NAME "
            "and --model.*"
        )
    if head is None or head.ndim != 2 or not head.numel():
        raise CheckpointError(f"checkpoint {path} has no head, so it predicts no classes")
    source = overrides.get("data.name", resolve(RECIPE).data.name)
    if (classes := find_data_source(source).num_classes) and classes != head.shape[0]:
        raise ConfigError(_class_mismatch(source, classes, head.shape[0]))
    name = arch or names[0]
    model = model_config(name, num_classes=head.shape[0])
    stated = {**_overrides_of({"model": asdict(model)}), "data.crop_pct": _crop(model)}
    config = resolve(RECIPE, {**stated, **overrides}, study_overrides=stated)
    built = MetaFormer(config.model)
    notes = [f"{layout} layout", *_override_notes(overrides)]
    notes += load_checkpoint(built, path, resize_position_embedding=resize_position_embedding)
    others = [other for other in names if other != name]
    if others and arch is None and not path.name.startswith(name):
        shown = ", ".join(others[:3]) + (f" and {len(others) - 3} more" if others[3:] else "")
        notes.append(f"the same weights fit {shown}: name the right one with --arch NAME")
    return EvaluatedModel(name, config, built, notes)


def _override_notes(overrides: Mapping[str, Any]) -> list[str]:
    """The fields of the model or its images that the user changed, in at most one note."""
    changes = [
        f"{field}={value}"
        for field, value in overrides.items()
        if field.startswith(("model.", "data.")) and field not in ("data.name", "data.root")
    ]
    return [f"with {', '.join(changes)}"] if changes else []


def _class_mismatch(source: str, found: int, expected: int) -> str:
    return (
        f"{source} has {found} classes, the model {expected}: evaluate the model on images of the "
        "classes that it was trained on"
    )


def _overrides_of(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Groups of fields as overrides of a recipe."""
    return {name: value for name, value in flatten(tree).items() if name not in DERIVED_FIELDS}


def _crop(model: MetaFormerConfig) -> float:
    """The paper's validation crop for this model, or for a released model of the same widths."""

    def similarity(run: RunConfig) -> tuple[bool, bool]:
        released = replace(run.model, drop_path=0.0, num_classes=model.num_classes)
        return released == model, released.dims == model.dims

    # Of the equally similar ones the first, which is the recipe's own model.
    released = (resolve(RECIPE, preset=preset) for preset in RELEASED)
    return max(released, key=similarity).data.crop_pct


def model_from_run(run_id: str, results: Path, overrides: Mapping[str, Any]) -> EvaluatedModel:
    """A finished run: the weights of its last epoch and its own validation images.

    Args:
        run_id: The id of the run.
        results: The results folder.
        overrides: Fields of the config to change, such as ``data.root``.

    Raises:
        ConfigError: The run does not exist or has no weights, a field is invalid, or the run needs
            a plugin that only its record names.
    """
    record = records.find_record(results, run_id)
    if record is None:
        known = [path.parent.name for path in results.glob(f"*/{records.RECORD_FILE}")]
        otherwise = f"{results} has {len(known)} records, each with an id of twelve hex digits"
        raise ConfigError(unknown_name("run", run_id, known, otherwise))
    if not (results / run_id / records.WEIGHTS_FILE).is_file():
        raise ConfigError(
            f"run {run_id} ({record.status}) has no {records.WEIGHTS_FILE} in {results / run_id}"
        )
    values = _overrides_of({name: record.config[name] for name in ("model", "data", "optim")})
    values["seed"] = record.config["seed"]
    _load_plugins(record, overrides)
    config = resolve(record.config["recipe"], {**values, **overrides}, study_overrides=values)
    if why := plugins.changed_mixers(record.environment.get("plugins", {}), config.model.mixers):
        raise ConfigError(f"run {run_id} is stale: {why}: evaluate it with the code it has")
    model = MetaFormer(config.model)
    load_checkpoint(model, results / run_id / records.WEIGHTS_FILE)
    top1 = record.metric("val/top1")
    notes = [f"its record has top-1 {top1:.2f}%"] if top1 is not None else []
    return EvaluatedModel(run_id, config, model, notes + _override_notes(overrides))


def _load_plugins(record: Record, overrides: Mapping[str, Any]) -> None:
    """Import the plugins that the user names; ConfigError if the model needs another one.

    A record may come from anywhere, so it never decides which code is imported.
    """
    named = parse_value("system.plugins", overrides.get("system.plugins", []))
    plugins.load_plugins(named)
    mixers = record.config["model"].get("token_mixers", [])
    recorded = record.config.get("system", {}).get("plugins", [])
    unnamed = [str(name) for name in recorded if name not in named]
    if unnamed and not set(map(str, mixers if isinstance(mixers, list) else [mixers])) <= set(
        MIXER_NAMES
    ):
        raise ConfigError(
            f"run {record.run_id}: its record names the plugin {', '.join(map(repr, unnamed))}; "
            "code that a record names is imported only if you name it too: --plugins "
            f"{shlex.quote(','.join(unnamed))}"
        )


def validation_images(config: RunConfig) -> data.ImageDataset:
    """The validation images of a config.

    Raises:
        DataError: They are missing or broken.
        ConfigError: They have another number of classes than the model.
    """
    images = data.load_dataset(config.data, training=False)
    found, expected = len(images.classes), config.model.num_classes
    if found != expected:
        raise ConfigError(_class_mismatch(config.data.root or config.data.name, found, expected))
    return images


def evaluate_model(
    subject: EvaluatedModel,
    images: data.ImageDataset,
    progress: Callable[[Batches], Batches] = lambda batches: batches,
) -> Accuracy:
    """Top-1 and top-5 over all validation images, on a GPU or a CPU.

    Args:
        subject: The model and how to evaluate it.
        images: The result of ``validation_images``.
        progress: Wraps the batches, to show progress.

    Raises:
        ConfigError: The config requires a GPU and there is none.
        DataError: An image cannot be decoded.
    """
    system, classes = subject.config.system, subject.config.model.num_classes
    device = torch.device("cuda" if uses_gpu(system.accelerator) else "cpu")
    torch.set_num_threads(system.threads)
    model = subject.model.eval().to(device).to(memory_format=torch.channels_last)
    if system.compile:
        model.compile()
    accuracy = create_accuracy(classes).to(device)
    size = VALIDATION_BATCH
    if device.type == "cpu":
        # Fit the caches: on 2 cores, S12 at 224 takes twice as long in batches of 120.
        size = max(1, min(size, 2**20 // subject.config.data.image_size**2))
    batches = create_validation_loader(images, subject.config.data, system.loader_workers, size)
    nonfinite = torch.zeros((), dtype=torch.long, device=device)
    cast, seen, start = AUTOCAST[evaluation_precision(subject.config)], 0, time.perf_counter()
    memory = memory_guard(f"evaluating {subject.name}")
    autocast = torch.autocast(device.type, cast, enabled=cast is not None)
    with memory, torch.inference_mode(), autocast:
        for batch, labels in progress(batches):
            inputs = batch.to(device, non_blocking=True, memory_format=torch.channels_last)
            logits, labels = model(inputs).float(), labels.to(device, non_blocking=True)
            nonfinite += (~logits.isfinite()).any(dim=1).sum()
            accuracy.update(logits, labels)
            seen += len(labels)
    speed = seen / (time.perf_counter() - start)
    return Accuracy(**percent(accuracy), images=seen, speed=speed, nonfinite=int(nonfinite))


def evaluation_precision(config: RunConfig) -> str:
    """The precision of an evaluation: float32 by default, as for published accuracies."""
    return "32-true" if config.system.precision == "auto" else config.system.precision


def default_fields() -> dict[str, Any]:
    """Fields for a process that has the machine to itself.

    Beside a GPU, all cores decode images. On a CPU, cores serve the model better (2 cores, S12 at
    224: 20 images per second against 14 with two loader workers).
    """
    cores = usable_cores()
    workers = cores if torch.cuda.is_available() else cores // 8
    return {"system.threads": cores, "system.loader_workers": workers}
