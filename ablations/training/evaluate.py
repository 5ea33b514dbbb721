"""A checkpoint, or a run of ours -> its accuracy on validation pictures."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torchmetrics.classification import MulticlassAccuracy

from ablations import data
from ablations.config import plugins
from ablations.config.resolve import DERIVED, flatten, resolve, typed
from ablations.config.schema import SOURCES, RunConfig
from ablations.data import count_classes
from ablations.data.batches import VALIDATION_BATCH, create_validation_loader
from ablations.data.memory import memory_guard
from ablations.errors import CheckpointError, ConfigError
from ablations.machine.cores import usable_cores
from ablations.store import records
from ablations.store.records import Record
from ablations.training.loop import on_gpu
from poolformer.checkpoints import fitting, load_checkpoint, read_weights
from poolformer.config import MIXER_NAMES, SIZES, MetaFormerConfig, nearest
from poolformer.layouts import convert, layout_of
from poolformer.metaformer import MetaFormer
from poolformer.models import named

RECIPE = "imagenet"  # a checkpoint's pictures reach it as those of this recipe's validation
RELEASED = [*SIZES, "pppf", "ppff", "pppa", "ppaa"]  # its presets whose crop SOURCES.md gives
AUTOCAST = {"32-true": None, "bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
Batches = Iterable[tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Subject:
    """What is evaluated.

    Args:
        name: The model's name, or the run's id.
        config: How the pictures reach the model, and on what it computes.
        model: With its weights.
        told: What a reader should know of it, a line each.
    """

    name: str
    config: RunConfig
    model: MetaFormer
    told: list[str]


@dataclass(frozen=True)
class Accuracy:
    """What came out.

    Args:
        top1: Percent of the pictures whose class has the largest logit.
        top5: Percent whose class is among the five largest (fewer where there are fewer classes).
        pictures: How many there were.
        speed: Pictures a second, from files to logits.
        broken: Pictures with logits that are not finite; their share of the accuracy means nothing.
    """

    top1: float
    top5: float
    pictures: int
    speed: float
    broken: int = 0


def of_checkpoint(
    path: Path,
    overrides: Mapping[str, Any],
    arch: str | None = None,
    resize_position_embedding: bool = False,
) -> Subject:
    """A file of weights in any layout, with the paper's validation transform.

    The model follows from the weights, and where several have the same from the name of the file:
    the released files are named after their models. The crop is that of the model in the paper.

    Args:
        path: The file.
        overrides: Fields of a run: where the pictures are, and what differs from the paper.
        arch: A name of MODELS, where the weights do not say enough.
        resize_position_embedding: Interpolate a position embedding for another ``data.image_size``.

    Raises:
        ConfigError: A file that cannot be read or does not fit, or fields that are wrong.
    """
    weights = read_weights(path)
    try:
        layout, names = layout_of(weights), fitting(weights, path)
        head = convert(weights, "own").get("head.weight")
    except CheckpointError as error:
        raise CheckpointError(f"checkpoint {path}: {error}") from error
    if arch is None and not names:
        raise CheckpointError(
            f"checkpoint {path}: its weights fit no model by name; --arch NAME and --model.* say "
            "which it is"
        )
    if head is None or head.ndim != 2 or not head.numel():
        raise CheckpointError(f"checkpoint {path} has no head: there are no classes to compare")
    source = overrides.get("data.name", resolve(RECIPE).data.name)
    if (classes := SOURCES.get(source, (0, None))[1]) and classes != head.shape[0]:
        raise ConfigError(_other_classes(source, classes, head.shape[0]))
    name = arch or names[0]
    model = named(name, num_classes=head.shape[0])
    stated = {**_of_model(model), "data.crop_pct": _crop(model)}
    config = resolve(RECIPE, {**stated, **overrides}, None, stated, count_classes)
    built = MetaFormer(config.model)
    told = [f"{layout} layout"]
    told += _changed(overrides)
    told += load_checkpoint(built, path, resize_position_embedding=resize_position_embedding)
    others = [other for other in names if other != name]
    if others and arch is None and not path.name.startswith(name):
        shown = ", ".join(others[:3]) + (f" and {len(others) - 3} more" if others[3:] else "")
        told.append(f"the same weights fit {shown}: --arch NAME where it is one of these")
    return Subject(name, config, built, told)


def _changed(overrides: Mapping[str, Any]) -> list[str]:
    """What a user changed of the model or its pictures, in one part of a line."""
    groups = ("model.", "data.")
    found = [
        f"{field}={value}"
        for field, value in overrides.items()
        if field.startswith(groups) and field not in ("data.name", "data.root")
    ]
    return [f"with {', '.join(found)}"] if found else []


def _other_classes(where: str, found: int, known: int) -> str:
    return (
        f"{where} has {found} classes, the model {known}: evaluate it on images of the classes "
        "that it was trained on"
    )


def _of_model(model: MetaFormerConfig) -> dict[str, Any]:
    """A model as overrides of a recipe."""
    values = {f"model.{item.name}": getattr(model, item.name) for item in fields(model)}
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in values.items()
        if name not in DERIVED
    }


def _crop(model: MetaFormerConfig) -> float:
    """The share of a picture that the paper's validation sees of this model or its size."""
    released = [resolve(RECIPE, preset=preset) for preset in RELEASED]

    def same(run: RunConfig) -> bool:
        return replace(run.model, drop_path=0.0, num_classes=model.num_classes) == model

    shapes = (run for run in released if run.model.dims == model.dims)
    exact = (run for run in released if same(run))
    found = next(exact, None) or next(shapes, None) or resolve(RECIPE)
    return found.data.crop_pct


def of_run(run_id: str, results: Path, overrides: Mapping[str, Any]) -> Subject:
    """A run of ours with the weights of its last epoch, on its own validation pictures.

    Args:
        run_id: Its id.
        results: The folder of all runs.
        overrides: Fields of a run that are to differ, such as ``data.root``.

    Raises:
        ConfigError: No such run, or one without weights, fields that are wrong, or a plugin that
            only the record names.
    """
    record = records.find_record(results, run_id)
    if record is None:
        known = [path.parent.name for path in results.glob(f"*/{records.RECORD_FILE}")]
        otherwise = f"{results} has {len(known)} records, each with an id of twelve hex digits"
        raise ConfigError(nearest("run", run_id, known, otherwise))
    if not (results / run_id / records.WEIGHTS_FILE).is_file():
        raise ConfigError(
            f"run {run_id} ({record.status}) has no {records.WEIGHTS_FILE} in {results / run_id}"
        )
    stored = {name: record.config[name] for name in ("model", "data", "optim")}
    values = {name: value for name, value in flatten(stored).items() if name not in DERIVED}
    values["seed"] = record.config["seed"]
    _check_named(record, overrides)
    config = resolve(record.config["recipe"], {**values, **overrides}, None, values, count_classes)
    if why := plugins.changed(record.environment.get("plugins", {}), config.model.mixers):
        raise ConfigError(f"run {run_id} is stale: {why}: evaluate it with the code it has")
    model = MetaFormer(config.model)
    load_checkpoint(model, results / run_id / records.WEIGHTS_FILE)
    before = record.metric("val/top1")
    told = [f"its record has top-1 {before:.2f}%"] if before is not None else []
    return Subject(run_id, config, model, told + _changed(overrides))


def _check_named(record: Record, overrides: Mapping[str, Any]) -> None:
    """Raise ConfigError where a model needs a plugin that the user has not named.

    A record may come from anywhere, so it never decides what code is imported.
    """
    named = typed("system.plugins", tuple[str, ...], overrides.get("system.plugins", []))
    plugins.load(named)
    mixers = record.config["model"].get("token_mixers", [])
    theirs = record.config.get("system", {}).get("plugins", [])
    left = [str(name) for name in theirs if name not in named]
    if left and not set(map(str, mixers if isinstance(mixers, list) else [mixers])) <= set(
        MIXER_NAMES
    ):
        raise ConfigError(
            f"run {record.run_id}: its record names the plugin {', '.join(map(repr, left))}; code "
            f"that a record names is imported only where you name it too: --plugins "
            f"{shlex.quote(','.join(left))}"
        )


def pictures_of(config: RunConfig) -> data.ImageDataset:
    """The validation pictures of a config.

    Raises:
        DataError: They are missing or broken.
        ConfigError: They have another number of classes than the model.
    """
    pictures = data.load_dataset(config.data, training=False)
    found, known = len(pictures.classes), config.model.num_classes
    if found != known:
        raise ConfigError(_other_classes(config.data.root or config.data.name, found, known))
    return pictures


def measure(
    subject: Subject,
    pictures: data.ImageDataset,
    progress: Callable[[Batches], Batches] = lambda batches: batches,
) -> Accuracy:
    """Top-1 and top-5 over all validation pictures, on a GPU or a CPU.

    Args:
        subject: The model and how to feed it.
        pictures: What ``pictures_of`` gives.
        progress: Wraps the batches to show how far it is.

    Raises:
        ConfigError: A GPU is asked for and there is none.
        DataError: A picture that cannot be decoded.
    """
    system, classes = subject.config.system, subject.config.model.num_classes
    device = torch.device("cuda" if on_gpu(system.accelerator) else "cpu")
    torch.set_num_threads(system.threads)
    model = subject.model.eval().to(device).to(memory_format=torch.channels_last)
    if system.compile:
        model.compile()
    top1, top5 = (
        MulticlassAccuracy(classes, top_k=min(k, classes), average="micro").to(device)
        for k in (1, 5)
    )
    size = VALIDATION_BATCH
    if device.type == "cpu":
        # What fits into its caches: on 2 cores, S12 at 224 takes twice as long in batches of 120.
        size = max(1, min(size, 2**20 // subject.config.data.image_size**2))
    batches = create_validation_loader(pictures, subject.config.data, system.loader_workers, size)
    broken = torch.zeros((), dtype=torch.long, device=device)
    cast, seen, begun = AUTOCAST[precision(subject.config)], 0, time.perf_counter()
    what = memory_guard(f"evaluating {subject.name}")
    autocast = torch.autocast(device.type, cast, enabled=cast is not None)
    with what, torch.inference_mode(), autocast:
        for batch, labels in progress(batches):
            shown = batch.to(device, non_blocking=True, memory_format=torch.channels_last)
            logits, labels = model(shown).float(), labels.to(device, non_blocking=True)
            broken += (~logits.isfinite()).any(dim=1).sum()
            top1.update(logits, labels)
            top5.update(logits, labels)
            seen += len(labels)
    first, fifth = (round(100 * metric.compute().item(), 4) for metric in (top1, top5))
    return Accuracy(first, fifth, seen, seen / (time.perf_counter() - begun), int(broken))


def precision(config: RunConfig) -> str:
    """What it computes in: float32 unless another is asked for, as published accuracies are."""
    return "32-true" if config.system.precision == "auto" else config.system.precision


def defaults() -> dict[str, Any]:
    """Fields for a process that has the machine to itself.

    Beside a GPU all cores decode pictures; on a CPU they are better used for the model (2 cores,
    S12 at 224: 20 pictures a second against 14 with two loader processes).
    """
    cores = usable_cores()
    workers = cores if torch.cuda.is_available() else cores // 8
    return {"system.threads": cores, "system.loader_workers": workers}
