"""The server side of gRPC on one HTTP/2 connection, without I/O: bytes in, events out; calls in, bytes out.

(gRPC over HTTP/2: grpc/grpc, doc/PROTOCOL-HTTP2.md.) Made for few small messages: everything that a peer
can make it keep is bounded. Two rules: nothing here knows what is called, nor whose bytes they are.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final
from urllib.parse import quote

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    RequestReceived,
    StreamEnded,
    StreamReset,
)
from h2.exceptions import ProtocolError, StreamClosedError
from h2.settings import SettingCodes, Settings

MAX_MESSAGE_BYTES: Final = 64 * 1024
"""Of a request; one of SDS has some hundred bytes, and carries the node's metadata once."""
MAX_STREAMS: Final = 32
MAX_HEADER_BYTES: Final = 16 * 1024
_PREFIX: Final = 5
"""Bytes before each message: whether it is compressed, and its length."""


class Status(IntEnum):
    """gRPC status codes (grpc/grpc, doc/statuscodes.md) that are used here."""

    OK = 0
    INVALID_ARGUMENT = 3
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14


@dataclass(frozen=True, slots=True)
class Called:
    """A call has begun."""

    stream: int
    path: str
    metadata: Mapping[str, str] = field(default_factory=dict, compare=False)
    """The request's headers, names in lower case."""


@dataclass(frozen=True, slots=True)
class Received:
    """A message of a call."""

    stream: int
    message: bytes


@dataclass(frozen=True, slots=True)
class Ended:
    """The client sends nothing more in this call, or has given it up (`reset`)."""

    stream: int
    reset: bool


@dataclass(frozen=True, slots=True)
class Closed:
    """The connection is over; what `outgoing` still has may be sent, then it is to be closed."""


WireEvent = Called | Received | Ended | Closed


@dataclass(slots=True)
class _Call:
    incoming: bytearray = field(default_factory=bytearray)
    outgoing: deque[bytes] = field(default_factory=deque)
    answered: bool = False
    """The response's headers were sent."""
    trailers: list[tuple[str, str]] | None = None
    client_done: bool = False


class GrpcConnection:
    """One connection, from the first byte."""

    def __init__(self) -> None:
        config = H2Configuration(client_side=False, header_encoding="utf-8")
        self._h2 = H2Connection(config)
        # In force from the first byte, not only once the client has acknowledged them.
        limits = {
            SettingCodes.MAX_CONCURRENT_STREAMS: MAX_STREAMS,
            SettingCodes.MAX_HEADER_LIST_SIZE: MAX_HEADER_BYTES,
        }
        self._h2.local_settings = Settings(client=False, initial_values=limits)
        self._calls: dict[int, _Call] = {}
        self._open = True
        self._h2.initiate_connection()

    def outgoing(self) -> bytes:
        """What is to be sent now."""
        return self._h2.data_to_send()

    def receive(self, data: bytes) -> list[WireEvent]:
        """Bytes of the client."""
        if not self._open:
            return []
        try:
            received = self._h2.receive_data(data)
        except (ProtocolError, UnicodeDecodeError):  # the GOAWAY that says so waits to be sent
            self._open = False
            return [Closed()]
        events: list[WireEvent] = []
        for event in received:
            events += self._on_event(event)
        self._flush()
        return events

    def send(self, stream: int, message: bytes) -> None:
        """Send a message, as soon as the client has room for it."""
        call = self._calls.get(stream)
        if call is None or call.trailers is not None:
            return
        call.outgoing.append(b"\0" + len(message).to_bytes(4) + message)
        self._flush()

    def finish(self, stream: int, status: Status, message: str = "") -> None:
        """End a call, after what was sent before."""
        call = self._calls.get(stream)
        if call is None or call.trailers is not None:
            return
        call.trailers = [("grpc-status", str(int(status))), ("grpc-message", quote(message, safe=" "))]
        call.incoming.clear()
        self._flush()

    def close(self) -> None:
        """Say that the connection is over; nothing is sent afterwards."""
        if self._open:
            self._open = False
            self._h2.close_connection()

    def _on_event(self, event: Event) -> list[WireEvent]:
        match event:
            case RequestReceived(stream_id=int(stream)):
                return self._on_request(stream, {str(k): str(v) for k, v in event.headers or ()})
            case DataReceived(stream_id=int(stream)):
                self._h2.acknowledge_received_data(event.flow_controlled_length or 0, stream)
                return self._on_data(stream, event.data or b"")
            case StreamEnded(stream_id=int(stream)) if stream in self._calls:
                self._calls[stream].client_done = True
                return [Ended(stream, reset=False)]
            case StreamReset(stream_id=int(stream)) if self._calls.pop(stream, None) is not None:
                return [Ended(stream, reset=True)]
            case ConnectionTerminated():
                self._open = False
                return [Closed()]
        return []

    def _on_request(self, stream: int, headers: dict[str, str]) -> list[WireEvent]:
        is_grpc = headers.get("content-type", "").startswith("application/grpc")
        if not is_grpc or headers.get(":method") != "POST":
            self._h2.send_headers(stream, [(":status", "415")], end_stream=True)
            return []
        self._calls[stream] = _Call()
        return [Called(stream, headers.get(":path", ""), headers)]

    def _on_data(self, stream: int, data: bytes) -> list[WireEvent]:
        call = self._calls.get(stream)
        if call is None or call.trailers is not None:
            return []
        call.incoming += data
        events: list[WireEvent] = []
        while len(call.incoming) >= _PREFIX:
            length = int.from_bytes(call.incoming[1:_PREFIX])
            if call.incoming[0]:
                self.finish(stream, Status.UNIMPLEMENTED, "compressed messages are not understood")
                break
            if length > MAX_MESSAGE_BYTES:
                limit = f"a message may have {MAX_MESSAGE_BYTES} bytes, not {length}"
                self.finish(stream, Status.RESOURCE_EXHAUSTED, limit)
                break
            if len(call.incoming) < _PREFIX + length:
                break
            events.append(Received(stream, bytes(call.incoming[_PREFIX : _PREFIX + length])))
            del call.incoming[: _PREFIX + length]
        return events

    def _flush(self) -> None:
        """Send of every call what flow control allows."""
        for stream, call in list(self._calls.items()) if self._open else ():
            try:
                self._flush_call(stream, call)
            except StreamClosedError:  # its reset is among the events that are yet to be handled
                self._calls.pop(stream, None)

    def _flush_call(self, stream: int, call: _Call) -> None:
        if not call.answered and (call.outgoing or call.trailers is not None):
            call.answered = True
            self._h2.send_headers(stream, [(":status", "200"), ("content-type", "application/grpc")])
        while call.outgoing:
            room = min(self._h2.local_flow_control_window(stream), self._h2.max_outbound_frame_size)
            if room <= 0:
                return
            head = call.outgoing.popleft()
            self._h2.send_data(stream, head[:room])
            if len(head) > room:
                call.outgoing.appendleft(head[room:])
        if call.trailers is not None:
            self._h2.send_headers(stream, call.trailers, end_stream=True)
            if not call.client_done:  # and is not listened to any more
                self._h2.reset_stream(stream, ErrorCodes.NO_ERROR)
            del self._calls[stream]
