"""Cells -> records: skip what is done, launch the rest, retry what was killed, report progress."""

from __future__ import annotations

import contextlib
import signal
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ablations import data, plugins, records
from ablations.config import RunConfig
from ablations.data.checks import check_classes, check_same_data
from ablations.launchers import LOG, LocalWorkers, default_workers
from ablations.progress import Progress
from ablations.records import Record
from ablations.signals import Signals
from ablations.sweep import Cell
from ablations.tracking.reuse import fetch
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
        interrupted: The exit code of the signal that stopped it, 0 where none did.
    """

    records: list[Record] = field(default_factory=list)
    reused: int = 0
    interrupted: int = 0

    @property
    def failed(self) -> list[Record]:
        """Records of cells that failed."""
        return [record for record in self.records if record.status == "failed"]

    @property
    def trained(self) -> int:
        """How many cells were trained to their end."""
        return len(self.records) - self.reused - len(self.failed)


def split(cells: Sequence[Cell], results: Path) -> tuple[list[Record], list[RunConfig]]:
    """The records of cells that are done, and the cells that are still to be trained.

    Failed cells are to be trained again.

    Raises:
        RecordError: A record that cannot be read; it is left as it is.
        ConfigError: A record of another version of a plugin's mixer.
    """
    done, todo = [], []
    for cell in cells:
        record = records.find(results, cell.config.run_id)
        if record is not None and record.done:
            before = record.environment.get("plugins", {})
            plugins.check_same(record.run_id, before, cell.config.model.mixers)
            done.append(record)
        else:
            todo.append(cell.config)
    return done, todo


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
                before = record.data.get("fingerprint")
                check_same_data(record.run_id, before, pictures.fingerprint)


def run(
    cells: Sequence[Cell],
    results: Path,
    workers: int | None = None,
    reuse: bool = True,
    unsent: Callable[[Path], None] = lambda _: None,
) -> Outcome:
    """Train all cells that are not done yet.

    SIGINT and SIGTERM end it; nothing that was trained is lost, because every epoch
    leaves a checkpoint.

    Args:
        cells: What to train.
        results: The folder of all runs.
        workers: Cells at once; by default one a GPU, or one a core without GPUs.
        reuse: Whether cells that are done, here or in W&B, are left as they are.
        unsent: Called with a tracker's folder where not all of a run has arrived.

    Raises:
        ConfigError: ``workers`` is below 1.
        RecordError: The folder cannot be written, or holds a record that cannot be read.
        DataError: Missing or broken pictures.
        TrackerError: W&B refuses: no API key, no such entity.
    """
    on_gpus = any(cell.config.system.accelerator != "cpu" for cell in cells)
    if workers is None:
        workers = default_workers(on_gpus)
    if workers < 1:
        raise ConfigError(f"--workers {workers} must be 1 or more")
    if reuse:
        fetch([cell.config for cell in cells], results)
        done, todo = split(cells, results)
    else:
        done, todo = [], [cell.config for cell in cells]
    check_data(done, todo)
    records.check_writable(results)
    outcome = Outcome(list(done), reused=len(done))
    if not todo:
        return outcome
    workers = min(workers, len(todo))
    queue, lost = deque(todo), Counter[str]()
    by_id = {cell.run_id: cell for cell in todo}
    pool, signals = LocalWorkers(results, on_gpus, reuse), Signals()
    try:
        pool.start(workers)
        shown = Progress([cell.config for cell in cells], todo, workers)
        with signals.handled(), shown as progress:
            while queue or progress.running:
                signals.check()
                for worker in pool.idle():
                    if queue:
                        cell = queue.popleft()
                        worker.give(cell)
                        progress.started(cell)
                for event in pool.events(timeout=0.5):
                    ended = None
                    if event.kind == "epoch":
                        progress.epoch(event.run_id, event.body)
                    elif event.kind == "unsent":
                        unsent(event.body)
                    elif event.kind == "done":
                        ended = event.body
                    elif event.kind == "refused":
                        raise ConfigError(event.body)
                    elif event.kind == "failed":
                        ended = failed(by_id[event.run_id], results, "error", event.body)
                    elif event.run_id:  # its worker died
                        lost[event.run_id] += 1
                        if lost[event.run_id] < ATTEMPTS:
                            queue.appendleft(by_id[event.run_id])
                            progress.again(by_id[event.run_id], event.body)
                        else:
                            message = f"{ATTEMPTS} times {event.body}, see {results / LOG}"
                            ended = failed(by_id[event.run_id], results, "killed", message)
                    if ended:
                        outcome.records.append(ended)
                        progress.done(ended)
    except KeyboardInterrupt as stopped:
        outcome.interrupted = getattr(stopped, "code", 130)
    finally:
        # A second Ctrl-C must not leave half of the workers running.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        pool.stop()
        signal.signal(signal.SIGINT, before)
    return outcome


def failed(cell: RunConfig, results: Path, kind: str, message: str) -> Record:
    """The record of a cell that could not write one itself."""
    record = Record(
        run_id=cell.run_id,
        status="failed",
        config=cell.to_json(),
        failure={"kind": kind, "message": message},
    )
    # Where even this cannot be written, the runner still tells it at the end.
    with contextlib.suppress(OSError):
        record.write(results)
    return record
