"""Start and stop the server, and the environment of a client that uses no other."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.wandb_server.handler import Handler, Server
from tests.wandb_server.state import Store

API_KEY = "0123456789abcdef0123456789abcdef01234567"

# Variables that would give a client another server, key, proxy or run.
FOREIGN = re.compile("WANDB.*|NETRC|.*_PROXY", re.IGNORECASE)


class WandbServer(Store):
    """The server; used as a context manager it listens on a free port of this machine."""

    def __init__(self, entity: str = "lab", project: str = "ablations") -> None:
        super().__init__(entity, project)
        self._http: Server | None = None

    def __enter__(self) -> WandbServer:
        self.listen()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self.stop_listening()

    def listen(self) -> None:
        """Answer requests, on the same port as before."""
        handler = type("BoundHandler", (Handler,), {"store": self})
        self._http = Server(("127.0.0.1", self.port), handler)
        self.port = self._http.server_address[1]
        threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True).start()

    def stop_listening(self) -> None:
        """Refuse connections from now on; stored data stays."""
        if self._http is not None:
            self._http.shutdown()
            self._http.server_close()
            self._http = None

    @contextmanager
    def outage(self) -> Iterator[None]:
        """Connections are refused inside the block."""
        self.stop_listening()
        try:
            yield
        finally:
            self.listen()

    def env(self, folder: Path, **more: str) -> dict[str, str]:
        """The environment of a client that keeps all files in ``folder`` and retries quickly.

        It inherits no variables of W&B and no files of the home folder.
        """
        clean = {key: value for key, value in os.environ.items() if not FOREIGN.fullmatch(key)}
        kinds_of_folder = ("DIR", "CONFIG_DIR", "CACHE_DIR", "DATA_DIR", "ARTIFACT_DIR")
        folders = {f"WANDB_{kind}": str(folder / kind.lower()) for kind in kinds_of_folder}
        folders["HOME"] = str(folder / "home")
        for path in folders.values():
            Path(path).mkdir(parents=True, exist_ok=True)
        kinds, bounds = ("GRAPHQL", "FILE_STREAM", "FILE_TRANSFER"), ("MIN", "MAX")
        waits = [f"WANDB__{kind}_RETRY_WAIT_{bound}_SECONDS" for kind in kinds for bound in bounds]
        return {
            **clean,
            **folders,
            **dict.fromkeys(waits, "1"),
            "WANDB__FILE_STREAM_TRANSMIT_INTERVAL": "1",
            "WANDB_BASE_URL": self.url,
            "WANDB_API_KEY": API_KEY,
            "WANDB_ENTITY": self.entity,
            "WANDB_PROJECT": self.project,
            "WANDB_ERROR_REPORTING": "false",
            **more,
        }
