"""The SDS server of one proxy: its Envoy, and nobody else, gets its certificate, its key and its roots.

Envoy's configuration refers to it with `api_type: GRPC` and the cluster `sds-grpc` (`compile.tls`), so what
is served is `StreamSecrets`. Nothing of a connection is acted on before the kernel has said who made it.
"""

import asyncio
import logging
import os
import socket
import stat
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self, cast

from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf.message import DecodeError

from marline.identity.errors import SocketUnusable
from marline.identity.grpc_wire import Called, Closed, Ended, GrpcConnection, Received, Status, WireEvent
from marline.identity.peers import Allowed, attest
from marline.identity.sds_session import InvalidRequest, SdsSession, Secrets, secrets_of
from marline.identity.svid import Svid

METHOD: Final = "/envoy.service.secret.v3.SecretDiscoveryService/StreamSecrets"
MAX_CONNECTIONS: Final = 32
"""Envoy needs one, and for a moment a second one when it reconnects."""
_REFUSED_SECONDS: Final = 1.0
"""So long a peer that is not allowed may take to make the call that is refused."""

_log = logging.getLogger(__name__)


class SdsServer:
    """Serves what was last published, at a Unix socket of mode 0600, within `async with`."""

    def __init__(self, path: Path, allowed: Allowed) -> None:
        self.path = path
        self.allowed = allowed
        self.secrets: Secrets = {}
        self.connections: set[_Connection] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        """Raises `SocketUnusable`."""
        listener = _bind(self.path)
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

    def publish(self, svid: Svid) -> None:
        """Give this identity to all who are connected and all who will be."""
        self.secrets = secrets_of(svid)
        for connection in list(self.connections):
            connection.update()


class _Connection(asyncio.Protocol):
    """One connection; its streams are sessions."""

    def __init__(self, server: SdsServer) -> None:
        self._server = server
        self._wire = GrpcConnection()
        self._sessions: dict[int, SdsSession] = {}
        self.attested = False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        peer = attest(transport.get_extra_info("socket"), self._server.allowed)
        self.attested = peer is not None
        if peer is None:
            _log.warning("a process that is not its Envoy connected to %s", self._server.path)
            asyncio.get_running_loop().call_later(_REFUSED_SECONDS, self.close)
        # Those that are refused do not take the place of those that are not.
        if sum(other.attested is self.attested for other in self._server.connections) >= MAX_CONNECTIONS:
            _log.warning("more than %d connections to %s", MAX_CONNECTIONS, self._server.path)
            self.close()
            return
        self._server.connections.add(self)
        self._send()

    def data_received(self, data: bytes) -> None:
        for event in self._wire.receive(data):
            if self.attested:
                self._on_event(event)
            elif isinstance(event, Called):
                self._refuse(event.stream)
                return
            if isinstance(event, Closed):
                self.close()
                return
        self._send()

    def _refuse(self, stream: int) -> None:
        """Say no, and end the connection without cutting off what says so: a peer whose own bytes are in the
        way would see a broken pipe in place of the answer. The timer ends it if the peer does not."""
        self._wire.finish(stream, Status.PERMISSION_DENIED, "only its own Envoy is served here")
        self._wire.close()
        self._send()
        if self._transport is not None:
            self._transport.write_eof()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._sessions.clear()
        self._server.connections.discard(self)

    def update(self) -> None:
        """The secrets are others now."""
        for stream, session in self._sessions.items():
            self._answer(stream, session.update(self._server.secrets))
        self._send()

    def close(self) -> None:
        """End the connection; what was written is still sent."""
        self._send()
        if self._transport is not None:
            self._transport.close()

    def _on_event(self, event: WireEvent) -> None:
        match event:
            case Called(stream, path) if path == METHOD:
                self._sessions[stream] = SdsSession(self._server.secrets)
            case Called(stream, _):
                self._wire.finish(stream, Status.UNIMPLEMENTED, "only StreamSecrets is served")
            case Received(stream, message) if stream in self._sessions:
                self._on_message(stream, message)
            case Ended(stream, reset) if self._sessions.pop(stream, None) is not None and not reset:
                self._wire.finish(stream, Status.OK)

    def _on_message(self, stream: int, message: bytes) -> None:
        try:
            request = discovery_pb2.DiscoveryRequest.FromString(message)
            response = self._sessions[stream].request(request)
        except (DecodeError, InvalidRequest) as error:
            del self._sessions[stream]
            self._wire.finish(stream, Status.INVALID_ARGUMENT, str(error))
            return
        self._answer(stream, response)

    def _answer(self, stream: int, response: discovery_pb2.DiscoveryResponse | None) -> None:
        if response is not None:
            self._wire.send(stream, response.SerializeToString())

    def _send(self) -> None:
        data = self._wire.outgoing()
        if data and self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)


def _bind(path: Path) -> socket.socket:
    """A listening socket that only this user may connect to, from the moment it exists."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        with suppress(FileNotFoundError):
            if stat.S_ISSOCK(path.lstat().st_mode):  # of a process that was killed
                path.unlink()
        # On Linux the file gets the socket's own mode, so there is no moment at which it is open to all.
        os.fchmod(listener.fileno(), 0o600)
        listener.bind(str(path))
        listener.listen(MAX_CONNECTIONS)
    except OSError as error:
        listener.close()
        raise SocketUnusable(str(path), error.strerror or str(error)) from error
    return listener
