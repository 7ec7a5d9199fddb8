"""The resolver inside a workload's namespace: services from the mesh, everything else from the machine's.

It listens on loopback there, where nftables redirects whatever the application asks of any server. It asks
the machine's own resolvers from the machine's own namespace.
"""

import asyncio
import contextlib
import logging
import secrets
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from marline.mesh.names import NameTable
from marline.node import dns_codec
from marline.node.dns_codec import NotAQuery, Question
from marline.node.namespace import inside

LOOPBACK: Final = "127.0.0.1"
TTL_SECONDS: Final = 5
"""Short, since a headless service's endpoints come and go."""
_RESOLV_CONF: Final = Path("/etc/resolv.conf")
_ASK_SECONDS: Final = 2.0
_ATTEMPTS: Final = 2
_MAX_UNDER_WAY: Final = 256
"""Questions of one workload that are being forwarded at a time; more are dropped, as a full queue would."""
_TCP_SECONDS: Final = 10.0

_log = logging.getLogger(__name__)


def nameservers(text: str) -> list[str]:
    """The servers of a resolv.conf(5)."""
    words = (line.split() for line in text.splitlines())
    return [item[1].partition("%")[0] for item in words if len(item) > 1 and item[0] == "nameserver"]


def host_nameservers() -> list[str]:
    """Those of this machine, read anew each time: networks change."""
    try:
        return nameservers(_RESOLV_CONF.read_text())
    except OSError as error:
        _log.warning("no resolvers: %s", error)
        return []


@dataclass(slots=True)
class Resolver:
    """Answers from the mesh's names, or asks others. `names` None: always asks others."""

    namespace: str
    names: Callable[[], NameTable] | None
    servers: Callable[[], Iterable[str]] = host_nameservers
    port: int = 53
    _under_way: int = 0

    async def resolve(self, packet: bytes, *, tcp: bool) -> bytes | None:
        """The response to a query; None for what deserves none."""
        try:
            question = dns_codec.parse(packet)
        except NotAQuery:
            return None
        known = self._known(question)
        if known is not None:
            made = dns_codec.answer(question, known, TTL_SECONDS, exists=bool(known))
            return made if tcp or len(made) <= 512 or question.extended else dns_codec.truncated(question)
        if self._under_way >= _MAX_UNDER_WAY:
            return None
        self._under_way += 1
        try:
            return await self._forward(question, packet, tcp=tcp)
        finally:
            self._under_way -= 1

    def _known(self, question: Question) -> tuple[str, ...] | None:
        if self.names is None or not question.is_internet:
            return None
        return self.names().lookup(question.name, self.namespace)

    async def _forward(self, question: Question, packet: bytes, *, tcp: bool) -> bytes:
        ask = self._ask_tcp if tcp else self._ask_udp
        for _ in range(_ATTEMPTS):
            for server in self.servers():
                try:
                    async with asyncio.timeout(_ASK_SECONDS):
                        return packet[:2] + (await ask(server, secrets.token_bytes(2) + packet[2:]))[2:]
                except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
                    _log.debug("%s does not answer for %s: %s", server, question.name, error)
        return dns_codec.failure(question)

    async def _ask_udp(self, server: str, query: bytes) -> bytes:
        loop = asyncio.get_running_loop()
        family = socket.AF_INET6 if ":" in server else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as asking:
            asking.connect((server, self.port))
            await loop.sock_sendall(asking, query)
            while True:
                answer = await loop.sock_recv(asking, 65535)
                if dns_codec.answers(answer, query):
                    return answer

    async def _ask_tcp(self, server: str, query: bytes) -> bytes:
        reader, writer = await asyncio.open_connection(server, self.port)
        try:
            writer.write(len(query).to_bytes(2) + query)
            await writer.drain()
            return await reader.readexactly(int.from_bytes(await reader.readexactly(2)))
        finally:
            writer.close()


@dataclass(slots=True)
class DnsServer:
    """A resolver on UDP and TCP of a namespace's loopback."""

    resolver: Resolver
    netns: str
    port: int
    _transport: asyncio.DatagramTransport | None = None
    _server: asyncio.Server | None = None
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def start(self) -> None:
        """Raises OSError."""
        loop = asyncio.get_running_loop()
        with inside(self.netns):
            datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            connections = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        for made in (datagrams, connections):
            made.setblocking(False)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind((LOOPBACK, self.port))
        self._transport, _ = await loop.create_datagram_endpoint(
            lambda: _Datagrams(self._take), sock=datagrams
        )
        self._server = await asyncio.start_server(self._serve, sock=connections)

    async def stop(self) -> None:
        if self._transport is not None:
            self._transport.close()
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _take(self, packet: bytes, address: Any) -> None:
        task = asyncio.create_task(self._answer(packet, address))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, packet: bytes, address: Any) -> None:
        response = await self.resolver.resolve(packet, tcp=False)
        if response is not None and self._transport is not None:
            self._transport.sendto(response, address)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, TimeoutError, ConnectionError):
                while True:
                    async with asyncio.timeout(_TCP_SECONDS):
                        size = int.from_bytes(await reader.readexactly(2))
                        packet = await reader.readexactly(size)
                    response = await self.resolver.resolve(packet, tcp=True)
                    if response is None:
                        return
                    writer.write(len(response).to_bytes(2) + response)
                    await writer.drain()
        finally:
            writer.close()


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, take: Callable[[bytes, Any], None]) -> None:
        self._take = take

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._take(data, addr)
