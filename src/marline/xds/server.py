"""The gRPC server of delta ADS: a short shell that drives a session for each stream."""

import asyncio
import logging
import os
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, TypeAlias

import grpc
from envoy.service.discovery.v3 import discovery_pb2
from grpc import aio

from marline.mesh.model import Proxy
from marline.mesh.proxy import MalformedProxy
from marline.xds.hub import Hub
from marline.xds.messages import Response, decode, encode, proxy_of

_SERVICE: Final = "envoy.service.discovery.v3.AggregatedDiscoveryService"
_MAX_REQUEST_BYTES: Final = 16 * 1024 * 1024
"""A proxy that reconnects names all that it has: some 100 bytes for each resource."""
STREAMS_OF_PROXY: Final = 4
"""An Envoy has one, and for a moment a second one when it reconnects."""
STREAMS_OF_CONNECTION: Final = 8
FIRST_REQUEST_SECONDS: Final = 10.0
"""So long a stream may take to say whose it is."""
_OPTIONS: Final = (
    ("grpc.max_receive_message_length", _MAX_REQUEST_BYTES),
    ("grpc.max_concurrent_streams", STREAMS_OF_CONNECTION),
    ("grpc.max_send_message_length", -1),
    ("grpc.so_reuseport", 0),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.http2.max_ping_strikes", 0),
)
_GRACE_SECONDS: Final = 0.2

_log = logging.getLogger(__name__)
Context: TypeAlias = "aio.ServicerContext[discovery_pb2.DeltaDiscoveryRequest, bytes]"


@asynccontextmanager
async def serve_ads(hub: Hub, socket: Path) -> AsyncIterator[None]:
    """Serve this hub's mesh at a Unix socket that only its owner can open, within this block.

    Raises OSError if the socket is not to be had.
    """
    server = aio.server(options=_OPTIONS)
    server.add_generic_rpc_handlers((_Handler(hub),))
    _bind(server, socket)
    await server.start()
    try:
        yield
    finally:
        await server.stop(_GRACE_SECONDS)


def _bind(server: aio.Server, socket: Path) -> None:
    socket.unlink(missing_ok=True)
    before = os.umask(0o177)
    try:
        server.add_insecure_port(f"unix:{socket}")
    except RuntimeError as error:
        raise OSError(f"{socket}: {error}") from error
    finally:
        os.umask(before)


class _Handler(grpc.GenericRpcHandler):
    """Serves one method, with responses that are bytes already."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._streams: Counter[str] = Counter()
        """By node id."""

    def service(self, call: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[Any, Any] | None":
        if call.method != f"/{_SERVICE}/DeltaAggregatedResources":
            return None
        return grpc.stream_stream_rpc_method_handler(
            self._stream, discovery_pb2.DeltaDiscoveryRequest.FromString, None
        )

    async def _stream(self, requests: AsyncIterator[Any], context: Context) -> None:
        try:
            async with asyncio.timeout(FIRST_REQUEST_SECONDS):
                first = await anext(requests, None)
        except TimeoutError:
            await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "the stream did not say whose it is")
            return
        if first is None:
            return
        try:
            proxy = proxy_of(first.node)
        except MalformedProxy as error:
            _log.warning("a proxy is refused: %s", error)
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
            return
        if self._streams[proxy.node_id] >= STREAMS_OF_PROXY:
            message = f"node {proxy.node_id!r} has {STREAMS_OF_PROXY} streams already"
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, message)
            return
        self._streams[proxy.node_id] += 1
        try:
            await _converse(self._hub, proxy, first, requests, context)
        finally:
            self._streams[proxy.node_id] -= 1
            if not self._streams[proxy.node_id]:
                del self._streams[proxy.node_id]


async def _converse(
    hub: Hub,
    proxy: Proxy,
    first: discovery_pb2.DeltaDiscoveryRequest,
    requests: AsyncIterator[Any],
    context: Context,
) -> None:
    # It never holds more than one response of a type: sessions wait for the proxy's answer.
    outbox: asyncio.Queue[Response] = asyncio.Queue()
    connection = hub.connect(proxy, outbox.put_nowait)
    try:
        async with asyncio.TaskGroup() as group:
            writer = group.create_task(_write(outbox, context), name=f"ads {proxy.node_id}")
            hub.receive(connection, decode(first))
            async for message in requests:
                if message.node.id not in ("", proxy.node_id):
                    # Who it is was said, and its configuration is that one's.
                    reason = f"node {proxy.node_id!r} cannot become {message.node.id!r}"
                    await context.abort(grpc.StatusCode.INVALID_ARGUMENT, reason)
                hub.receive(connection, decode(message))
            writer.cancel()
    finally:
        hub.disconnect(connection)


async def _write(outbox: asyncio.Queue[Response], context: Context) -> None:
    while True:
        await context.write(encode(await outbox.get()))
