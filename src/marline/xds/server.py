"""The gRPC server of delta ADS: a short shell that drives a session for each stream."""

import asyncio
import logging
import os
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
_MAX_REQUEST_BYTES: Final = 64 * 1024 * 1024
"""A proxy that reconnects names all that it has: some 100 bytes for each resource."""
_OPTIONS: Final = (
    ("grpc.max_receive_message_length", _MAX_REQUEST_BYTES),
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

    def service(self, call: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[Any, Any] | None":
        if call.method != f"/{_SERVICE}/DeltaAggregatedResources":
            return None
        return grpc.stream_stream_rpc_method_handler(
            self._stream, discovery_pb2.DeltaDiscoveryRequest.FromString, None
        )

    async def _stream(self, requests: AsyncIterator[Any], context: Context) -> None:
        first = await anext(requests, None)
        if first is None:
            return
        try:
            proxy = proxy_of(first.node)
        except MalformedProxy as error:
            _log.warning("a proxy is refused: %s", error)
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
            return
        await _converse(self._hub, proxy, first, requests, context)


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
                hub.receive(connection, decode(message))
            writer.cancel()
    finally:
        hub.disconnect(connection)


async def _write(outbox: asyncio.Queue[Response], context: Context) -> None:
    while True:
        await context.write(encode(await outbox.get()))
