"""Python processes that start at once: forks of one process that has imported the heavy libraries.

This saves the seconds in which a fresh process imports torch, Lightning and wandb. A test uses it
through ``tests.factories.processes``; one that looks at the start of a process takes a fresh one.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import json
import os
import runpy
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
FILE_DESCRIPTORS = 3
START_SECONDS = 120.0


class WarmProcess:
    """A fork that runs ``python *arguments``; the part of ``subprocess.Popen`` that tests use.

    Args:
        arguments: ``-m MODULE ...`` or ``-c CODE ...``.
        streams: File descriptors of its stdin, stdout and stderr.
        cwd: Its working directory.
        env: Its environment.
    """

    def __init__(
        self, arguments: Sequence[str], streams: Sequence[int], cwd: str, env: Mapping[str, str]
    ) -> None:
        self.args, self.returncode = list(arguments), None
        request = {"arguments": self.args, "cwd": cwd, "env": dict(env)}
        self._connection = socket.socket(socket.AF_UNIX)
        self._connection.connect(_server())
        body = json.dumps(request).encode() + b"\n"
        socket.send_fds(self._connection, [body[:1]], streams)
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
        if self.returncode is None:
            try:
                self.returncode = os.waitstatus_to_exitcode(int(self._line(timeout)))
            except (TimeoutError, BlockingIOError) as error:
                raise subprocess.TimeoutExpired(self.args, timeout or 0) from error
            self._connection.close()
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


@cache
def _server() -> str:
    """The address of this process's server, which is started on first use."""
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
    body, streams, *_ = socket.recv_fds(connection, 1, FILE_DESCRIPTORS)
    while not body.endswith(b"\n"):
        body += connection.recv(1 << 20)
    pid = os.fork()
    if pid:
        connection.sendall(f"{pid}\n".encode())
        with contextlib.suppress(OSError):
            connection.sendall(f"{os.waitpid(pid, 0)[1]}\n".encode())
        os._exit(0)
    connection.close()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    request: dict[str, Any] = json.loads(body)
    return request


def _carry_out(arguments: Sequence[str], cwd: str, env: Mapping[str, str]) -> None:
    """Run the program; returns, or raises SystemExit, as it does."""
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
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
    request, code = _serve(sys.argv[1]), 0
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
