"""gRPC at a Unix socket, for callers whom the kernel names: what SDS and the Workload API have in common.

Nothing of a connection is acted on before its peer has been admitted. Who is admitted, and what each call is
answered, is told by two small interfaces without I/O: a `Guest` and its `Stream`s.
"""

import asyncio
import logging
import os
import socket
import stat
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Protocol, Self, cast

from marline.identity.errors import SocketUnusable
from marline.identity.grpc_wire import Called, Closed, Ended, GrpcConnection, Received, Status, WireEvent

MAX_CONNECTIONS: Final = 32
"""Of one peer, and of all who are refused together. An Envoy needs one, and for a moment a second one when it
reconnects."""
_REFUSED_SECONDS: Final = 1.0
"""So long a peer that is not admitted may take to make the call that is refused."""
_MAX_EARLY_BYTES: Final = 64 * 1024
"""What a peer may send before it is admitted."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Reply:
    """What is sent in a call now."""

    messages: tuple[bytes, ...] = ()
    status: Status | None = None
    """The call is over with this; None: it goes on."""
    reason: str = ""
    later: Awaitable["Reply"] | None = None
    """What is sent besides, once it is known."""


class Stream(Protocol):
    """One call, from its first byte."""

    ends_with_client: bool
    """It is over when the client sends nothing more; else it goes on until the client gives it up."""

    def received(self, message: bytes) -> Reply:
        """The client has sent a message."""
        ...

    def update(self) -> Reply:
        """What is served may be something else now."""
        ...


class Guest(Protocol):
    """A peer that was admitted."""

    @property
    def key(self) -> object:
        """Equal for two connections of the same peer."""
        ...

    def call(self, path: str, metadata: Mapping[str, str]) -> Stream | Reply:
        """A call begins; a `Reply` ends it at once."""
        ...

    def leave(self) -> None:
        """The connection is over."""
        ...


Admit = Callable[[Any], Awaitable[Guest | None]]
"""`(socket)`: whoever connected, if it may be served; None: it is refused."""
Refuse = Callable[[str, Mapping[str, str]], Reply]
"""`(path, metadata)`: what is answered to a call of one that is not admitted."""


class UnixGrpcServer:
    """Serves at a Unix socket within `async with`."""

    def __init__(self, path: Path, mode: int, admit: Admit, refuse: Refuse) -> None:
        self.path, self.mode = path, mode
        self.admit, self.refuse = admit, refuse
        self.connections: set[_Connection] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        """Raises `SocketUnusable`."""
        listener = _bind(self.path, self.mode)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(lambda: _Connection(self), sock=listener)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
        for connection in list(self.connections):
            connection.close()
        self.path.unlink(missing_ok=True)

    def streams(self) -> Iterator[Stream]:
        """All calls that go on."""
        for connection in self.connections:
            yield from connection.streams()

    def update(self) -> None:
        """What is served may be something else now: every call looks whether that concerns it."""
        for connection in list(self.connections):
            connection.update()


class _Connection(asyncio.Protocol):
    """One connection and its calls."""

    def __init__(self, server: UnixGrpcServer) -> None:
        self._server = server
        self._wire = GrpcConnection()
        self._streams: dict[int, Stream] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._early: bytearray | None = bytearray()
        self.guest: Guest | None = None
        self._transport: asyncio.Transport | None = None

    def streams(self) -> Iterable[Stream]:
        return self._streams.values()

    @property
    def key(self) -> object:
        return None if self.guest is None else self.guest.key

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._start(self._admit())

    async def _admit(self) -> None:
        transport = self._transport
        guest = await self._server.admit(transport.get_extra_info("socket")) if transport else None
        if self._transport is None or self._transport.is_closing():
            if guest is not None:
                guest.leave()
            return
        self.guest = guest
        if guest is None:
            _log.warning("a process that is not served there connected to %s", self._server.path)
            asyncio.get_running_loop().call_later(_REFUSED_SECONDS, self.close)
        # Those that are refused do not take the place of those that are not.
        if sum(other.key == self.key for other in self._server.connections) >= MAX_CONNECTIONS:
            _log.warning("more than %d connections of one process to %s", MAX_CONNECTIONS, self._server.path)
            self.close()
            return
        self._server.connections.add(self)
        early, self._early = bytes(self._early or b""), None
        self.data_received(early)

    def data_received(self, data: bytes) -> None:
        if self._early is not None:
            self._early += data
            if len(self._early) > _MAX_EARLY_BYTES:
                self.close()
            return
        for event in self._wire.receive(data):
            if self.guest is not None:
                self._on_event(self.guest, event)
            elif isinstance(event, Called):
                self._refuse(event)
                return
            if isinstance(event, Closed):
                self.close()
                return
        self._send()

    def _refuse(self, call: Called) -> None:
        """Say no, and end the connection without cutting off what says so: a peer whose own bytes are in the
        way would see a broken pipe in place of the answer. The timer ends it if the peer does not."""
        reply = self._server.refuse(call.path, call.metadata)
        self._wire.finish(call.stream, reply.status or Status.PERMISSION_DENIED, reply.reason)
        self._wire.close()
        self._send()
        if self._transport is not None:
            self._transport.write_eof()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._streams.clear()
        for task in self._tasks:
            task.cancel()
        self._server.connections.discard(self)
        if self.guest is not None:
            self.guest.leave()

    def update(self) -> None:
        """What is served may be something else now."""
        for number, stream in list(self._streams.items()):
            self._answer(number, stream.update())
        self._send()

    def close(self) -> None:
        """End the connection; what was written is still sent."""
        self._send()
        if self._transport is not None:
            self._transport.close()

    def _on_event(self, guest: Guest, event: WireEvent) -> None:
        match event:
            case Called(number, path, metadata):
                opened = guest.call(path, metadata)
                if isinstance(opened, Reply):
                    self._answer(number, opened)
                else:
                    self._streams[number] = opened
            case Received(number, message) if number in self._streams:
                self._answer(number, self._streams[number].received(message))
            case Ended(number, reset=True):
                self._streams.pop(number, None)
            case Ended(number) if number in self._streams and self._streams[number].ends_with_client:
                del self._streams[number]
                self._wire.finish(number, Status.OK)

    def _answer(self, number: int, reply: Reply) -> None:
        for message in reply.messages:
            self._wire.send(number, message)
        if reply.status is not None:
            self._streams.pop(number, None)
            self._wire.finish(number, reply.status, reply.reason)
        if reply.later is not None:
            self._start(self._answer_later(number, reply.later))

    async def _answer_later(self, number: int, later: Awaitable[Reply]) -> None:
        reply = await later
        if number in self._streams:
            self._answer(number, reply)
            self._send()

    def _start(self, work: Any) -> None:
        task: asyncio.Task[None] = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _log.error("a connection to %s failed", self._server.path, exc_info=task.exception())
            self.close()

    def _send(self) -> None:
        data = self._wire.outgoing()
        if data and self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)


def _bind(path: Path, mode: int) -> socket.socket:
    """A listening socket that has this mode from the moment it exists."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        with suppress(FileNotFoundError):
            if stat.S_ISSOCK(path.lstat().st_mode):  # of a process that was killed
                path.unlink()
        # On Linux the file gets the socket's own mode, so there is no moment at which it is open to all.
        os.fchmod(listener.fileno(), 0o600)
        listener.bind(str(path))
        if mode != 0o600:
            path.chmod(mode)  # which the umask would have narrowed
        listener.listen(MAX_CONNECTIONS)
    except OSError as error:
        listener.close()
        raise SocketUnusable(str(path), error.strerror or str(error)) from error
    return listener
