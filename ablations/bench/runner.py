"""What the runner saves, and what the lab costs over a bare loop."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from ablations.bench.timing import Comparison, Finding, compare, in_turns, machine, summary
from ablations.config.resolve import FIELDS, flatten
from ablations.config.schema import RunConfig
from ablations.machine.cores import usable_cores

SEEDS = 6  # cells of the short study
FASTER = 2.0  # how many times one process a cell, as an agent starts them
OVERHEAD = 1.05


def measure(config: RunConfig, rounds: int, told: Callable[[str], None]) -> Finding:
    """Warm workers against a fresh process a cell, and a run against a bare loop of the same cell.

    Args:
        config: The cell; the study is this one with several seeds.
        rounds: How often the study; the single run three times as often.
        told: Called with a line a round.
    """
    os.environ.setdefault("WANDB_MODE", "offline")  # nobody wants these runs in an account
    # A cell takes seconds, a study minutes: the smaller difference can have more rounds.
    found = [study(config, rounds, told), overhead(config, 3 * rounds, told)]
    return Finding([line for each in found for line in each.lines], all(f.kept for f in found))


def study(config: RunConfig, rounds: int, told: Callable[[str], None]) -> Finding:
    """`ablations run` with its warm workers against one process a cell, one after another.

    The second is what one ``wandb agent`` does. As many processes at once as there are workers are
    timed as well: what several agents on one machine come to.
    """
    workers = usable_cores()
    warm, agent, agents = "warm workers", "one agent", f"{workers} agents"
    seconds = in_turns(
        {
            warm: partial(_scratch, partial(_warm, config)),
            agent: partial(_scratch, partial(_fresh, config, 1)),
            agents: partial(_scratch, partial(_fresh, config, workers)),
        },
        rounds,
        told,
    )
    title = f"runner: {SEEDS} cells of recipe {config.recipe}, {workers} workers, {machine()}"
    found = Comparison((warm, agent), (seconds[warm], seconds[agent]), 1 / FASTER)
    several = Comparison((warm, agents), (seconds[warm], seconds[agents]), 1.0)
    one, more = summary(title, found), summary("", several)
    return Finding([*one.lines, *more.lines[2:]], one.kept and more.kept)


def overhead(config: RunConfig, rounds: int, told: Callable[[str], None]) -> Finding:
    """A run (Lightning, tracker, records, checkpoints) against a bare PyTorch loop of its cell.

    Both are timed in this process, whose imports are done; that the loop trains the same cell shows
    in its accuracy, which must equal the record's.
    """
    from ablations.bench.bare import loop
    from ablations.training.train import train

    accuracies: set[float] = set()

    def run(results: Path) -> None:
        record = train(config, results)
        accuracies.add(record.metric() or 0.0)

    def bare() -> None:
        accuracies.add(loop(config))

    found = compare(("a run", partial(_scratch, run)), ("bare loop", bare), rounds, OVERHEAD, told)
    if len(accuracies) != 1:
        raise RuntimeError(f"the two did not train the same cell: top-1 {sorted(accuracies)}")
    return summary(f"overhead: one cell of recipe {config.recipe}, {machine()}", found)


def _scratch(call: Callable[[Path], None]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        call(Path(folder))


def _flags(config: RunConfig) -> list[str]:
    """A cell as flags of the commands, but for its seed."""
    flat = flatten(config.to_json())
    flags = {name: flat[name] for name in FIELDS if name != "seed"}
    return [f"--recipe={config.recipe}", *(f"--{n}={_text(v)}" for n, v in flags.items())]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _warm(config: RunConfig, results: Path) -> None:
    """The study by `ablations run`."""
    sweep = results / "seeds.yaml"
    grid = {"method": "grid", "parameters": {"seed": {"values": list(range(SEEDS))}}}
    sweep.write_text(json.dumps(grid), encoding="utf-8")  # JSON is YAML
    _ablations("run", str(sweep), *_flags(config), f"--results={results / 'runs'}")


def _fresh(config: RunConfig, at_once: int, results: Path) -> None:
    """The study by `ablations train`, a process a cell."""

    def train(seed: int) -> None:
        _ablations("train", *_flags(config), f"--seed={seed}", f"--results={results}")

    with ThreadPoolExecutor(at_once) as pool:
        list(pool.map(train, range(SEEDS)))


def _ablations(*words: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ablations", *words],
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"`ablations {words[0]}` failed: {done.stderr.strip()}")
