"""`ablations train`: train one run.

Train one run (a config and a seed) and write its record.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablations.cli.options import add_recipe, add_results, add_shared, default_data_root
from ablations.cli.output import report_unsynced
from ablations.cli.parser import Parser
from ablations.config.resolve import resolve
from ablations.config.schema import RunConfig
from ablations.console import screen
from ablations.console.display import ProgressBar
from ablations.data import count_classes
from ablations.store.run_progress import RunProgress, describe_progress, describe_stall
from ablations.tracking import agent
from ablations.training.signals import Signals

if TYPE_CHECKING:
    from ablations.training.distributed.store import RankContext


def add(command: Parser) -> None:
    """Declare the flags."""
    add_recipe(command)
    add_results(command)
    add_shared(command, "--tracker", "--no-reuse", "--retrain-stale")
    command.add_argument(
        "--preset",
        metavar="NAME",
        type=lambda name: None if name == "None" else name,  # a W&B agent passes null so
        help="a named set of changes to the recipe, such as s24 or ppaa",
    )


def run(arguments: argparse.Namespace) -> int:
    """Train the run; return 1 where it fails."""
    signals, unsynced = Signals(), list[Path]()
    try:
        with signals.handled():
            overrides = {**default_data_root(), **arguments.fields_set}
            config = resolve(
                arguments.recipe, overrides, arguments.preset, count_classes=count_classes
            )
            agent.check_sweep_parameters(config, overrides, arguments.preset)
            if config.system.world_size > 1:
                return _run_distributed(arguments, config, signals, unsynced)
            return _run(arguments, config, signals, unsynced)
    finally:
        report_unsynced(unsynced)


def _run_distributed(
    arguments: argparse.Namespace, config: RunConfig, signals: Signals, unsynced: list[Path]
) -> int:
    """Be one of the ranks that a launcher (torchrun, SLURM) has started, or start them here."""
    # Hides DDP's warning about unused parameters; torch reads it when it loads.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")

    from ablations.training.distributed.rank_zero import run_rank_zero
    from ablations.training.distributed.ranks import rank_from_launcher
    from ablations.training.distributed.store import connect
    from ablations.training.distributed.workers import run_launched_worker

    info = rank_from_launcher(config.system)
    if info is None:
        return _run(arguments, config, signals, unsynced)
    rank = connect(info)
    if info.rank:
        return run_launched_worker(config, arguments.results, rank)
    return run_rank_zero(rank, lambda: _run(arguments, config, signals, unsynced, rank))


def _run(
    arguments: argparse.Namespace,
    config: RunConfig,
    signals: Signals,
    unsynced: list[Path],
    rank: RankContext | None = None,
) -> int:
    """Train the run, or reuse its record, and print the outcome."""
    from ablations.errors import LeaseLostError, ProcessLostError
    from ablations.store import previous_results, records, reuse_check
    from ablations.tracking.reuse import fetch_finished_runs, mirror_reused_run
    from ablations.training.train import train

    reuse, results = not arguments.no_reuse, arguments.results

    if arguments.retrain_stale and reuse_check.is_stale(results, config):
        previous_results.move_stale_files(results, config.run_id)
    fetched = fetch_finished_runs([config], results) if reuse else []
    earlier = records.find_record(results, config.run_id)
    reused = reuse and earlier is not None and earlier.done

    def show_epoch(body: dict[str, Any]) -> None:
        bar.say(
            f"epoch {body['epoch']}/{body['epochs']}: top-1 {body['val/top1']:.2f}%, "
            f"{body['speed']:,.0f} images/s"
        )

    def show_progress(progress: RunProgress) -> None:
        bar.update(progress.done, describe_progress(progress))

    bar = ProgressBar(line=screen.out, silent=describe_stall)
    try:
        with bar:
            record = train(
                config, results, show_epoch, reuse, unsynced.append, signals, rank, show_progress
            )
    except (LeaseLostError, ProcessLostError) as error:
        screen.note(f"ablations: {error}")
        return 1
    if record.failure:
        screen.note(f"{record.failure['kind']}: {record.failure['message']}")
    if reused:
        unsynced += mirror_reused_run(config, record, results)
    source = " (from W&B)" if fetched else " (done before)" if reused else ""
    top1 = record.metric("val/top1")
    accuracy = "" if top1 is None else f", top-1 {top1:.2f}%"
    screen.out(f"{record.status}{accuracy}{source}: {results / record.run_id / 'record.json'}")
    return 0 if record.done else 1
