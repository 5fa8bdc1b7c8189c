"""A server that writes whatever a test wants, byte by byte."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

#: Writes a whole reply, status line included.
Respond = Callable[[BaseHTTPRequestHandler], None]
GOOD = json.dumps(
    {
        "data": [{"id": "tiny"}],
        "choices": [{"message": {"content": "stolen"}}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1},
    }
).encode()


class LocalServer:
    """A server on a free port of this machine, with a thread for each request."""

    url: str

    def listen(self, handler: type[BaseHTTPRequestHandler]) -> None:
        """Begin to answer."""
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._http.handle_error = lambda *arguments: None  # type: ignore[method-assign]
        self.url = f"http://127.0.0.1:{self._http.server_port}/v1"
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """No more requests."""
        self._http.shutdown()
        self._http.server_close()


class Server(LocalServer):
    """Answers every request by `respond`, and keeps the headers that came."""

    def __init__(self, respond: Respond) -> None:
        self.headers: list[dict[str, str]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *arguments: Any) -> None: ...

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", "0")))
                outer.headers.append(dict(self.headers))
                respond(self)

            do_GET = do_POST

        self.listen(Handler)


def send(handler: BaseHTTPRequestHandler, status: int, body: bytes = GOOD, **headers: str) -> None:
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)
