"""Processes that tests start, wait for, signal and kill, and what studies leave behind.

``run`` and ``Process`` fork a warm Python by default (see ``warm_python``). A test of the start of
a process, or of a program that is not Python, says ``warm=False``.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from ablations.config.arguments import split_arguments
from ablations.config.schema import RunConfig
from ablations.config.sweep import expand_sweeps
from ablations.store import leases, records
from ablations.store.predictions import PREDICTIONS_FILE, load_predictions
from ablations.store.records import Record
from tests.factories.configs import TINY_FLAGS
from tests.factories.predictions import accuracies
from tests.factories.warm_python import MARK, WarmProcess

BIN = Path(sys.executable).parent
# What a finished run leaves.
RUN_FILES = {"record.json", "history.csv", "predictions.npz", "weights.pt", "log.txt"}
_numbers = itertools.count()


class Process:
    """A process of a test. As a context manager it kills, at the end, all that came of it.

    Args:
        command: A program of this environment and its arguments; ``ablations`` is
            ``python -m ablations``.
        cwd: Its working directory.
        env: Its whole environment, or None for this process's.
        variables: Variables of its environment besides.
        warm: Whether to fork a Python that has the heavy imports.
        new_session: Whether it gets a process group of its own; not for a warm one.
        merge_stderr: Whether stderr goes to stdout.
        preexec: Called in a process that is not warm, before it starts.
    """

    def __init__(
        self,
        *command: object,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        variables: Mapping[str, str] | None = None,
        warm: bool = True,
        new_session: bool = False,
        merge_stderr: bool = False,
        preexec: Callable[[], object] | None = None,
    ) -> None:
        words = list(map(str, command))
        if words[0] == "ablations":
            words = ["python", "-m", *words]
        self.command = words
        self.mark = f"{os.getpid()}-{next(_numbers)}"
        environment = {**(os.environ if env is None else env), **(variables or {}), MARK: self.mark}
        self._stderr = tempfile.TemporaryFile("w+")  # noqa: SIM115
        read, write = os.pipe()
        error = write if merge_stderr else self._stderr.fileno()
        with open(os.devnull) as nothing:
            streams = (nothing.fileno(), write, error)
            self.process: Any
            if warm and words[0] == "python" and not (new_session or preexec):
                folder = str(cwd or Path.cwd())
                self.process = WarmProcess(words[1:], streams, folder, environment)
            else:
                self.process = subprocess.Popen(
                    [str(BIN / words[0]), *words[1:]],
                    **dict(zip(("stdin", "stdout", "stderr"), streams, strict=True)),
                    cwd=cwd,
                    env=environment,
                    start_new_session=new_session,
                    preexec_fn=preexec,
                )
        os.close(write)
        self.pid: int = self.process.pid
        self.lines: list[str] = []
        self._read = 0  # lines that ``wait_for_line`` has passed
        self._changed = threading.Condition()
        self._closed, self._errors = False, ""
        self._reader = threading.Thread(target=self._collect, args=(read,), daemon=True)
        self._reader.start()

    def _collect(self, descriptor: int) -> None:
        with open(descriptor, encoding="utf-8", errors="replace") as stream:
            for line in stream:
                with self._changed:
                    self.lines.append(line)
                    self._changed.notify_all()
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        kill(self.descendants())
        self.process.kill()
        self.process.wait()
        self._reader.join()
        self._close()

    # What it says

    def wait_for_line(self, wanted: str | Callable[[str], object], seconds: float = 300) -> str:
        """The next line of stdout that has this text, or of which ``wanted`` is true."""
        fits = (lambda line: wanted in line) if isinstance(wanted, str) else wanted
        deadline = time.monotonic() + seconds
        with self._changed:
            while True:
                while self._read < len(self.lines):
                    self._read += 1
                    if fits(self.lines[self._read - 1]):
                        return self.lines[self._read - 1]
                left = deadline - time.monotonic()
                if self._closed or not self._changed.wait(max(0.0, left)):
                    raise AssertionError(f"no such line: {self.lines}, {self.stderr}")

    def wait_for_event(self, wanted: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """The next event of `--json` of which ``wanted`` is true."""
        return json.loads(self.wait_for_line(lambda line: wanted(json.loads(line))))

    @property
    def events(self) -> list[dict[str, Any]]:
        """The events of `--json` so far."""
        with self._changed:
            return [json.loads(line) for line in self.lines]

    @property
    def stderr(self) -> str:
        """What it has written to stderr so far."""
        if not self._stderr.closed:
            size = os.fstat(self._stderr.fileno()).st_size
            self._errors = os.pread(self._stderr.fileno(), size, 0).decode(errors="replace")
        return self._errors

    def _close(self) -> str:
        """What it has written to stderr, whose file is closed."""
        errors = self.stderr
        self._stderr.close()
        return errors

    # Its life

    def wait_until(self, condition: Callable[[], object], seconds: float = 300) -> None:
        """Wait for something that the process brings about; it must not end before."""

        def reached() -> object:
            if done := condition():
                return done
            assert self.process.poll() is None, (self.process.returncode, self.lines, self.stderr)
            return False

        wait_until(reached, seconds)

    def send_signal(self, number: int) -> None:
        """Send a signal to the process itself."""
        self.process.send_signal(number)

    def finish(self, seconds: float = 300) -> subprocess.CompletedProcess[str]:
        """Wait for its end; its exit code, stdout and stderr. One that takes longer is killed."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            kill(self.descendants())
            self.process.kill()
            raise AssertionError(
                f"no end within {seconds:g} s: {self.command}, {self.lines}, {self.stderr}"
            ) from None
        self._reader.join(30)  # whoever inherited the stream may still hold it
        with self._changed:
            stdout = "".join(self.lines)
        code = self.process.returncode
        return subprocess.CompletedProcess(self.command, code, stdout, self._close())

    def descendants(self) -> list[int]:
        """The ids of all processes that came of it and are alive, itself among them."""
        return sorted(_marked(self.mark))

    def children(self) -> list[int]:
        """The ids of the other processes that came of it and are alive."""
        return [pid for pid in self.descendants() if pid != self.pid]


def run(*command: object, seconds: float = 300, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a process to its end; arguments as of ``Process``."""
    with Process(*command, **options) as process:
        return process.finish(seconds)


def _marked(mark: str) -> Iterable[int]:
    entry = f"{MARK}={mark}".encode()
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            pid = int(path.parent.name)
            names = [*path.read_bytes().split(b"\0"), path.with_name("comm").read_bytes().strip()]
            if (entry in names or mark.encode() in names) and is_alive(pid):
                yield pid


def is_alive(pid: int) -> bool:
    """Whether there is such a process, and not only its exit code."""
    return bool(leases.process_start(pid))


def children(pid: int) -> list[int]:
    """The ids of a process's children that are alive."""
    with contextlib.suppress(OSError):
        ids = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [child for child in map(int, ids) if is_alive(child)]
    return []


def kill(pids: Sequence[int]) -> None:
    """Send SIGKILL to each that is still there."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def wait_until(
    condition: Callable[[], object], seconds: float = 300, what: str = "a condition"
) -> None:
    """Wait for something that another process or thread brings about."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} was not met within {seconds:g} s"
        time.sleep(0.05)


# Studies


def write_grid(path: Path, **values: Sequence[Any]) -> Path:
    """A sweep file of a grid: ``write_grid(path, pool_size=[3, 5], seed=[0, 1])``."""
    parameters = {
        name if name == "seed" else f"model.{name}": {"values": list(values[name])}
        for name in values
    }
    path.write_text(yaml.safe_dump({"method": "grid", "parameters": parameters}))
    return path


def study_command(sweep: Path, results: Path, *words: object) -> list[str]:
    """`ablations run` of a sweep of tiny runs."""
    flags = [*TINY_FLAGS, "--model.drop_path=0.1", f"--results={results}"]
    return ["ablations", "run", str(sweep), *flags, *map(str, words)]


def study_configs(command: Sequence[str]) -> list[RunConfig]:
    """The runs that a command of ``study_command`` trains."""
    (_, sweep, *options), fields = split_arguments(command[1:])
    seeds = [word.partition("=")[2] for word in options if word.startswith("--seeds=")]
    chosen = [int(seed) for seed in seeds[0].split(",")] if seeds else None
    return [run.config for run in expand_sweeps([Path(sweep)], "mini", fields, chosen)]


def outcome(results: Path, record: Record) -> dict[str, Any]:
    """The metrics of a run, and the bytes of its predictions, which have the same accuracies."""
    predictions = load_predictions(results / record.run_id, record)
    assert predictions
    assert accuracies(predictions)["top1"] == record.metric()
    content = (results / record.run_id / PREDICTIONS_FILE).read_bytes()
    return {**record.metrics, PREDICTIONS_FILE: content}


def outcomes(results: Path) -> dict[str, dict[str, Any]]:
    """Run id -> outcome, of runs that have all finished."""
    found, problems = records.read_records([results])
    assert not problems
    assert all(record.status == "finished" for record in found)
    return {record.run_id: outcome(results, record) for record in found}


def record_stamps(results: Path) -> dict[Path, tuple[int, int]]:
    """Record -> what changes when it is written once more."""
    found = {path: path.stat() for path in results.glob("*/record.json")}
    return {path: (stat.st_ino, stat.st_mtime_ns) for path, stat in found.items()}


def assert_tidy(results: Path) -> None:
    """Nothing is left of processes that were killed."""
    assert {path.name for path in results.iterdir() if not path.is_dir()} == {"workers.log"}
    for folder in (path for path in results.iterdir() if path.is_dir()):
        assert {path.name for path in folder.iterdir()} == RUN_FILES, folder


def count_epochs(results: Path) -> int:
    """How many epochs all runs have finished."""
    return sum(
        max(0, len(path.read_text().splitlines()) - 1) for path in results.glob("*/history.csv")
    )
