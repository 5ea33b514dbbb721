"""HTTP: GraphQL, the file stream and the storage, unless a fault is set."""

from __future__ import annotations

import gzip
import json
import re
import traceback
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

from tests.wandb_server.files import shelf_of
from tests.wandb_server.graphql import Json, RefusedError
from tests.wandb_server.runs import file_stream
from tests.wandb_server.schema import answer
from tests.wandb_server.state import Store


def graphql_error(message: str) -> Json:
    """The body of a GraphQL error."""
    return {"data": None, "errors": [{"message": message}]}


FAULTS: dict[str, tuple[bytes | Json, int]] = {
    "500": (graphql_error("internal error"), 500),
    "rubbish": (b"<html>a proxy's page</html>", 200),
    "401": (graphql_error("user is not logged in"), 401),
}


class Server(ThreadingHTTPServer):
    """A server that ends with its test and ignores clients that disconnect."""

    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing: the handler stores its errors."""


class Handler(BaseHTTPRequestHandler):
    """One request; ``store`` is bound in a subclass."""

    store: Store

    def log_message(self, *_: object) -> None:
        """Keep the terminal clean."""

    @property
    def url_path(self) -> str:
        """The request's path, without a query."""
        return unquote(urlsplit(self.path).path)

    def body(self) -> bytes:
        """The content of the request."""
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        zipped = self.headers.get("Content-Encoding") == "gzip"
        return gzip.decompress(content) if zipped else content

    def reply(self, content: bytes | Json, status: int) -> None:
        """Send an answer."""
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        kind = "application/octet-stream" if isinstance(content, bytes) else "application/json"
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def answer(self, make: Callable[[], bytes | Json]) -> None:
        """Reply with the result of ``make``, or the fault that is set; exceptions give a 500."""
        self.store.closing.wait(self.store.delay)
        if fault := self.store.fault:
            self.store.requests.append(fault)
            self.reply(*FAULTS[fault])
            return
        try:
            content, status = make(), 200
        except RefusedError as error:
            content, status = graphql_error(str(error)), error.status
        except Exception as error:
            self.store.errors.append(traceback.format_exc())
            content, status = graphql_error(repr(error)), 500
        self.reply(content, status)

    def unknown(self) -> RefusedError:
        """Record a request to an unknown path."""
        self.store.unknown.add(f"{self.command} {self.url_path}")
        return RefusedError("not found", 404)

    def do_POST(self) -> None:
        """GraphQL and file streams."""
        content = self.body()

        def make() -> Json:
            if self.url_path == "/graphql":
                return answer(self.store, json.loads(content))
            if match := re.fullmatch(r"/files/[^/]+/[^/]+/([^/]+)/file_stream", self.url_path):
                return file_stream(self.store, match[1], json.loads(content))
            raise self.unknown()

        self.answer(make)

    def do_PUT(self) -> None:
        """Uploads."""
        content = self.body()

        def store() -> bytes:
            self.store.requests.append("upload")
            files, name = shelf_of(self.store, self.url_path)
            files[name] = content
            return b""

        self.answer(store)

    def do_GET(self) -> None:
        """Downloads."""

        def fetch() -> bytes:
            self.store.requests.append("download")
            if not self.url_path.startswith("/storage/"):
                raise self.unknown()
            files, name = shelf_of(self.store, self.url_path)
            if name not in files:
                raise RefusedError("not found", 404)
            return files[name]

        self.answer(fetch)
