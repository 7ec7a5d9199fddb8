"""HTTP/1.1 with kept connections for the samples: a request in, a response out."""

import json
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import FrameType
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

_MAX_BODY: Final = 64 * 1024
_FINISH_SECONDS: Final = 10.0
"""How long requests under way may take after SIGTERM."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asks."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    """By lower-case name."""
    body: bytes = b""

    @property
    def segments(self) -> list[str]:
        """The parts of the path."""
        return [part for part in self.path.split("/") if part]

    def form(self) -> dict[str, str]:
        """The fields of an HTML form that was sent."""
        fields = parse_qs(self.body.decode("utf-8", "replace"), keep_blank_values=True)
        return {name: values[-1] for name, values in fields.items()}


@dataclass(frozen=True, slots=True)
class Response:
    """What it is answered."""

    status: int
    body: bytes
    content_type: str
    headers: Mapping[str, str] = field(default_factory=dict)


Handler = Callable[[Request], Response]


def json_response(value: Any, status: int = 200) -> Response:
    return Response(status, json.dumps(value).encode() + b"\n", "application/json")


def html_response(text: str, status: int = 200) -> Response:
    return Response(status, text.encode(), "text/html; charset=utf-8")


def error_response(status: int, message: str) -> Response:
    return json_response({"error": message}, status)


class Server(ThreadingHTTPServer):
    """A thread for each connection; knows how many requests are being answered."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, handler: Handler, address: str, port: int) -> None:
        super().__init__((address, port), _Connection)
        self.handler = handler
        self._idle = threading.Condition()
        self._answering = 0

    def began(self) -> None:
        with self._idle:
            self._answering += 1

    def ended(self) -> None:
        with self._idle:
            self._answering -= 1
            self._idle.notify_all()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that has left needs no traceback."""
        error = sys.exception()
        if isinstance(error, ConnectionError):
            print(f"a client is gone: {error}", file=sys.stderr, flush=True)
        else:
            super().handle_error(request, client_address)  # type: ignore[arg-type]

    def finish(self, seconds: float) -> bool:
        """Wait until no request is being answered; False if time is over before."""
        with self._idle:
            return self._idle.wait_for(lambda: self._answering == 0, seconds)


class _Connection(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # one write for head and body
    server: Server

    def do_GET(self) -> None:
        self._answer()

    do_HEAD = do_POST = do_GET

    def _answer(self) -> None:
        self.server.began()
        try:
            response = self._refusal() or self.server.handler(self._request())
            self._send(response)
        finally:
            self.server.ended()

    def _refusal(self) -> Response | None:
        """Bodies of unknown or great length are not taken."""
        if self.headers.get("Transfer-Encoding"):
            self.close_connection = True
            return error_response(411, "please say the length of the body")
        length = self.headers.get("Content-Length", "0")
        if not length.isdigit() or int(length) > _MAX_BODY:
            self.close_connection = True
            return error_response(413, f"please send at most {_MAX_BODY} bytes")
        return None

    def _request(self) -> Request:
        length = int(self.headers.get("Content-Length", "0"))
        headers = {name.lower(): value for name, value in self.headers.items()}
        path = unquote(urlsplit(self.path).path)
        return Request(self.command, path, headers, self.rfile.read(length))

    def _send(self, response: Response) -> None:
        self.send_response(response.status)
        self.send_header("Content-Type", response.content_type)
        self.send_header("Content-Length", str(len(response.body)))
        for name, value in response.headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(response.body)
        self.wfile.flush()

    def version_string(self) -> str:
        return "marline-sample"

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Failures only: the proxies count the rest."""
        if isinstance(code, int) and code >= 500:
            super().log_request(code, size)


def serve(handler: Handler, address: str, port: int) -> None:
    """Until SIGTERM or SIGINT; then requests under way are finished."""
    with Server(handler, address, port) as server:

        def stop(number: int, frame: FrameType | None) -> None:
            threading.Thread(target=server.shutdown, daemon=True).start()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)
        print(f"listening on {address}:{port}", file=sys.stderr, flush=True)
        server.serve_forever()
        server.finish(_FINISH_SECONDS)
