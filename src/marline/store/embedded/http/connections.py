"""Who may hold how many connections, and for how long without asking anything.

The HTTP server itself knows no such limits, so its protocol is wrapped. Connections that nobody vouches for
share one pool, in which the oldest makes room for the newest: whoever fills it with connections of his own
pushes these out, and not those of users who are known.
"""

import asyncio
from dataclasses import dataclass, field
from typing import Final, cast

from marline.store.embedded.credentials import User, user_of_certificate
from marline.store.tokens import ADMINS

_UNKNOWN: Final = ""


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one API server."""

    unknown_connections: int = 256
    """Of all who have shown no credentials yet."""
    connections_of_user: int = 256
    connections_of_administrator: int = 4096
    silent_seconds: float = 15.0
    """After which a connection that has asked for nothing is closed."""
    handshake_seconds: float = 10.0
    requests_per_second: float = 100.0
    """Of one user who is no administrator; of all together who are unknown."""
    request_burst: float = 400.0


LIMITS: Final = Limits()


class Connections:
    """All that are open."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._open: dict[asyncio.BaseTransport, _Connection] = {}
        self._of_user: dict[str, dict[_Connection, None]] = {}

    def guarded(self, handler: asyncio.BaseProtocol) -> asyncio.Protocol:
        """The protocol of a new connection, of which `handler` speaks the HTTP."""
        return _Connection(self, cast(asyncio.Protocol, handler))

    def asks(self, transport: asyncio.BaseTransport | None, user: User | None) -> None:
        """A request has come over a connection, by this user (None: nobody whom we know)."""
        connection = self._open.get(transport) if transport else None
        if connection is not None:
            connection.has_asked = True
            if user is not None and connection.name == _UNKNOWN:
                self.remove(connection)
                self.add(connection, user)

    def add(self, connection: "_Connection", user: User | None) -> None:
        """A connection is open, or is found to be a user's. It is closed if that is one too many."""
        connection.name = user.name if user else _UNKNOWN
        others = self._of_user.get(connection.name, {})
        if len(others) >= self._limit(user):
            surplus = next(iter(others)) if user is None else connection
            surplus.transport.close()
            self.remove(surplus)
            if surplus is connection:
                return
        self._open[connection.transport] = connection
        self._of_user.setdefault(connection.name, {})[connection] = None

    def _limit(self, user: User | None) -> int:
        if user is None:
            return self.limits.unknown_connections
        many = ADMINS in user.groups
        return self.limits.connections_of_administrator if many else self.limits.connections_of_user

    def remove(self, connection: "_Connection") -> None:
        self._open.pop(connection.transport, None)
        others = self._of_user.get(connection.name, {})
        others.pop(connection, None)
        if not others:
            self._of_user.pop(connection.name, None)


@dataclass(eq=False)
class _Connection(asyncio.Protocol):
    """One connection, between its transport and what speaks HTTP."""

    connections: Connections
    handler: asyncio.Protocol
    transport: asyncio.Transport = field(init=False)
    name: str = _UNKNOWN
    has_asked: bool = False
    _patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        limits = self.connections.limits
        self._patience = asyncio.get_running_loop().call_later(limits.silent_seconds, self._lose_patience)
        self.handler.connection_made(transport)
        self.connections.add(self, user_of_certificate(transport.get_extra_info("peercert")))

    def _lose_patience(self) -> None:
        if not self.has_asked:
            self.transport.abort()

    def data_received(self, data: bytes) -> None:
        self.handler.data_received(data)

    def eof_received(self) -> bool | None:
        return self.handler.eof_received()

    def pause_writing(self) -> None:
        self.handler.pause_writing()

    def resume_writing(self) -> None:
        self.handler.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._patience is not None:
            self._patience.cancel()
        self.connections.remove(self)
        self.handler.connection_lost(exc)
