"""Studies in processes of their own, to be killed: what they leave and what they give."""

from __future__ import annotations

import sys
from pathlib import Path

from ablations.store import records
from tests.factories.configs import TINY_FLAGS

FILES = {"record.json", "history.csv", "weights.pt", "log.txt"}  # what a cell leaves


def command(sweep: Path, results: Path, *words: str) -> list[str]:
    return [
        *(sys.executable, "-m", "ablations", "run", str(sweep), *TINY_FLAGS),
        *("--model.drop_path=0.1", "--results", str(results), *words),
    ]


def metrics(results: Path) -> dict[str, dict]:
    found, problems = records.read_records([results])
    assert not problems
    assert all(record.status == "finished" for record in found)
    return {record.run_id: record.metrics for record in found}


def stamps(results: Path) -> dict[Path, tuple[int, int]]:
    """Record -> what changes when it is written once more."""
    found = {path: path.stat() for path in results.glob("*/record.json")}
    return {path: (stat.st_ino, stat.st_mtime_ns) for path, stat in found.items()}


def processes(pid: int) -> list[int]:
    """A process's children that are alive."""
    try:
        return [int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def assert_tidy(results: Path) -> None:
    """Nothing is left of what was killed."""
    assert {path.name for path in results.iterdir() if not path.is_dir()} == {"workers.log"}
    for folder in (path for path in results.iterdir() if path.is_dir()):
        assert {path.name for path in folder.iterdir()} == FILES, folder


def epochs(results: Path) -> int:
    """How many epochs all cells have finished."""
    return sum(
        max(0, len(path.read_text().splitlines()) - 1) for path in results.glob("*/history.csv")
    )
