"""Python processes that start at once: forks of one process that has imported the heavy libraries.

This saves the seconds in which a fresh process imports torch, Lightning and wandb. A test uses it
through ``tests.factories.processes``; one that looks at the start of a process takes a fresh one.
The processes that ``multiprocessing`` spawns are such forks too, in pytest and in the forks; those
of a fresh process are not.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import gc
import json
import multiprocessing.popen_spawn_posix as popen_spawn_posix
import multiprocessing.util as multiprocessing_util
import os
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import weakref
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

HEAVY = ["ablations.training.train", "ablations.cli.main", "ablations.tables", "wandb"]
MARK = "ABLATIONS_TEST_MARK"  # a variable that names a fork, see ``processes``
MAX_FILE_DESCRIPTORS = 100
START_SECONDS = 120.0
_address = ""  # of the server, in its forks


class WarmProcess:
    """A fork that runs ``python *arguments``; the part of ``subprocess.Popen`` that tests use.

    Args:
        arguments: ``-m MODULE ...`` or ``-c CODE ...``.
        streams: File descriptors of its stdin, stdout and stderr.
        cwd: Its working directory.
        env: Its environment.
        inherited: Other file descriptors, which keep their numbers.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        streams: Sequence[int],
        cwd: str,
        env: Mapping[str, str],
        inherited: Sequence[int] = (),
    ) -> None:
        self.args = list(arguments)
        self.returncode: int | None = None
        self._lock = threading.Lock()
        numbers = [0, 1, 2, *inherited]
        request = {"arguments": self.args, "cwd": cwd, "env": dict(env), "numbers": numbers}
        self._connection = socket.socket(socket.AF_UNIX)
        self._connection.connect(_server())
        body = json.dumps(request).encode() + b"\n"
        socket.send_fds(self._connection, [body[:1]], [*streams, *inherited])
        self._connection.sendall(body[1:])
        self._received = b""
        self.pid = int(self._line(START_SECONDS))

    def _line(self, timeout: float | None) -> bytes:
        self._connection.settimeout(timeout)
        while b"\n" not in self._received:
            if not (more := self._connection.recv(100)):
                raise AssertionError("the server of warm processes has ended")
            self._received += more
        line, _, self._received = self._received.partition(b"\n")
        return line

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code; raises ``subprocess.TimeoutExpired`` where it does not end in time."""
        deadline = time.monotonic() + (float("inf") if timeout is None else timeout)
        while self.returncode is None:
            left = deadline - time.monotonic()
            with self._lock, contextlib.suppress(TimeoutError, BlockingIOError):
                if self.returncode is None:  # another thread may wait as well
                    line = self._line(max(0.0, min(left, 0.05)))
                    self.returncode = os.waitstatus_to_exitcode(int(line))
                    self._connection.close()
            if self.returncode is None and left <= 0:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return self.returncode

    def poll(self) -> int | None:
        """Its exit code; None while it runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send it a signal where it still runs."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """Send it SIGKILL."""
        self.send_signal(signal.SIGKILL)


def spawn_warm() -> None:
    """Let ``multiprocessing`` spawn warm processes from now on.

    They get what a spawned process gets: the pickled target, this environment and folder, and the
    same file descriptors. Their parent in the system is the server.
    """
    spawn_fresh = multiprocessing_util.spawnv_passfds
    started: dict[int, WarmProcess] = {}

    def spawn(path: bytes, arguments: list[str], inherited: Sequence[int]) -> int:
        if "--multiprocessing-fork" not in arguments:
            return spawn_fresh(path, arguments, inherited)
        words = arguments[arguments.index("-c") :]
        process = WarmProcess(words, (0, 1, 2), os.getcwd(), os.environ, inherited)
        started[process.pid] = process
        return process.pid

    def poll(self: popen_spawn_posix.Popen, flag: int = os.WNOHANG) -> int | None:
        if self.returncode is None:
            process = started[self.pid]
            self.returncode = process.poll() if flag else process.wait()
        return self.returncode

    multiprocessing_util.spawnv_passfds = spawn  # type: ignore[attr-defined]
    popen_spawn_posix.Popen.poll = poll  # type: ignore[method-assign]


@cache
def _server() -> str:
    """The address of this process's server, which is started on first use."""
    if _address:
        return _address
    folder = tempfile.mkdtemp(prefix="warm-")
    address = f"{folder}/socket"
    process = subprocess.Popen(
        [sys.executable, "-m", __name__, address],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "TMPDIR": folder},
    )

    def end() -> None:
        process.kill()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)

    atexit.register(end)
    deadline = time.monotonic() + START_SECONDS
    while not os.path.exists(address):
        assert process.poll() is None, "the server of warm processes has ended"
        assert time.monotonic() < deadline, "the server of warm processes does not start"
        time.sleep(0.05)
    return address


def _serve(address: str) -> dict[str, Any]:
    """Fork for each request; returns the request in the process that is to carry it out."""
    for name in HEAVY:
        __import__(name)
    # The temporary folder of wandb is for all forks: none may remove it at its end.
    media = sys.modules["wandb.sdk.data_types._private"].MEDIA_TMP
    atexit.unregister(media.cleanup)
    for finalizer in list(weakref.finalize._registry):  # type: ignore[attr-defined]
        finalizer.atexit = False
    gc.collect()
    gc.freeze()  # what is loaded stays shared with the forks
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # monitors end without being waited for
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{address}.new")
        listener.listen()
        os.rename(f"{address}.new", address)
        while True:
            connection, _ = listener.accept()
            if os.fork():
                connection.close()
                continue
            listener.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            return _fork_and_monitor(connection)


def _fork_and_monitor(connection: socket.socket) -> dict[str, Any]:
    """Fork once more; the parent reports the child's id and, at its end, its wait status."""
    body, received, *_ = socket.recv_fds(connection, 1, MAX_FILE_DESCRIPTORS)
    while not body.endswith(b"\n"):
        body += connection.recv(1 << 20)
    request: dict[str, Any] = json.loads(body)
    pid = os.fork()
    if pid:
        for number in received:
            os.close(number)
        connection.sendall(f"{pid}\n".encode())
        ended = os.pidfd_open(pid)
        # A process whose starter ends loses its parent, as loader workers of torch expect.
        if ended in select.select([ended, connection], [], [])[0]:
            with contextlib.suppress(OSError):
                connection.sendall(f"{os.waitpid(pid, 0)[1]}\n".encode())
        os._exit(0)
    connection.close()
    # First out of the way of the numbers that they get.
    copies = [fcntl.fcntl(number, fcntl.F_DUPFD, 2 * MAX_FILE_DESCRIPTORS) for number in received]
    for number in received:
        os.close(number)
    for copy, number in zip(copies, request.pop("numbers"), strict=True):
        os.dup2(copy, number)
        os.close(copy)
    return request


def _carry_out(arguments: Sequence[str], cwd: str, env: Mapping[str, str]) -> None:
    """Run the program; returns, or raises SystemExit, as it does."""
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    Path("/proc/self/comm").write_text(env.get(MARK, "warm"))  # /proc shows the server's variables
    spawn_warm()
    tempfile.tempdir = None  # is looked up again, in the new environment
    sys.path[:] = [cwd, *filter(None, env.get("PYTHONPATH", "").split(os.pathsep)), *sys.path]
    kind, program, *words = arguments
    if kind == "-c":
        sys.argv = ["-c", *words]
        exec(compile(program, "<string>", "exec"), {"__name__": "__main__"})
    else:
        assert kind == "-m", kind
        sys.argv = [program, *words]
        runpy.run_module(program, run_name="__main__", alter_sys=True)


def _exit_code(stop: SystemExit) -> int:
    """The exit code as Python has it, after the message that a program may end with."""
    if stop.code is None or isinstance(stop.code, int):
        return stop.code or 0
    print(stop.code, file=sys.stderr)
    return 1


def main() -> None:
    """Serve; in a fork, run one program and end without taking the loaded libraries apart."""
    global _address
    _address = sys.argv[1]
    request, code = _serve(_address), 0
    try:
        _carry_out(**request)
    except SystemExit as stop:
        code = _exit_code(stop)
    except BaseException:
        traceback.print_exc()
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]  # waits for threads, as at any exit
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
