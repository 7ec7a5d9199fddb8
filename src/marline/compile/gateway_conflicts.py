"""Which servers can share a port, and what the others lose: who was there first keeps what it has.

Istio merges the Gateways of a workload in this way (its documentation, "Gateway" and "Common problems:
Traffic management"), without saying what lost; here that goes into the status of its Gateway.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from marline.compile.gateway_server import Kind, Server

_ANY_NAME = ""
"""A connection with any server name, or none."""
_INDIVISIBLE: Final = (Kind.TCP, Kind.UDP)
"""Nothing tells the traffic of one server from that of another."""


@dataclass(frozen=True, slots=True)
class Conflict:
    """What a server does not get."""

    server: Server
    reason: str
    """`PortConflict` or `HostConflict`, as in a condition."""
    message: str


def sort_out(servers: Iterable[Server]) -> tuple[tuple[Server, ...], tuple[Conflict, ...]]:
    """The servers of one port that are served, those of the oldest resource first, and what is not: a port
    is all of plain HTTP, or all of TLS, or one server's TCP, and a server name is one server's. Datagrams are
    one server's; their port is another one than that of connections."""
    served: list[Server] = []
    conflicts: list[Conflict] = []
    names: dict[str, Server] = {}
    for server in servers:
        if served and (_layer(server) != _layer(served[0]) or server.kind in _INDIVISIBLE):
            message = f"port {server.number} is {_layer(served[0])} of {_owner(served[0])}"
            conflicts.append(Conflict(server, "PortConflict", message))
            continue
        served.append(server)
        conflicts.extend(_name_conflicts(server, names))
    return tuple(served), tuple(conflicts)


def _layer(server: Server) -> str:
    return server.kind.value if server.kind in (Kind.HTTP, *_INDIVISIBLE) else "TLS"


def _name_conflicts(server: Server, names: dict[str, Server]) -> Iterator[Conflict]:
    lost: dict[str, list[str]] = {}
    for name in _server_names(server):
        holder = names.setdefault(name, server)
        if holder is not server:
            lost.setdefault(_owner(holder), []).append(name or "*")
    for owner, hosts in lost.items():
        message = f"port {server.number}: {', '.join(hosts)} belongs to {owner}"
        yield Conflict(server, "HostConflict", message)


def _server_names(server: Server) -> Iterable[str]:
    """What connections are told apart by."""
    if server.kind is Kind.HTTP or server.kind in _INDIVISIBLE:
        return ()
    if server.kind is Kind.PASSTHROUGH:
        return {name: None for route in server.l4 for name in route.sni_hosts or (_ANY_NAME,)}
    return server.sni_hosts or (_ANY_NAME,)


def _owner(server: Server) -> str:
    return f"{server.source.kind} {server.source.namespace}/{server.source.name} (server {server.name!r})"
