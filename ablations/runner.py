"""Cells -> records: skip what is done, launch the rest, retry what was killed, report progress."""

from __future__ import annotations

import os
import tempfile
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ablations import data, records
from ablations.config import RunConfig
from ablations.data.checks import check_classes, check_same_data
from ablations.launchers import LocalWorkers
from ablations.progress import Progress
from ablations.records import Record
from ablations.sweep import Cell
from poolformer.config import ConfigError

# How often a cell may lose its worker before it is given up as killed.
ATTEMPTS = 3
SOURCE = ["name", "root"]  # the fields of DataConfig that say which pictures


@dataclass
class Outcome:
    """What a run of the runner did.

    Args:
        records: All cells' records, those reused included.
        reused: How many were done before.
        interrupted: Whether the user stopped it.
    """

    records: list[Record] = field(default_factory=list)
    reused: int = 0
    interrupted: bool = False

    @property
    def failed(self) -> list[Record]:
        """Records of cells that failed."""
        return [record for record in self.records if record.status == "failed"]


def split(cells: Sequence[Cell], results: Path) -> tuple[list[Record], list[RunConfig]]:
    """The records of cells that are done, and the cells that are still to be trained.

    Failed cells are to be trained again.

    Raises:
        RecordError: A record that cannot be read; it is left as it is.
    """
    done, todo = [], []
    for cell in cells:
        record = records.find(results, cell.config.run_id)
        if record is not None and record.done:
            done.append(record)
        else:
            todo.append(cell.config)
    return done, todo


def default_workers() -> int:
    """One worker a core that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def check_writable(results: Path) -> None:
    """Create the results folder.

    Raises:
        ConfigError: It cannot be created or written.
    """
    try:
        results.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=results):
            pass
    except OSError as error:
        raise ConfigError(
            f"results folder {results} cannot be written ({error.strerror}): choose another with "
            "--results DIR"
        ) from error


def check_data(done: Sequence[Record], todo: Sequence[RunConfig]) -> None:
    """Open every data set of the cells once, before any worker starts.

    Raises:
        DataError: Missing or broken pictures, or other ones than a done record was made from.
        ConfigError: Another number of classes than the models'.
    """
    for cell in todo:
        pictures = data.load(cell.data)
        check_classes(cell, len(pictures.classes))
        for record in done:
            same = all(record.config["data"][name] == getattr(cell.data, name) for name in SOURCE)
            if same:
                check_same_data(record, pictures.fingerprint)


def run(cells: Sequence[Cell], results: Path, workers: int) -> Outcome:
    """Train all cells that are not done yet.

    Ctrl-C ends it after telling how to go on; nothing that was trained is lost, because every epoch
    leaves a checkpoint.

    Args:
        cells: What to train.
        results: The folder of all runs.
        workers: Cells at once.

    Raises:
        ConfigError: ``workers`` is below 1, or the folder cannot be written.
        DataError: Missing or broken pictures.
    """
    if workers < 1:
        raise ConfigError(f"--workers {workers} must be 1 or more")
    check_writable(results)
    done, todo = split(cells, results)
    check_data(done, todo)
    outcome = Outcome(list(done), reused=len(done))
    if not todo:
        return outcome
    workers = min(workers, len(todo))
    queue, lost = deque(todo), Counter[str]()
    pool = LocalWorkers(workers, results)
    by_id = {cell.run_id: cell for cell in todo}
    try:
        with Progress([cell.config for cell in cells], todo, workers) as progress:
            while queue or progress.running:
                for worker in pool.idle():
                    if queue:
                        cell = queue.popleft()
                        worker.give(cell)
                        progress.started(cell)
                for event in pool.events(timeout=0.5):
                    if event.kind == "epoch":
                        progress.epoch(event.run_id, event.body)
                    elif event.kind == "done":
                        outcome.records.append(event.body)
                        progress.done(event.body)
                    elif event.kind == "refused":
                        raise ConfigError(event.body)
                    elif event.kind == "died" and event.run_id:
                        cell = by_id[event.run_id]
                        lost[event.run_id] += 1
                        if lost[event.run_id] < ATTEMPTS:
                            queue.appendleft(cell)
                            progress.again(cell, event.body)
                        else:
                            record = killed(cell, results, event.body)
                            outcome.records.append(record)
                            progress.done(record)
    except KeyboardInterrupt:
        outcome.interrupted = True
    finally:
        pool.stop()
    return outcome


def killed(cell: RunConfig, results: Path, reason: str) -> Record:
    """The record of a cell whose workers died again and again."""
    record = Record(
        run_id=cell.run_id,
        status="failed",
        config=cell.to_json(),
        failure={"kind": "killed", "message": f"{ATTEMPTS} times {reason}"},
    )
    record.write(results)
    return record
