"""`ablations train`: one cell."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablations.cli.options import (
    Lines,
    add_recipe,
    add_results,
    add_stale,
    add_training,
    data_root,
    sync_command,
)
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


def add(commands: Any) -> None:
    """Declare the command."""
    command = commands.add_parser(
        "train",
        help="train one run",
        description="Train one run (a config and a seed) and write its record.",
        formatter_class=Lines,
    )
    add_recipe(command)
    add_results(command)
    add_training(command)
    add_stale(command)
    command.add_argument(
        "--preset",
        type=lambda name: None if name == "None" else name,  # as an agent spells null
        help="a named set of changes to the recipe, such as s24 or ppaa",
    )
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace, fields_set: dict[str, Any]) -> int:
    """Train it; 1 where it fails."""
    signals, unsent = Signals(), list[Path]()
    try:
        with signals.handled():
            given = {**data_root(), **fields_set}
            config = resolve(arguments.recipe, given, arguments.preset, count_classes=count_classes)
            agent.check_sweep_parameters(config, given, arguments.preset)
            if config.system.world_size > 1:
                return _run_distributed(arguments, config, signals, unsent)
            return _run(arguments, config, signals, unsent)
    finally:
        if unsent:
            screen.note(sync_command(unsent))


def _run_distributed(
    arguments: argparse.Namespace, config: RunConfig, signals: Signals, unsent: list[Path]
) -> int:
    """Run as a rank that a launcher started, or start the other ranks here."""
    # torch reads this when it loads: hide DDP's warning about unused parameters.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")

    from ablations.training.distributed.rank_zero import run_rank_zero
    from ablations.training.distributed.ranks import rank_from_launcher
    from ablations.training.distributed.store import RankContext, connect_store
    from ablations.training.distributed.workers import run_launched_worker

    info = rank_from_launcher(config.system)
    if info is None:
        return _run(arguments, config, signals, unsent)
    rank = RankContext(info, connect_store(info))
    if info.rank:
        return run_launched_worker(config, arguments.results, rank)
    return run_rank_zero(rank, lambda: _run(arguments, config, signals, unsent, rank))


def _run(
    arguments: argparse.Namespace,
    config: RunConfig,
    signals: Signals,
    unsent: list[Path],
    rank: RankContext | None = None,
) -> int:
    reuse, results = not arguments.no_reuse, arguments.results

    from ablations.errors import LeaseLostError
    from ablations.store import records, reuse_check
    from ablations.tracking.reuse import fetch_finished_runs, mirror_reused_run

    if arguments.retrain_stale and reuse_check.is_stale(results, config):
        reuse_check.move_stale_files(results, config.run_id)
    fetched = fetch_finished_runs([config], results) if reuse else []
    known = records.find_record(results, config.run_id)
    reused = reuse and known is not None and known.done

    from ablations.errors import ProcessLostError
    from ablations.training.train import train

    def show(body: dict[str, Any]) -> None:
        bar.say(
            f"epoch {body['epoch']}/{body['epochs']}: top-1 {body['val/top1']:.2f}%, "
            f"{body['speed']:,.0f} images/s"
        )

    def report(position: RunProgress) -> None:
        bar.update(position.done, describe_progress(position))

    bar = ProgressBar(line=screen.out, silent=describe_stall)
    try:
        with bar:
            record = train(config, results, show, reuse, unsent.append, signals, rank, report)
    except (LeaseLostError, ProcessLostError) as error:
        screen.note(f"ablations: {error}")
        return 1
    if record.failure:
        screen.note(f"{record.failure['kind']}: {record.failure['message']}")
    if reused:
        unsent += mirror_reused_run(config, record, results)
    how = " (from W&B)" if fetched else " (done before)" if reused else ""
    top1 = record.metric("val/top1")
    accuracy = "" if top1 is None else f", top-1 {top1:.2f}%"
    screen.out(f"{record.status}{accuracy}{how}: {results / record.run_id / 'record.json'}")
    return 0 if record.done else 1
