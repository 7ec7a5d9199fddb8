"""A gateway speaks HTTP/1.1 to a backend whose port declares no protocol, whatever its clients speak."""

import asyncio
from contextlib import AsyncExitStack

import h2.config
import h2.connection
import h2.events
import pytest
from api_gateway import edge, gateway, route, service
from routing_envoy import backend


async def status_over_http2(port: int, host: str) -> str:
    """The status of one request, of a client that begins with HTTP/2."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    talk = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
    talk.initiate_connection()
    headers = [(":method", "GET"), (":scheme", "http"), (":authority", host), (":path", "/")]
    talk.send_headers(1, headers, end_stream=True)
    writer.write(talk.data_to_send())
    try:
        while data := await asyncio.wait_for(reader.read(65536), 10):
            for event in talk.receive_data(data):
                if isinstance(event, h2.events.ResponseReceived):
                    return dict(event.headers)[":status"]
    finally:
        writer.close()
    return ""


@pytest.mark.parametrize("name", ["web", "http"])
async def test_a_client_of_http2_is_served_by_a_backend_that_knows_only_http1(name: str) -> None:
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(backend("old"))
        text = gateway("[{name: all, port: 80, protocol: HTTP}]")
        text += service("old", server.port, protocol=name)
        text += route("HTTPRoute", "all", "{rules: [{backendRefs: [{name: old, port: 80}]}]}")
        running = await stack.enter_async_context(edge(text, 80))
        assert await status_over_http2(running.listen(80), "shop.test") == "200"
