"""Printing: characters that the encoding lacks are replaced, and no failed write ends a command."""

from __future__ import annotations

import errno
import io
import logging
import os
import subprocess
import sys

import pytest

from ablations.console import screen
from ablations.tracking import client
from ablations.training.run_log import log_to_file

FULL = "/dev/full"


def run_python(code: str, **options) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([sys.executable, "-c", code], stderr=subprocess.PIPE, **options)


SET_UP = "from ablations.console import screen; screen.set_up_streams(); "


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("81.9 ± 0.2", "81.9 +- 0.2"),
        ("Δ – → ×", "diff - -> x"),
        ("┏━┓│╇█", "+-+|+#"),
        ("naïve", "na\\xefve"),
        ("猫 \U0001f600", "\\u732b \\U0001f600"),
        ("image-\udcff.png", "image-\\udcff.png"),
    ],
)
def test_characters_that_ascii_lacks_are_replaced(text, shown):
    assert text.encode("ascii", screen.HANDLER) == shown.encode()


def test_a_lone_surrogate_is_spelled_out():
    assert "\udcff ±".encode("utf-8", screen.HANDLER).decode() == "\\udcff ±"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8", "cp437"])
def test_printing_works_without_set_up_streams(encoding, monkeypatch):
    """As in a notebook or a test."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, write_through=True)
    monkeypatch.setattr(sys, "stdout", stream)
    screen.out("Δ ± \udcff 猫")
    assert stream.buffer.getvalue().decode(encoding).startswith(("Δ", "diff"))


def test_control_characters_are_spelled_out(capsys):
    screen.out("a\x1b[31mred\x07\r\ttab\nnext\x9b")
    screen.note("one\nline\x1b]0;title\x07")
    captured = capsys.readouterr()
    assert captured.out == "ared\\x07\\r\ttab\nnext\\x9b\n"
    assert captured.err == "one\\nline\\x1b]0;title\\x07\n"


@pytest.mark.parametrize("encoding", ["ascii", "iso-8859-1", "utf-8:strict"])
def test_the_encoding_may_come_from_the_environment(encoding):
    env = {**os.environ, "PYTHONIOENCODING": encoding}
    code = SET_UP + "screen.out('Δ 81.9 ± 0.2 猫'); screen.note('│')"
    done = run_python(code, env=env, stdout=subprocess.PIPE)
    assert done.returncode == 0
    assert b"81.9" in done.stdout
    assert done.stderr


def test_write_error_has_the_reason_on_a_full_disk():
    code = (
        SET_UP
        + "[screen.out('x' * 9999) for _ in range(9)]; sys.stderr.write(screen.write_error())"
    )
    with open(FULL, "w") as full:
        done = run_python("import sys; " + code, stdout=full)
    assert (done.returncode, done.stderr.decode()) == (0, os.strerror(errno.ENOSPC))


def test_write_error_ignores_a_closed_pipe():
    code = (
        SET_UP
        + "[screen.out('x' * 9999) for _ in range(9)]; sys.stderr.write(str(screen.write_error()))"
    )
    reading, writing = os.pipe()
    os.close(reading)
    done = run_python("import sys; " + code, stdout=writing)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"None")


def test_a_new_file_does_not_get_the_number_of_a_closed_stream():
    code = (
        "import os; " + SET_UP + "file = os.open('/dev/null', 0); screen.out('x'); screen.note('y')"
    )
    shell = f'"{sys.executable}" -c "{code}; os._exit(file)" <&- >&- 2>&-'
    assert subprocess.run(["bash", "-c", shell]).returncode == 3


def test_all_output_reaches_a_non_blocking_pipe():
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    process = subprocess.Popen(
        [sys.executable, "-c", SET_UP + "screen.out('x' * 200_000)"], stdout=writing
    )
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        assert len(pipe.read()) == 200_001
    assert process.wait() == 0


def test_redirected_output_goes_to_the_log_or_is_dropped(tmp_path):
    log, link = tmp_path / "workers.log", tmp_path / "link"
    link.symlink_to(tmp_path / "other")
    for path in (log, link, tmp_path / "nosuch" / "log"):
        code = (
            "import os, sys; from ablations.console import screen; "
            f"screen.redirect_output({str(path)!r}); "
            "print('by Python'); os.write(2, b'by C\\n'); screen.note('by us')"
        )
        done = run_python(code, stdout=subprocess.PIPE)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert sorted(log.read_text().splitlines()) == ["by C", "by Python", "by us"]
    assert not (tmp_path / "other").exists()


COMMAND = [sys.executable, "-m", "ablations"]


@pytest.mark.parametrize(
    ("shell", "code", "message"),
    [
        ("table results/mini > /dev/full", 1, "ablations: stdout cannot be written: No space left"),
        ("run -h > /dev/full", 1, "ablations: stdout cannot be written: No space left"),
        (
            "run sweeps/normalization.yaml --recipe mini --dry-run > /dev/full",
            1,
            "ablations: stdout cannot be written: No space left",
        ),
        ("table results/mini >&-", 0, ""),
        ("status --results results/mini --json | true; exit ${PIPESTATUS[0]}", 0, ""),
        ("claims results/mini 2>&- >/dev/null", 0, ""),
        ("table nosuch 2>/dev/full", 2, ""),
    ],
)
def test_a_command_whose_output_cannot_be_written(shell, code, message):
    words = " ".join(f'"{word}"' for word in COMMAND)
    done = subprocess.run(["bash", "-c", f"{words} {shell}"], capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    assert done.stderr.startswith(message)
    assert done.stderr.count("\n") == bool(message)


@pytest.mark.parametrize("encoding", ["ascii", "iso-8859-1"])
def test_commands_print_in_a_limited_encoding(encoding):
    env = {**os.environ, "PYTHONIOENCODING": encoding, "LC_ALL": "C", "PYTHONUTF8": "0"}
    done = subprocess.run(
        [*COMMAND, "table", "results/mini"], env=env, capture_output=True, check=True
    )
    assert "81.93" in done.stdout.decode(encoding)
    done = subprocess.run(
        [*COMMAND, "status", "--results", "results/mini"], env=env, capture_output=True, check=True
    )
    assert "54 runs" in done.stdout.decode(encoding)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://user:secret@host:8080/x failed", "https://***@host:8080/x failed"),
        ("proxy http://token@proxy", "proxy http://***@proxy"),
        ("ray://u:p@ss@head:10001", "ray://***@head:10001"),
        ("https://host/a@b and c@d", "https://host/a@b and c@d"),
        ("'https://u:secret@h': see https://h/y", "'https://***@h': see https://h/y"),
    ],
)
def test_passwords_in_addresses_are_redacted(text, shown, capsys, tmp_path):
    screen.out(text)
    screen.note(text)
    assert capsys.readouterr() == (f"{shown}\n", f"{shown}\n")
    with log_to_file(tmp_path / "log.txt"):
        logging.getLogger("ablations").warning("%s", text)
    assert (tmp_path / "log.txt").read_text().endswith(f"WARNING {shown}\n")


def test_errors_of_wandb_do_not_show_the_password(monkeypatch):
    monkeypatch.setenv("WANDB_BASE_URL", "https://user:secret@wandb.example")
    for message in ("connection refused", "invalid character '<'", "user is not logged in"):
        shown = client.describe_error(
            ValueError(f"POST https://user:secret@wandb.example: {message}")
        )
        assert "secret" not in shown
