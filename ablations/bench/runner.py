"""The time that the runner saves, and the cost of a run over a bare training loop."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from ablations.bench.timing import (
    BenchResult,
    Report,
    compare,
    describe_machine,
    in_scratch_folder,
    run_python,
    time_in_turns,
)
from ablations.config.resolve import FIELDS, flatten
from ablations.config.schema import RunConfig
from ablations.machine.cores import usable_cores

SEEDS = 6  # runs of the small study
SPEEDUP = 2.0  # of warm workers over one process per run, as an agent starts them
OVERHEAD = 1.05  # time of a run over time of a bare loop


def bench_runner(config: RunConfig, rounds: int, report: Report) -> BenchResult:
    """Time warm workers against one process per run, and a run against a bare training loop.

    Args:
        config: The run; the study is this one with several seeds.
        rounds: How often the study is timed; the single run is timed three times as often.
        report: Called with one line per round.
    """
    os.environ.setdefault("WANDB_MODE", "offline")  # keep these runs out of the user's account
    # A run takes seconds, a study minutes: the smaller difference can have more rounds.
    results = [bench_study(config, rounds, report), bench_overhead(config, 3 * rounds, report)]
    lines = [line for result in results for line in result.lines]
    return BenchResult(lines, all(result.passed for result in results))


def bench_study(config: RunConfig, rounds: int, report: Report) -> BenchResult:
    """Time `ablations run` with its warm workers against one process per run, one by one.

    The second is what one ``wandb agent`` does. As many processes at once as there are workers are
    timed too: this is what several agents on one machine do.
    """
    workers = usable_cores()
    warm, agent, agents = "warm workers", "one agent", f"{workers} agents"
    calls = {
        warm: partial(_run_study, config),
        agent: partial(_train_in_processes, config, 1),
        agents: partial(_train_in_processes, config, workers),
    }
    seconds = time_in_turns(
        {name: in_scratch_folder(call) for name, call in calls.items()}, rounds, report
    )
    machine = describe_machine()
    title = f"runner: {SEEDS} runs of recipe {config.recipe}, {workers} workers, {machine}"
    return compare(title, seconds, {agent: 1 / SPEEDUP, agents: 1.0})


def bench_overhead(config: RunConfig, rounds: int, report: Report) -> BenchResult:
    """Time a run (Lightning, tracker, records, checkpoints) against a bare PyTorch loop.

    Both are timed in this process, so imports do not count. Both must reach the same accuracy,
    which shows that they train the same model.
    """
    from ablations.bench.bare import train_bare
    from ablations.training.train import train

    accuracies: set[float | None] = set()
    calls = {
        "a run": in_scratch_folder(lambda folder: accuracies.add(train(config, folder).metric())),
        "bare loop": lambda: accuracies.add(train_bare(config)),
    }
    seconds = time_in_turns(calls, rounds, report)
    if len(accuracies) != 1:
        raise RuntimeError(
            f"the run and the bare loop trained different models: top-1 {accuracies}"
        )
    title = f"overhead: one run of recipe {config.recipe}, {describe_machine()}"
    return compare(title, seconds, {"bare loop": OVERHEAD})


def _flags(config: RunConfig) -> list[str]:
    """A config as flags of the commands, without its seed."""
    flat = flatten(config.to_json())
    values = {name: flat[name] for name in FIELDS if name != "seed"}
    texts = {n: v if isinstance(v, str) else json.dumps(v) for n, v in values.items()}
    return [f"--recipe={config.recipe}", *(f"--{name}={text}" for name, text in texts.items())]


def _run_study(config: RunConfig, folder: Path) -> None:
    """Train the study by `ablations run`."""
    sweep = folder / "seeds.yaml"
    grid = {"method": "grid", "parameters": {"seed": {"values": list(range(SEEDS))}}}
    sweep.write_text(json.dumps(grid), encoding="utf-8")  # JSON is YAML
    results = f"--results={folder / 'runs'}"
    run_python("-m", "ablations", "run", str(sweep), *_flags(config), results)


def _train_in_processes(config: RunConfig, at_once: int, results: Path) -> None:
    """Train the study by `ablations train`, one process per run."""

    def train(seed: int) -> None:
        flags = [*_flags(config), f"--seed={seed}", f"--results={results}"]
        run_python("-m", "ablations", "train", *flags)

    with ThreadPoolExecutor(at_once) as pool:
        list(pool.map(train, range(SEEDS)))
