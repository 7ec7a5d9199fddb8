"""UDP servers on a port of their own, and clients that ask them."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

SILENCE_SECONDS = 0.5
"""After so long nobody on this machine will answer any more."""


class _Naming(asyncio.DatagramProtocol):
    """Answers each datagram with its name and what was in it."""

    def __init__(self, name: str) -> None:
        self._name = name

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._transport.sendto(self._name.encode() + b":" + data, addr)


@asynccontextmanager
async def udp_server(name: str, port: int = 0) -> AsyncIterator[int]:
    """Its port."""
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: _Naming(name), ("127.0.0.1", port))
    try:
        yield transport.get_extra_info("sockname")[1]
    finally:
        transport.close()


class UdpClient:
    """Datagrams from one address and port."""

    def __init__(self, source: str = "127.0.0.1") -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind((source, 0))

    async def ask(self, port: int, text: str, patience: float = 10.0) -> str:
        """What comes back; "" if nothing does within the patience, in seconds."""
        loop = asyncio.get_running_loop()
        await loop.sock_sendto(self._socket, text.encode(), ("127.0.0.1", port))
        try:
            async with asyncio.timeout(patience):
                return (await loop.sock_recv(self._socket, 1000)).decode()
        except TimeoutError:
            return ""

    def close(self) -> None:
        self._socket.close()


async def ask(port: int, text: str = "hello", patience: float = 10.0, source: str = "127.0.0.1") -> str:
    """One question from a port that nothing else was asked from."""
    client = UdpClient(source)
    try:
        return await client.ask(port, text, patience)
    finally:
        client.close()
