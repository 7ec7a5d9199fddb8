"""DNS servers of tests, and how an Envoy is told to ask them."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, cast

from marline.node.dns_codec import answer, parse

_CARES = "type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig"


class _Server(asyncio.DatagramProtocol):
    def __init__(self, names: Mapping[str, tuple[str, ...]] | None) -> None:
        self._names = names
        self.asked: list[str] = []
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        question = parse(data)
        self.asked.append(question.name)
        if self._names is None or self._transport is None:
            return
        found = self._names.get(question.name)
        self._transport.sendto(answer(question, found or (), 1, exists=found is not None), addr)


@asynccontextmanager
async def dns_server(names: Mapping[str, tuple[str, ...]] | None) -> AsyncIterator[dict[str, Any]]:
    """One that knows these names (None: it never answers); a bootstrap's `typed_dns_resolver_config`."""
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: _Server(names), ("127.0.0.1", 0))
    port = transport.get_extra_info("sockname")[1]
    server = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    try:
        yield {
            "name": "envoy.network.dns_resolver.cares",
            "typed_config": {"@type": _CARES, "resolvers": [server]},
        }
    finally:
        transport.close()
