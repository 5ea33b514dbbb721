"""How long the table takes: of a small study from the command line, and of very many records."""

from __future__ import annotations

import itertools
import json
import math
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ablations import tables
from ablations.bench.timing import Finding, machine, spread, verdict
from ablations.config.resolve import resolve
from ablations.config.schema import RunConfig, id_of
from ablations.store import load
from ablations.store.records import FILE, Record

SEEDS = 5
COUNTS = [10_000, 100_000]
LIMIT = 2.0  # seconds for the first of COUNTS, after imports
# Of time over number of records, on logarithmic scales: 1 is linear.
STEEPEST = 1.1
SMALL, SMALL_LIMIT = 54, 1.5  # records, and seconds in all for `ablations table` of them
AXES: dict[str, list[object]] = {
    "token_mixers": ["pool", "identity", "depthwise", "random"],
    "norm": ["group", "layer", "batch"],
    "activation": ["gelu", "relu", "silu"],
    "pool_size": [3, 5, 7, 9],
}


def measure(config: RunConfig, rounds: int, told: Callable[[str], None]) -> Finding:
    """10,000 records to a full table within 2 s, linearly more for 100,000, 54 within 1.5 s in all.

    The records are made up: five seeds of thousands of variants, in a folder that is thrown away.

    Args:
        config: Its recipe is that of the records.
        rounds: How often each is timed; the largest number of records at most three times.
        told: Called with a line a step.
    """
    with tempfile.TemporaryDirectory() as scratch:
        folders = {count: Path(scratch, str(count)) for count in (SMALL, *COUNTS)}
        for count, folder in folders.items():
            told(f"writing {count:,} records")
            write(folder, count, config.recipe)
        started = [_command(folders[SMALL], told) for _ in range(rounds)]
        _render(folders[SMALL])  # loads what is loaded on first use
        few, many = COUNTS
        seconds: dict[int, list[float]] = {few: [], many: []}
        for number in range(rounds):
            for count in COUNTS[: 2 if number < 3 else 1]:
                seconds[count].append(_render(folders[count]))
                told(f"{count:,} records: {seconds[count][-1]:.2f} s")
    medians = {count: statistics.median(times) for count, times in seconds.items()}
    slope = math.log(medians[many] / medians[few]) / math.log(many / few)
    small = statistics.median(started)
    kept = [small <= SMALL_LIMIT, medians[few] <= LIMIT, slope <= STEEPEST]
    return Finding(
        [
            f"table: recipe {config.recipe}, {SEEDS} seeds a variant, {machine()}",
            f"  `ablations table` of {SMALL} records, imports included, no torch: "
            f"{spread(started)}, {verdict(kept[0], f'{SMALL_LIMIT:g} s')}",
            f"  {few:,} records from disk to Markdown: {spread(seconds[few])}, "
            f"{verdict(kept[1], f'{LIMIT:g} s')}",
            f"  {many:,} records: {spread(seconds[many])}; time grows with the number to the power "
            f"of {slope:.2f}, {verdict(kept[2], f'{STEEPEST:g}')}",
        ],
        all(kept),
    )


def _render(folder: Path) -> float:
    """Seconds from the files to the text."""
    begun = time.perf_counter()
    with load.without_collection():
        tables.render(load.read([folder]).records, "md")
    return time.perf_counter() - begun


# What `ablations table` starts, and a word on whether torch came along.
COMMAND = """
import sys
from ablations.cli.main import main
code = main(["table", sys.argv[1]])
sys.exit("torch was imported" if "torch" in sys.modules else code)
"""


def _command(folder: Path, told: Callable[[str], None]) -> float:
    """Seconds of a fresh process that prints the table.

    Raises:
        RuntimeError: It failed, or imported torch.
    """
    begun = time.perf_counter()
    words = [sys.executable, "-c", COMMAND, str(folder)]
    done = subprocess.run(words, capture_output=True, encoding="utf-8")
    seconds = time.perf_counter() - begun
    if done.returncode:
        raise RuntimeError(f"`ablations table` failed: {done.stderr.strip()}")
    told(f"`ablations table` of {SMALL} records: {seconds:.2f} s")
    return seconds


def write(folder: Path, count: int, recipe: str) -> None:
    """Write made-up records of one study: five seeds a variant, as many variants as it takes."""
    noise = random.Random(count)
    for config in itertools.islice(_configs(recipe), count):
        top1 = 80 + noise.gauss(0, 0.3)
        record = Record(
            run_id=id_of(config),
            status="finished",
            config=config,
            metrics={"val/top1": {"last": top1, "best": top1}},
            cost={"params": 421_882, "frozen_params": 0, "macs": 1_344_000, "image_size": 32},
            data={"fingerprint": "made up", "classes": 10, "train": 8000, "val": 2000},
            environment={"precision": "32-true", "device": "cpu", "commit": "0" * 40},
        )
        path = folder / record.run_id / FILE
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
