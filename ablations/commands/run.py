"""`ablations run`: the cells of sweep files, then the table."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ablations.flags import (
    add_recipe,
    add_results,
    add_training,
    data_root,
    emit,
    emit_table,
    fields_help,
    sync_command,
)
from poolformer.config import ConfigError


def add(commands: Any) -> None:
    """Declare the command."""
    command = commands.add_parser(
        "run",
        help="train all cells of sweep files, then print the table",
        description="Train the cells of sweep files that are not done yet, then print the table.\n"
        "A cell that several files ask for is trained once. Start it again to go on.",
        epilog=fields_help(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("sweeps", nargs="+", type=Path, help="sweep files, such as sweeps/*.yaml")
    command.add_argument("--seeds", help="in place of the files' seeds, such as 0,1,2")
    command.add_argument("--workers", type=int, help="cells at once; by default one a core")
    command.add_argument("--dry-run", action="store_true", help="list the cells and what is done")
    add_recipe(command)
    add_results(command)
    add_training(command)
    command.set_defaults(run=run)


def run(arguments: argparse.Namespace, fields_set: dict[str, Any]) -> int:
    """Run them; 1 where a cell fails, 130 where the user stops it."""
    from ablations import runner
    from ablations.sweep import expand

    cells = expand(
        arguments.sweeps,
        arguments.recipe,
        fields_set,
        seeds(arguments, fields_set),
        defaults=data_root(),
    )
    if arguments.dry_run:
        return list_cells(cells, arguments.results)
    unsent: list[Path] = []
    try:
        outcome = runner.run(
            cells, arguments.results, arguments.workers, not arguments.no_reuse, unsent.append
        )
    finally:
        if unsent:
            print(sync_command(unsent), file=sys.stderr)
    if outcome.interrupted:
        done = sum(record.done for record in outcome.records)
        print(
            f"interrupted with {done} of {len(cells)} cells done; "
            "the same command goes on from here",
            file=sys.stderr,
        )
        return outcome.interrupted
    print(
        f"{len(cells)} cells: {outcome.trained} trained, {outcome.reused} reused, "
        f"{len(outcome.failed)} failed",
        file=sys.stderr,
    )

    from ablations.study import studies
    from ablations.tables import written

    emit(written(studies(outcome.records, results=arguments.results), "md"))
    for record in outcome.failed:
        assert record.failure is not None
        print(
            f"failed: {arguments.results / record.run_id}: {record.failure['kind']}: "
            f"{record.failure['message']}",
            file=sys.stderr,
        )
    return 1 if outcome.failed else 0


def seeds(arguments: argparse.Namespace, fields_set: dict[str, Any]) -> list[int] | None:
    """``--seeds 0,1,2`` as numbers."""
    if arguments.seeds is None:
        return None
    if "seed" in fields_set:
        raise ConfigError("--seed and --seeds are both given: --seed sets it in every cell")
    try:
        return [int(word) for word in arguments.seeds.split(",")]
    except ValueError as error:
        raise ConfigError(f"--seeds {arguments.seeds!r} must be numbers, such as 0,1,2") from error


def list_cells(cells: Sequence[Any], results: Path) -> int:
    """What --dry-run prints."""
    from rich.table import Table

    from ablations import records
    from ablations.labels import names

    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("run", "cell", "sweeps", "state"):
        table.add_column(name)
    cell_names = names({cell.config.run_id: cell.config.to_json() for cell in cells})
    done = 0
    for cell in cells:
        record = records.find(results, cell.config.run_id)
        done += record is not None and record.done
        table.add_row(
            cell.config.run_id,
            cell_names[cell.config.run_id],
            ", ".join(cell.sweeps),
            record.status if record else "to do",
        )
    emit_table(table, f"{len(cells)} cells, {done} done, {len(cells) - done} to do")
    return 0
