"""The gRPC shell around the hub: who may open its socket, and what its streams carry."""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from envoy.config.cluster.v3 import cluster_pb2
from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf import json_format
from grpc import aio
from proxies import Witness, sidecar

from marline.compile.passthrough import BLACK_HOLE, PASSTHROUGH
from marline.compile.resource import CLUSTER
from marline.mesh.model import ChangeSet, MeshSettings
from marline.mesh.proxy import to_metadata
from marline.xds.hub import Hub
from marline.xds.server import STREAMS_OF_PROXY, serve_ads

METHOD = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"


@asynccontextmanager
async def served() -> AsyncIterator[tuple[Hub, Path]]:
    hub = Hub(MeshSettings(), Witness())
    await hub.apply(ChangeSet((), (), "1"))
    with tempfile.TemporaryDirectory(prefix="mrl-") as directory:
        socket = Path(directory) / "xds.sock"
        async with serve_ads(hub, socket):
            yield hub, socket


@asynccontextmanager
async def stream(socket: Path, method: str = METHOD) -> AsyncIterator[Any]:
    async with aio.insecure_channel(f"unix:{socket}") as channel:
        call = channel.stream_stream(
            method,
            discovery_pb2.DeltaDiscoveryRequest.SerializeToString,
            discovery_pb2.DeltaDiscoveryResponse.FromString,
        )()
        yield call
        call.cancel()


def request(**fields: Any) -> discovery_pb2.DeltaDiscoveryRequest:
    return discovery_pb2.DeltaDiscoveryRequest(type_url=CLUSTER, **fields)


def introduction() -> discovery_pb2.DeltaDiscoveryRequest:
    proxy = sidecar("a")
    made = request()
    made.node.id = proxy.node_id
    json_format.ParseDict(to_metadata(proxy), made.node.metadata)
    return made


async def test_a_proxy_that_introduces_itself_is_sent_its_clusters_and_waits_for_no_more() -> None:
    async with served() as (hub, socket), stream(socket) as call:
        await call.write(introduction())
        response = await call.read()
        clusters = {item.name: cluster_pb2.Cluster() for item in response.resources}
        assert {PASSTHROUGH, BLACK_HOLE} <= clusters.keys()
        for item in response.resources:
            assert item.resource.Unpack(clusters[item.name])
            assert clusters[item.name].name == item.name
        await call.write(request(response_nonce=response.nonce))
        async with asyncio.timeout(10):
            await hub.settled(1)
        (proxy,) = hub.statuses().proxies
        assert (proxy.node_id, proxy.types[0].acknowledged) == ("a", len(clusters))


async def test_a_node_that_describes_no_proxy_is_refused_with_what_is_wrong() -> None:
    async with served() as (hub, socket), stream(socket) as call:
        await call.write(request(node={"id": "stranger"}))
        with pytest.raises(aio.AioRpcError, match="node 'stranger' has no MARLINE metadata") as refused:
            await call.read()
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert hub.connections == []


async def test_a_proxy_cannot_become_another_on_its_stream() -> None:
    async with served() as (_, socket), stream(socket) as call:
        await call.write(introduction())
        await call.read()
        await call.write(request(node={"id": "b"}))
        with pytest.raises(aio.AioRpcError, match="node 'a' cannot become 'b'"):
            while await call.read() is not aio.EOF:
                pass


async def test_a_proxy_has_a_few_streams_and_no_more() -> None:
    async with served() as (hub, socket), contextlib.AsyncExitStack() as stack:
        for _ in range(STREAMS_OF_PROXY):
            call = await stack.enter_async_context(stream(socket))
            await call.write(introduction())
            await call.read()
        surplus = await stack.enter_async_context(stream(socket))
        await surplus.write(introduction())
        with pytest.raises(aio.AioRpcError) as refused:
            await surplus.read()
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert len(hub.connections) == STREAMS_OF_PROXY


async def test_a_stream_that_says_nothing_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("marline.xds.server.FIRST_REQUEST_SECONDS", 0.05)
    async with served() as (_, socket), stream(socket) as call:
        with pytest.raises(aio.AioRpcError) as refused:
            await call.read()
        assert refused.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_hostile_requests_end_their_own_stream_and_no_other() -> None:
    """Bytes of any kind: the stream fails, or nothing comes of it; the next proxy is served."""
    async with served() as (_, socket):
        async with aio.insecure_channel(f"unix:{socket}") as channel:
            for size in range(0, 400, 7):
                data = bytes((size * 31 + index * 17) % 256 for index in range(size))
                call = channel.stream_stream(METHOD, None, None)()
                with contextlib.suppress(aio.AioRpcError, asyncio.InvalidStateError):
                    await call.write(data)
                    await call.done_writing()
                    while await call.read() is not aio.EOF:
                        pass
        async with stream(socket) as call:
            await call.write(introduction())
            assert (await call.read()).resources


async def test_nothing_but_delta_ads_is_served() -> None:
    method = METHOD.replace("DeltaAggregatedResources", "StreamAggregatedResources")
    async with served() as (_, socket), stream(socket, method) as call:
        with pytest.raises(aio.AioRpcError) as refused:  # at once, maybe before anything is written
            await call.write(introduction())
            await call.read()
        assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_a_proxy_that_leaves_is_forgotten() -> None:
    async with served() as (hub, socket):
        async with stream(socket) as call:
            await call.write(introduction())
            await call.read()
            assert len(hub.connections) == 1
        witness = hub.observer
        assert isinstance(witness, Witness)
        async with asyncio.timeout(10):
            await witness.left.wait()
        assert hub.connections == []


async def test_only_its_owner_may_open_the_socket_and_an_old_one_is_replaced() -> None:
    async with served() as (_, socket):
        assert socket.stat().st_mode & 0o777 == 0o600
        old = socket.parent / "old.sock"
        old.write_text("left behind")
        async with serve_ads(Hub(MeshSettings(), Witness()), old):
            assert old.is_socket()


async def test_a_socket_that_cannot_be_made_is_an_error_that_names_it() -> None:
    with pytest.raises(OSError, match=r"/nowhere/xds\.sock"):
        async with serve_ads(Hub(MeshSettings(), Witness()), Path("/nowhere/xds.sock")):
            pass
