"""Which filter chain of a listener takes a connection.

Envoy documentation, "config.listener.v3.FilterChainMatch": criterion after criterion, in a fixed order, the
chains with the most specific match remain; there is no way back to those that were left before.
"""

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as hcm_pb,
)
from envoy.extensions.filters.network.tcp_proxy.v3 import tcp_proxy_pb2
from envoy.extensions.transport_sockets.tls.v3 import tls_pb2

from marline.compile.filters import HCM, TCP_PROXY
from marline.compile.forward_proxy import SNI_FILTER as SNI_FORWARD_PROXY
from marline.compile.gateway_listener import SNI_CLUSTER
from marline.compile.tls import SVID_SECRET
from marline.explain.request import CannotTell, only, without

_KNOWN: Final = frozenset({HCM, TCP_PROXY, SNI_CLUSTER, SNI_FORWARD_PROXY})
_DECIDING: Final = frozenset(
    {
        "envoy.extensions.filters.http.rbac.v3.RBAC",
        "envoy.extensions.filters.http.ext_authz.v3.ExtAuthz",
        "envoy.extensions.filters.network.rbac.v3.RBAC",
        "envoy.extensions.filters.network.ext_authz.v3.ExtAuthz",
    }
)
_PLAIN, _TLS = "raw_buffer", "tls"
_MATCH: Final = (
    "destination_port", "prefix_ranges", "server_names", "transport_protocol", "application_protocols",
    "source_prefix_ranges",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Connection:
    """What a listener can know of a connection."""

    address: str
    """The destination's."""
    port: int
    tls: bool = False
    server_name: str = ""
    protocols: tuple[str, ...] = ()
    """What TLS offers by ALPN, or what the first bytes of plain text show (`http/1.1`, `h2c`)."""
    source: str = ""
    """The address of the client; "": unknown."""


def chain_for(listener: Any, connection: Connection) -> Any | None:
    """The chain, the default chain if none fits, None if there is none either: then it is closed.

    Raises `CannotTell`.
    """
    without(listener, ("filter_chain_matcher", "fcds_config"), f"the listener {listener.name}")
    remaining = list(listener.filter_chains)
    for chain in remaining:
        only(chain.filter_chain_match, _MATCH, f"the chain {chain.name} of the listener {listener.name}")
    for criterion in _criteria(listener, connection):
        ranked = [(criterion(chain.filter_chain_match), chain) for chain in remaining]
        fitting = [rank for rank, _ in ranked if rank is not None]
        if not fitting:
            return listener.default_filter_chain if listener.HasField("default_filter_chain") else None
        remaining = [chain for rank, chain in ranked if rank == max(fitting)]
    return remaining[0]


Criterion = Callable[[Any], int | None]
"""How specific a chain's match is; None: it does not fit."""


def _criteria(listener: Any, connection: Connection) -> tuple[Criterion, ...]:
    reads_tls = connection.tls and _inspects(listener, "tls_inspector", connection.port)
    reads_http = not connection.tls and _inspects(listener, "http_inspector", connection.port)
    name = connection.server_name.lower() if reads_tls else ""
    protocols = connection.protocols if reads_tls or reads_http else ()
    transport = _TLS if reads_tls else _PLAIN
    return (
        lambda match: _exact(match.destination_port.value, connection.port),
        lambda match: _longest(match.prefix_ranges, connection.address),
        lambda match: _server_name(match.server_names, name),
        lambda match: _exact(match.transport_protocol, transport),
        lambda match: _any_of(match.application_protocols, protocols),
        lambda match: _longest(match.source_prefix_ranges, connection.source),
    )


def _exact(wanted: object, given: object) -> int | None:
    if not wanted:
        return 0
    return 1 if wanted == given else None


def _any_of(wanted: Any, given: tuple[str, ...]) -> int | None:
    if not wanted:
        return 0
    return 1 if set(wanted) & set(given) else None


def _longest(ranges: Any, address: str) -> int | None:
    if not ranges:
        return 0
    if not address:
        raise CannotTell("chains are chosen by an address that is not known")
    given = ipaddress.ip_address(address)
    networks = (ipaddress.ip_network(f"{item.address_prefix}/{item.prefix_len.value}") for item in ranges)
    lengths = [network.prefixlen + 1 for network in networks if given in network]
    return max(lengths, default=None)


def _server_name(wanted: Any, given: str) -> int | None:
    """An exact name is more specific than `*.suffix`, a longer suffix than a shorter one."""
    if not wanted:
        return 0
    ranks = []
    for name in wanted:
        if name == given:
            ranks.append(1_000)
        elif name.startswith("*.") and given.endswith(name[1:]):
            ranks.append(len(name))
    return max(ranks, default=None)


def _inspects(listener: Any, kind: str, port: int) -> bool:
    """Does the listener look at the first bytes of connections to a port?"""
    for item in listener.listener_filters:
        if item.name == f"envoy.filters.listener.{kind}":
            return not (item.HasField("filter_disabled") and _holds(item.filter_disabled, port))
    return False


def _holds(predicate: Any, port: int) -> bool:
    kind = predicate.WhichOneof("rule")
    if kind == "destination_port_range":
        return bool(predicate.destination_port_range.start <= port < predicate.destination_port_range.end)
    if kind == "not_match":
        return not _holds(predicate.not_match, port)
    if kind == "or_match":
        return any(_holds(item, port) for item in predicate.or_match.rules)
    if kind == "any_match":
        return True
    raise CannotTell(f"a listener filter's condition {kind} cannot be evaluated")


def terminates_tls(chain: Any) -> bool:
    return bool(chain.transport_socket.name == "envoy.transport_sockets.tls")


def manager_of(chain: Any) -> Any | None:
    """The HTTP connection manager of a chain; None if it does not speak HTTP."""
    return _config(chain, HCM, hcm_pb.HttpConnectionManager)


def tcp_proxy_of(chain: Any) -> Any | None:
    """The TCP proxy of a chain; None if it speaks HTTP."""
    return _config(chain, TCP_PROXY, tcp_proxy_pb2.TcpProxy)


def _config(chain: Any, name: str, kind: Callable[[], Any]) -> Any | None:
    for item in chain.filters:
        if item.name == name:
            made = kind()
            return made if item.typed_config.Unpack(made) else None
    return None


def by_server_name(chain: Any) -> bool:
    """Is the server name of a connection the cluster that it goes to (Gateway: AUTO_PASSTHROUGH)?"""
    return any(item.name == SNI_CLUSTER for item in chain.filters)


def strange_filters(chain: Any) -> list[str]:
    """The network filters of a chain that are not evaluated."""
    return [item.name for item in chain.filters if item.name not in _KNOWN and not decides_access(item)]


def decides_access(item: Any) -> bool:
    """Is a filter, of requests or of connections, one of those that `authorization` evaluates?"""
    return item.typed_config.type_url.rpartition("/")[2] in _DECIDING


@dataclass(frozen=True, slots=True)
class ServerSide:
    """How a chain ends TLS."""

    demands_client: bool
    own_identity: bool
    """With the workload's SVID; else with a certificate that a user has given."""


def server_side(chain: Any) -> ServerSide:
    """Raises `CannotTell`."""
    context = tls_pb2.DownstreamTlsContext()
    if not chain.transport_socket.typed_config.Unpack(context):
        raise CannotTell("the TLS settings of a filter chain are of an unknown form")
    names = [item.name for item in context.common_tls_context.tls_certificate_sds_secret_configs]
    return ServerSide(context.require_client_certificate.value, names == [SVID_SECRET])
