"""`ablations eval`: measure the accuracy of a checkpoint or of a run.

Measure top-1 and top-5 on validation images: of a run by its id, or of a checkpoint with the
paper's validation transform (--data.root DIR with val/<class>/*). Any field of a run is a flag:
`ablations train --help`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

from ablations.cli.options import add_results, add_shared, path_argument
from ablations.cli.parser import Parser
from ablations.config.data_sources import find_data_source
from ablations.console import screen
from ablations.console.display import ProgressBar
from ablations.errors import ConfigError
from ablations.store.run_progress import describe_stall
from ablations.text.phrases import format_duration, pluralize


def add(command: Parser) -> None:
    """Declare the flags."""
    command.add_argument("run_id", nargs="?", help="a run in the results folder")
    command.add_argument(
        "--checkpoint",
        type=path_argument,
        metavar="FILE",
        help="weights in any layout: official, timm or own",
    )
    command.add_argument(
        "--arch", metavar="NAME", help="the checkpoint's model by name, such as poolformer_s12"
    )
    command.add_argument(
        "--resize-position-embedding",
        action="store_true",
        help="interpolate the position embedding where --data.image_size is not the checkpoint's",
    )
    add_shared(command, "--plugins")
    add_results(command)


def run(arguments: argparse.Namespace) -> int:
    """Measure and print; return 1 where logits are not finite."""
    if (arguments.run_id is None) == (arguments.checkpoint is None):
        raise ConfigError("`ablations eval` needs either a run id or --checkpoint FILE")
    if arguments.run_id is not None and (arguments.arch or arguments.resize_position_embedding):
        raise ConfigError("--arch and --resize-position-embedding need --checkpoint")

    from ablations.training import evaluate
    from ablations.training.devices import uses_gpu

    overrides = {**evaluate.default_fields(), **arguments.fields_set}
    if arguments.run_id is not None:
        subject = evaluate.model_from_run(arguments.run_id, arguments.results, overrides)
    else:
        subject = evaluate.model_from_checkpoint(
            arguments.checkpoint, overrides, arguments.arch, arguments.resize_position_embedding
        )
    data = subject.config.data
    if "data.root" in arguments.fields_set and not find_data_source(data.name).reads_root:
        raise ConfigError(f"--data.root is not for data.name {data.name}, which does not read it")
    images = evaluate.validation_images(subject.config)
    device = "gpu" if uses_gpu(subject.config.system.accelerator) else "cpu"
    crop = f", crop {data.crop_pct:g}, bicubic" if data.pipeline == "timm" else ""
    screen.out("; ".join([subject.name, *subject.notes]))
    count = pluralize(len(images.val), "image")
    screen.out(
        f"{data.root or data.name}: {count} of {len(images.classes)} "
        f"classes at {data.image_size}x{data.image_size}{crop}, {device}, "
        f"{evaluate.evaluation_precision(subject.config)}"
    )
    with ProgressBar(silent=describe_stall) as bar:
        progress = partial(_with_progress, bar=bar, total=len(images.val))
        accuracy = evaluate.evaluate_model(subject, images, progress)
    screen.out(
        f"top-1 {accuracy.top1:.2f}%, top-5 {accuracy.top5:.2f}%, "
        f"{pluralize(accuracy.images, 'image')}, {accuracy.speed:.1f} images/s"
    )
    if accuracy.nonfinite:
        screen.note(
            f"{pluralize(accuracy.nonfinite, 'image')} gave logits that are NaN or infinite"
        )
    return 1 if accuracy.nonfinite else 0


def _with_progress(batches: Iterable[Any], bar: ProgressBar, total: int) -> Iterator[Any]:
    """Yield the batches, and show on the bar how many images are done."""
    seen, start = 0, time.perf_counter()
    for batch in batches:
        yield batch
        seen += len(batch[1])
        speed = seen / (time.perf_counter() - start)
        text = f"evaluated {seen:,} of {pluralize(total, 'image')}, {speed:,.1f} images/s"
        bar.update(seen / total, f"{text}, {format_duration((total - seen) / speed)} left")
