"""What a gateway serves, whichever API said it: the values that listeners and route tables are made of."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from marline.api.resource import Ref
from marline.compile.gateway_api_rules import RouteSet
from marline.compile.gateway_tls import Termination
from marline.compile.rate_limits import RateLimiter
from marline.compile.routes_active import RuleSet
from marline.compile.routes_l4 import L4Route
from marline.mesh.gateways import FIRST_UNPRIVILEGED, UNPRIVILEGED_OFFSET, unprivileged_port
from marline.mesh.model import Proxy
from marline.mesh.snapshot import MeshSnapshot


class Kind(Enum):
    """What happens to a server's connections."""

    HTTP = "HTTP"
    HTTPS = "HTTPS"
    """TLS is terminated, requests are routed."""
    TLS = "TLS"
    """TLS is terminated, bytes are forwarded."""
    PASSTHROUGH = "PASSTHROUGH"
    """TLS is left alone, connections are routed by SNI."""
    AUTO_PASSTHROUGH = "AUTO_PASSTHROUGH"
    """As that, to the service of the mesh that the SNI names."""
    TCP = "TCP"
    UDP = "UDP"
    """Datagrams are forwarded."""


@dataclass(frozen=True, slots=True)
class HostTable:
    """What is routed for one host of a route table."""

    host: str
    rule_sets: tuple[RuleSet, ...] = ()
    """VirtualServices, oldest first."""
    route_sets: tuple[RouteSet, ...] = ()
    """HTTPRoutes, oldest first."""
    require_tls: bool = False
    """Requests without TLS are redirected to `https` (Istio: `httpsRedirect`)."""


class HostRoutes(Protocol):
    """What a server routes, host by host, so that one host costs no more than what is routed for it."""

    @property
    def names(self) -> tuple[str, ...]:
        """The hosts (also wildcards) that the server is for."""

    def tables(self, snapshot: MeshSnapshot, proxy: Proxy, host: str) -> Iterable[HostTable]:
        """What there is for exactly this host, which may be a wildcard; the oldest first."""

    def limiters(self, snapshot: MeshSnapshot, proxy: Proxy) -> Iterable[RateLimiter]:
        """The rate limits that may count for any of its hosts."""


@dataclass(frozen=True, slots=True)
class Server:
    """One `servers[]` entry of an Istio Gateway, or one listener of a Gateway API Gateway."""

    kind: Kind
    number: int
    """The port that users speak of."""
    source: Ref
    name: str = ""
    sni_hosts: tuple[str, ...] = ()
    """Empty: any, also none."""
    table: str = ""
    """The name of the route table; HTTP servers of one port share theirs."""
    routes: HostRoutes | None = None
    """Of HTTP and HTTPS."""
    misdirected: tuple[str, ...] = ()
    """Hosts of other listeners, for which clients are to make another connection."""
    termination: Termination | None = None
    """None where TLS is to be terminated: there is no usable certificate, connections are closed."""
    l4: tuple[L4Route, ...] = ()
    bind: str = ""
    """An address or Unix socket of its own; "": where the gateway listens."""
    stat_prefix: str = ""
    """What its statistics begin with; "": a name of the listener or the cluster."""
    grpc_web: bool = False
    """gRPC-Web is translated for it (Istio: protocol `GRPC-WEB`)."""
    faults: tuple[str, ...] = ()
    """What it refers to and cannot be had, in sentences."""


def listen_port(proxy: Proxy, number: int) -> int:
    """Where a gateway's proxy listens for a port: as it was told, else at that port, or 8000 above it
    when it may not bind privileged ports (80 → 8080, 443 → 8443)."""
    for mapping in proxy.gateway_ports:
        if mapping.number == number:
            return mapping.listen
    return number if proxy.privileged_ports else unprivileged_port(number)


def meant_by(proxy: Proxy, listening: int) -> tuple[int, ...]:
    """The ports of which a gateway's listener takes the connections: `listen_port`, the other way round."""
    found = tuple(mapping.number for mapping in proxy.gateway_ports if mapping.listen == listening)
    number = listening - UNPRIVILEGED_OFFSET
    if not found and 0 < number < FIRST_UNPRIVILEGED and not proxy.privileged_ports:
        return (number, listening)
    return found or (listening,)


def merge_hosts(tables: Iterable[HostTable]) -> tuple[HostTable, ...]:
    """One table for each host, in the order in which hosts were first named."""
    merged: dict[str, HostTable] = {}
    for table in tables:
        known = merged.get(table.host)
        if known is None:
            merged[table.host] = table
            continue
        merged[table.host] = HostTable(
            table.host,
            (*known.rule_sets, *(item for item in table.rule_sets if item not in known.rule_sets)),
            (*known.route_sets, *(item for item in table.route_sets if item not in known.route_sets)),
            known.require_tls or table.require_tls,
        )
    return tuple(merged.values())
