"""The time that tables take: a small one from the command line, and one of very many records."""

from __future__ import annotations

import itertools
import json
import math
import random
import statistics
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from ablations import tables
from ablations.bench.timing import (
    BenchResult,
    Report,
    describe_machine,
    format_limit,
    format_spread,
    run_python,
    time_in_turns,
)
from ablations.config.resolve import resolve
from ablations.config.schema import RunConfig, run_id_of
from ablations.store import load
from ablations.store.records import RECORD_FILE, Record

SEEDS = 5
COUNTS = [10_000, 100_000]
LIMIT = 2.0  # seconds for the first of COUNTS, after imports
MAX_SLOPE = 1.1  # of time over the number of records, on logarithmic scales: 1 is linear
SMALL, SMALL_LIMIT = 54, 1.5  # records, and seconds for `ablations table` of them, all included
AXES: dict[str, list[object]] = {
    "token_mixers": ["pool", "identity", "depthwise", "random"],
    "norm": ["group", "layer", "batch"],
    "activation": ["gelu", "relu", "silu"],
    "pool_size": [3, 5, 7, 9],
}
# `ablations table` in a process of its own, which fails where torch is imported.
COMMAND = """
import sys
from ablations.cli.main import main
code = main(["table", sys.argv[1]])
sys.exit("torch was imported" if "torch" in sys.modules else code)
"""


def bench_table(config: RunConfig, rounds: int, report: Report) -> BenchResult:
    """Time tables of 54, 10,000 and 100,000 records: 1.5 s in all, 2 s, and linearly more.

    The records are made up: five seeds of thousands of variants, in a temporary folder.

    Args:
        config: Its recipe is the recipe of the records.
        rounds: How often each is timed; the largest number of records at most three times.
        report: Called with one line per step.
    """
    few, many = COUNTS
    with tempfile.TemporaryDirectory() as scratch:
        calls: dict[str, Callable[[], object]] = {}
        for count in (SMALL, few, many):
            report(f"writing {count:,} records")
            folder = Path(scratch, str(count))
            write_records(folder, count, config.recipe)
            in_process = partial(run_python, "-c", COMMAND, str(folder))
            calls[f"{count:,} records"] = in_process if count == SMALL else partial(_render, folder)
        seconds = time_in_turns(calls, rounds, report, {f"{many:,} records": 3}).values()
    small, few_times, many_times = seconds
    ratio = statistics.median(many_times) / statistics.median(few_times)
    slope = math.log(ratio) / math.log(many / few)
    passed = [
        statistics.median(small) <= SMALL_LIMIT,
        statistics.median(few_times) <= LIMIT,
        slope <= MAX_SLOPE,
    ]
    return BenchResult(
        [
            f"table: recipe {config.recipe}, {SEEDS} seeds a variant, {describe_machine()}",
            f"  `ablations table` of {SMALL} records, imports included, no torch: "
            f"{format_spread(small)}, {format_limit(passed[0], f'{SMALL_LIMIT:g} s')}",
            f"  {few:,} records from disk to Markdown: {format_spread(few_times)}, "
            f"{format_limit(passed[1], f'{LIMIT:g} s')}",
            f"  {many:,} records: {format_spread(many_times)}; time grows with the number to the "
            f"power of {slope:.2f}, {format_limit(passed[2], f'{MAX_SLOPE:g}')}",
        ],
        all(passed),
    )


def _render(folder: Path) -> None:
    """From the files to the text."""
    with load.garbage_collection_paused():
        tables.render(load.load_records([folder]).records, "md")


def write_records(folder: Path, count: int, recipe: str) -> None:
    """Write made-up records of one study: five seeds a variant, as many variants as needed."""
    noise = random.Random(count)
    for config in itertools.islice(_configs(recipe), count):
        top1 = 80 + noise.gauss(0, 0.3)
        record = Record(
            run_id=run_id_of(config),
            status="finished",
            config=config,
            metrics={"val/top1": {"last": top1, "best": top1}},
            cost={"params": 421_882, "frozen_params": 0, "macs": 1_344_000, "image_size": 32},
            data={"fingerprint": "made up", "classes": 10, "train": 8000, "val": 2000},
            environment={"precision": "32-true", "device": "cpu", "commit": "0" * 40},
        )
        path = folder / record.run_id / RECORD_FILE
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(vars(record), indent=2, sort_keys=True), encoding="utf-8")


def _configs(recipe: str) -> Iterator[dict[str, Any]]:
    """Configs as JSON values, made from one: to resolve each would take minutes."""
    base = resolve(recipe).to_json()
    for decay in itertools.count():
        optim = {**base["optim"], "weight_decay": round(0.05 + decay / 1000, 3)}
        for values in itertools.product(*AXES.values()):
            model = {**base["model"], **dict(zip(AXES, values, strict=True))}
            for seed in range(SEEDS):
                yield {**base, "model": model, "optim": optim, "seed": seed}
