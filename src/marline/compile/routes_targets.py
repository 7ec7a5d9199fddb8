"""Where a rule's destinations lead: cluster names, default ports, consistent-hash policies."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from envoy.config.route.v3 import route_components_pb2 as route_pb
from google.protobuf import duration_pb2

from marline.api.networking.destination_rule import ConsistentHash
from marline.api.networking.virtual_service import Destination, HTTPRetry
from marline.api.policy.resilience import Hedging


class Target(NamedTuple):
    """What a `Destination` means for one proxy and one listener port: a cluster, its affinity, and
    when a request to it is sent again."""

    cluster: str
    hash: ConsistentHash | None = None
    resolves: bool = False
    """It is the host that a request names, still to be resolved."""
    hedging: Hedging | None = None
    retries: HTTPRetry | None = None
    """Those of a route that says nothing of them; None: Istio's."""


@dataclass(frozen=True, slots=True)
class Targets:
    """The targets of all destinations that a set of rules names; a hashable lookup table."""

    entries: tuple[tuple[Destination, Target], ...] = ()

    def __iter__(self) -> Iterator[Target]:
        return (target for _, target in self.entries)

    def __getitem__(self, destination: Destination) -> Target:
        for key, target in self.entries:
            if key == destination:
                return target
        raise KeyError(destination)


def outbound_cluster(host: str, port: int, subset: str = "") -> str:
    """The name of the cluster for a subset of a service's port, as in Istio: `outbound|9080|v1|host`."""
    return f"outbound|{port}|{subset}|{host}"


def datagram_cluster(host: str, port: int) -> str:
    """The name of the cluster for a service's UDP port, which may have the number of a TCP port."""
    return f"udp|{port}||{host}"


def default_port(ports: tuple[int, ...], listener_port: int) -> int:
    """The port of a destination that names none: the service's only port, else the one the request
    was sent to (istio.io, VirtualService reference, `Destination.port`)."""
    return ports[0] if len(ports) == 1 else listener_port


def hash_policies(hashes: Iterable[ConsistentHash | None]) -> list[Any]:
    """Envoy `RouteAction.HashPolicy`s: Envoy knows them for each route, Istio for each destination."""
    found: list[Any] = []
    for policy in hashes:
        made = None if policy is None else _hash_policy(policy)
        if made is not None and made not in found:
            found.append(made)
    return found


def _hash_policy(policy: ConsistentHash) -> Any:
    kind = route_pb.RouteAction.HashPolicy
    if policy.http_header_name is not None:
        return kind(header=kind.Header(header_name=policy.http_header_name))
    if policy.http_cookie is not None:
        cookie = kind.Cookie(name=policy.http_cookie.name, path=policy.http_cookie.path)
        if policy.http_cookie.ttl is not None:
            cookie.ttl.CopyFrom(duration(policy.http_cookie.ttl))
        for attribute in policy.http_cookie.attributes:
            cookie.attributes.add(name=attribute.name, value=attribute.value)
        return kind(cookie=cookie)
    if policy.use_source_ip:
        return kind(connection_properties=kind.ConnectionProperties(source_ip=True))
    if policy.http_query_parameter_name is not None:
        return kind(query_parameter=kind.QueryParameter(name=policy.http_query_parameter_name))
    return None


def duration(seconds: float) -> duration_pb2.Duration:
    """Seconds as protobuf's Duration, to the nanosecond."""
    whole = int(seconds)
    return duration_pb2.Duration(seconds=whole, nanos=round((seconds - whole) * 1e9))
