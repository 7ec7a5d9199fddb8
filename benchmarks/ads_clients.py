"""Simulated proxies: delta-ADS clients that ask for what an Envoy would, in a process of their own.

Each has a gRPC channel of its own to the control plane's Unix socket and speaks as an Envoy does: all
clusters; then the endpoints of those that want EDS; then all listeners; then the route tables that these
name; then all virtual hosts. Every response is acknowledged as soon as it was read. Two things differ from
an Envoy, and make the clients cheap: what is received is not built into a working configuration, and
resources of which another client of the process has seen the same version are not decoded again.

It says "started" on standard output; then commands come as lines of JSON on standard input, and each is
answered by one. Times are of the monotonic clock, which all processes of a machine share
(clock_gettime(2)).

    {"do": "connect", "virtual_hosts": 1000}    answered when each client has so many, and all else
    {"do": "expect", "type": …, "name": …}      answered at once with "expecting", and again when each
                                                client has acknowledged a new version of that resource
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as hcm_pb2,
)
from envoy.service.discovery.v3 import discovery_pb2
from grpc import aio

from marline.compile.filters import HCM
from marline.compile.resource import CLUSTER, ENDPOINT, LISTENER, ROUTE, VIRTUAL_HOST
from marline.mesh.model import Capture, Proxy, Role, Workload
from marline.mesh.proxy import to_metadata

_METHOD = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
_OPTIONS = (("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1))
Request: TypeAlias = discovery_pb2.DeltaDiscoveryRequest


@dataclass(slots=True)
class Fleet:
    """What the clients of this process have in common."""

    virtual_hosts: int = 0
    """How many each is to have before it counts as in sync."""
    unsynced: set[int] = field(default_factory=set)
    expected: tuple[str, str] = ("", "")
    pending: set[int] = field(default_factory=set)
    """Who has not acknowledged what is expected."""
    received: int = 0
    """Bytes of all responses."""
    responses: int = 0
    first: float = 0.0
    _referred: dict[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)

    def referred(self, type_url: str, resource: discovery_pb2.Resource) -> tuple[str, ...]:
        """The names that a cluster or listener makes an Envoy ask for."""
        key = (resource.name, resource.version)
        found = self._referred.get(key)
        if found is None:
            read = _endpoints_of if type_url == CLUSTER else _tables_of
            found = self._referred[key] = tuple(read(resource.resource.value))
        return found


def _endpoints_of(wire: bytes) -> Iterable[str]:
    cluster = cluster_pb2.Cluster.FromString(wire)
    if cluster.type == cluster_pb2.Cluster.DiscoveryType.EDS:
        yield cluster.eds_cluster_config.service_name or cluster.name


def _tables_of(wire: bytes) -> Iterable[str]:
    listener = listener_pb2.Listener.FromString(wire)
    for chain in (*listener.filter_chains, listener.default_filter_chain):
        for item in chain.filters:
            if item.name == HCM:
                manager = hcm_pb2.HttpConnectionManager.FromString(item.typed_config.value)
                if manager.HasField("rds"):
                    yield manager.rds.route_config_name


class Client:
    """One proxy's stream."""

    def __init__(self, number: int, fleet: Fleet, tell: Callable[[dict[str, Any]], None]) -> None:
        self._number, self._fleet, self._tell = number, fleet, tell
        self._has: dict[str, set[str]] = {
            kind: set() for kind in (CLUSTER, ENDPOINT, LISTENER, ROUTE, VIRTUAL_HOST)
        }
        self._asked: dict[str, set[str]] = {ENDPOINT: set(), ROUTE: set()}
        self._started = {CLUSTER}

    async def run(self, socket: str) -> None:
        """Until the control plane ends the stream."""
        async with aio.insecure_channel(f"unix:{socket}", options=_OPTIONS) as channel:
            method: aio.StreamStreamMultiCallable[Request, bytes] = channel.stream_stream(
                _METHOD, request_serializer=Request.SerializeToString
            )
            call = method()
            await call.write(Request(type_url=CLUSTER, node=_node(self._number)))
            async for wire in call:
                response = discovery_pb2.DeltaDiscoveryResponse.FromString(wire)
                self._fleet.received += len(wire)
                self._fleet.responses += 1
                await call.write(Request(type_url=response.type_url, response_nonce=response.nonce))
                self._acknowledged(response)
                for request in self._follow(response):
                    await call.write(request)

    def _follow(self, response: discovery_pb2.DeltaDiscoveryResponse) -> Iterable[Request]:
        """What an Envoy asks for next."""
        kind = response.type_url
        held = self._has[kind]
        held.update(item.name for item in response.resources)
        held.difference_update(response.removed_resources)
        wanted = {CLUSTER: ENDPOINT, LISTENER: ROUTE}.get(kind)
        if wanted is not None:
            names = {name for item in response.resources for name in self._fleet.referred(kind, item)}
            new = sorted(names - self._asked[wanted])
            if new:
                self._asked[wanted].update(new)
                yield Request(type_url=wanted, resource_names_subscribe=new)
        following = {ENDPOINT: LISTENER, ROUTE: VIRTUAL_HOST}.get(kind)
        if following is not None and following not in self._started and held >= self._asked[kind]:
            self._started.add(following)
            yield Request(type_url=following)

    def _acknowledged(self, response: discovery_pb2.DeltaDiscoveryResponse) -> None:
        fleet, now = self._fleet, time.monotonic()
        if self._number in fleet.unsynced and response.type_url == VIRTUAL_HOST:
            have = {*self._has[VIRTUAL_HOST], *(item.name for item in response.resources)}
            if len(have) >= fleet.virtual_hosts:
                fleet.unsynced.discard(self._number)
                if not fleet.unsynced:
                    self._tell({"said": "synced", "at": now, "resources": self._counts(len(have))})
        kind, name = fleet.expected
        if self._number not in fleet.pending or response.type_url != kind:
            return
        if any(item.name == name for item in response.resources):
            fleet.first = fleet.first or now
            fleet.pending.discard(self._number)
            if not fleet.pending:
                self._tell({"said": "acknowledged", "at": now, "first": fleet.first})

    def _counts(self, virtual_hosts: int) -> dict[str, int]:
        counts = {kind.rpartition(".")[2]: len(held) for kind, held in self._has.items()}
        return counts | {"VirtualHost": virtual_hosts}


def _node(number: int) -> Any:
    name = f"client-{number}"
    workload = Workload("default", name, labels=(("app", "client"),), address="127.0.0.1")
    proxy = Proxy(f"sidecar~default~{name}~bench", Role.SIDECAR, Capture.TRANSPARENT, (workload,))
    first = Request()
    first.node.id = proxy.node_id
    first.node.metadata.update(to_metadata(proxy))
    return first.node


def _say(what: dict[str, Any]) -> None:
    print(json.dumps(what), flush=True)


async def serve(socket: str, count: int) -> None:
    """Follow the commands until standard input ends, or a stream does."""
    fleet = Fleet()

    def tell(what: dict[str, Any]) -> None:
        _say(what | {"bytes": fleet.received, "responses": fleet.responses})

    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    tell({"said": "started"})
    async with asyncio.TaskGroup() as group:
        streams: list[asyncio.Task[None]] = []
        while line := await reader.readline():
            command = json.loads(line)
            if command["do"] == "connect":
                fleet.virtual_hosts, fleet.unsynced = command["virtual_hosts"], set(range(count))
                clients = [Client(number, fleet, tell) for number in range(count)]
                streams = [group.create_task(client.run(socket)) for client in clients]
            else:
                fleet.expected, fleet.first = (command["type"], command["name"]), 0.0
                fleet.pending = set(range(count))
                tell({"said": "expecting", "at": time.monotonic()})
        for stream in streams:
            stream.cancel()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--socket", required=True)
    parser.add_argument("--count", type=int, default=100)
    options = parser.parse_args()
    asyncio.run(serve(options.socket, options.count))


if __name__ == "__main__":
    main()
