"""Files that commands write: checked before work begins, written whole or not at all."""

from __future__ import annotations

import logging
import os
import resource
import threading

import pytest

from ablations.cli.main import main
from ablations.machine import files
from ablations.training.run_log import log_to_file


@pytest.fixture
def little_space():
    """Limit files of this process to 1000 bytes, like a disk that is almost full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(
    "words",
    [
        ["table", "results/mini", "-o"],
        ["table", "results/mini", "--format", "html", "-o"],
        ["claims", "results/mini", "--output"],
        ["table", "--of", "sizes", "-o"],
    ],
)
def test_a_full_disk_gives_one_line_and_leaves_no_file(words, tmp_path, capfd, little_space):
    file = tmp_path / "out"
    assert main([*words, str(file)]) == 1
    message = capfd.readouterr().err
    assert message == f"ablations: {file}: {os.strerror(27)}\n"
    assert not list(tmp_path.iterdir())


def test_a_full_disk_keeps_the_old_file(tmp_path, capfd, little_space):
    file = tmp_path / "out"
    file.write_text("old")
    assert main(["table", "results/mini", "-o", str(file)]) == 1
    assert file.read_text() == "old"


def test_the_error_of_a_full_disk_names_the_file(tmp_path, little_space):
    path = tmp_path / "weights.pt"
    with pytest.raises(OSError, match="File too large") as full, files.atomic_write(path) as file:
        file.write(bytes(40_000))
    assert full.value.filename == str(tmp_path / "weights.pt")
    assert not list(tmp_path.iterdir())


def test_a_log_on_a_full_disk_is_cut_without_an_error(tmp_path, capfd, little_space):
    with log_to_file(tmp_path / "log.txt"):
        for number in range(100):
            logging.getLogger("ablations").info("line %s", number)
    assert capfd.readouterr() == ("", "")
    assert (tmp_path / "log.txt").stat().st_size <= 1000


@pytest.mark.parametrize("command", ["table", "claims", "report", "profile"])
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nosuch/x", "there is no folder"),
        ("nosuch/../x", "there is no folder"),
        ("file/x", "there is no folder"),
        (".", "is a folder: name a file"),
        ("", "an empty name"),
    ],
)
def test_a_path_that_cannot_be_written_is_refused(command, name, message, tmp_path, capsys):
    (tmp_path / "file").touch()
    where = f"{tmp_path}/{name}" if name else ""
    assert main([command, "-o", where]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_pipe_is_written_to_not_replaced(tmp_path):
    pipe, read = tmp_path / "pipe", list[str]()
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_text(encoding="utf-8")))
    reader.start()
    assert main(["table", "results/mini", "-o", str(pipe)]) == 0
    reader.join()
    assert "81.93" in read[0]
    assert pipe.is_fifo()


def test_a_link_to_a_stream_is_written_to_not_replaced(tmp_path):
    """A link of the kind that /dev/stdout is; the stream is sent to a file."""
    file = tmp_path / "redirected"
    file.write_text("before\n")
    with file.open("a") as stream:
        link = tmp_path / "stdout"
        link.symlink_to(f"/proc/self/fd/{stream.fileno()}")
        for name in (link, f"/dev/fd/{stream.fileno()}"):
            assert main(["table", "results/mini", "-o", str(name)]) == 0
    assert link.is_symlink()
    written = file.read_text()
    assert written.startswith("before\n")
    assert written.count("### Ablation: recipe mini") == 2


def test_a_dash_is_refused(capsys):
    assert main(["table", "results/mini", "-o", "-"]) == 2
    assert "- is not a file" in capsys.readouterr().err
