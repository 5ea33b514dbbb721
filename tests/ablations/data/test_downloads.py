"""Progress of downloads through torchvision, from a local server."""

from __future__ import annotations

import functools
import http.server
import sys
import threading
from urllib.error import URLError

import pytest
from torchvision.datasets import utils

from ablations.data import download_progress


@pytest.fixture
def server_url(tmp_path):
    """The address of a folder with one file of 200,000 bytes."""
    (tmp_path / "set.bin").write_bytes(b"x" * 200_000)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(tmp_path))

    class Server(http.server.ThreadingHTTPServer):
        def handle_error(self, *_) -> None:
            pass  # torchvision looks for redirections, and does not wait for the file

    with Server(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def test_a_log_has_a_first_and_a_last_line(server_url, tmp_path, capsys):
    original = utils.tqdm
    with download_progress.show_download_progress("Set", "data"):
        for name in ("one", "two"):
            utils.download_url(f"{server_url}set.bin", str(tmp_path / name))
        print("Extracting")
    assert utils.tqdm is original
    out, err = capsys.readouterr()
    assert out == ""
    first, last = err.splitlines()
    assert first == "downloading Set to data"
    assert last.startswith("downloaded 400.0 kB of Set in ")


def test_a_terminal_shows_a_bar_with_bytes(server_url, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with download_progress.show_download_progress("Set", "data"):
        utils.download_url(f"{server_url}set.bin", str(tmp_path / "there"))
    err = capsys.readouterr().err
    assert "downloading Set: 200.0 kB of 200.0 kB, " in err
    assert "B/s, 0 s left" in err


def test_a_download_that_cannot_start_prints_nothing(tmp_path, capsys):
    with pytest.raises(URLError), download_progress.show_download_progress("Set", "data"):
        utils.download_url("http://127.0.0.1:9/set.bin", str(tmp_path))
    assert capsys.readouterr() == ("", "")


def test_an_interrupted_download_restores_torchvision(server_url, tmp_path, capsys):
    original = utils.tqdm

    def interrupt() -> None:
        with (
            download_progress.show_download_progress("Set", "data"),
            utils.tqdm(total=10, unit="B", unit_scale=True) as bar,
        ):
            bar.update(4)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupt()
    assert utils.tqdm is original
    assert "downloaded 4 bytes of Set" in capsys.readouterr().err
