"""Is a patch for this part of the configuration? Istio's conditions, on Envoy's messages.

Istio's names hold here too where something is called differently: an explicit listener `explicit_<port>` is
also the `0.0.0.0_<port>` of the service port that it stands for, and an inbound one `virtualInbound`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from marline.api.networking.envoy_filter import FilterChainMatch, FilterMatch, RouteMatch
from marline.mesh.patches import Patch

INBOUND, OUTBOUND, GATEWAY = "SIDECAR_INBOUND", "SIDECAR_OUTBOUND", "GATEWAY"
VIRTUAL: Final = ("virtualInbound", "virtualOutbound")
_FORMER_NAMES: Final = {
    "envoy.http_connection_manager": "envoy.filters.network.http_connection_manager",
    "envoy.tcp_proxy": "envoy.filters.network.tcp_proxy",
    "envoy.router": "envoy.filters.http.router",
    "envoy.cors": "envoy.filters.http.cors",
    "envoy.fault": "envoy.filters.http.fault",
    "envoy.listener.tls_inspector": "envoy.filters.listener.tls_inspector",
    "envoy.listener.http_inspector": "envoy.filters.listener.http_inspector",
    "envoy.listener.original_dst": "envoy.filters.listener.original_dst",
    "InboundPassthroughClusterIpv4": "InboundPassthroughCluster",
}
"""How filters were called before Envoy 1.14, and a cluster before Istio 1.24; people still write that."""
_ACTIONS: Final = {"ROUTE": "route", "REDIRECT": "redirect", "DIRECT_RESPONSE": "direct_response"}


@dataclass(frozen=True, slots=True)
class Site:
    """Where in a proxy's configuration something stands."""

    context: str
    ports: tuple[tuple[int, int], ...] = ()
    """Listening ports, and the service's or the gateway's ports that they stand for."""

    def has(self, patch: Patch) -> bool:
        if patch.traffic:
            return any(context == self.context for context, _ in patch.traffic)
        return patch.context in ("ANY", self.context)

    def ports_for(self, listening: int) -> frozenset[int]:
        """The port as it is and as users speak of it."""
        return frozenset({listening, *(meant for port, meant in self.ports if port == listening)})


def listener_matches(patch: Patch, listener: Any, site: Site) -> bool:
    match = patch.listener
    if match is None:
        return True
    ports = site.ports_for(listener.address.socket_address.port_value)
    if match.name and match.name not in listener_names(listener.name, ports, site):
        return False
    if not match.port_number or match.port_number in ports:
        return True
    # The port is one of the filter chains'.
    return patch.apply_to != "LISTENER" and (listener.name in VIRTUAL or site.context == INBOUND)


def listener_names(name: str, ports: Iterable[int], site: Site) -> set[str]:
    if site.context == INBOUND:
        return {name, name.partition("|")[0], VIRTUAL[0]}
    return {name, *(f"0.0.0.0_{port}" for port in ports if site.ports)}


def chain_matches(patch: Patch, listener: Any, chain: Any, site: Site) -> bool:
    match = patch.listener
    if patch.traffic:
        return _carries(patch, listener, chain, site)
    if match is None:
        return True
    if match.port_number and not _chain_has_port(match.port_number, listener, chain, site):
        return False
    return match.filter_chain is None or _fits(match.filter_chain, chain)


def _carries(patch: Patch, listener: Any, chain: Any, site: Site) -> bool:
    """Is a chain's traffic some of a plugin's?"""
    listening = listener.address.socket_address.port_value
    ports = chain_ports(chain) if site.context == INBOUND else site.ports_for(listening)
    return any(context == site.context and port in (0, *ports) for context, port in patch.traffic)


def _chain_has_port(port: int, listener: Any, chain: Any, site: Site) -> bool:
    if listener.name not in VIRTUAL and site.context != INBOUND:
        return True  # the listener has it
    return port in chain_ports(chain)


def chain_ports(chain: Any) -> frozenset[int]:
    """The ports that an inbound chain is for: the destination's, and the application's, by which the chain
    is named (`inbound|<port>|…`)."""
    found = {chain.filter_chain_match.destination_port.value}
    direction, _, rest = chain.name.partition("|")
    if direction == "inbound":
        found.add(int(rest.partition("|")[0]))
    return frozenset(found - {0})


def _fits(match: FilterChainMatch, chain: Any) -> bool:
    has = chain.filter_chain_match
    protocols = [item.strip() for item in match.application_protocols.split(",") if item.strip()]
    return (
        match.name in ("", chain.name)
        and (not match.sni or match.sni in has.server_names)
        and match.transport_protocol in ("", has.transport_protocol)
        and all(item in has.application_protocols for item in protocols)
        and match.destination_port in (0, has.destination_port.value)
    )


def network_filter_match(patch: Patch) -> FilterMatch | None:
    chain = patch.listener.filter_chain if patch.listener is not None else None
    return chain.filter if chain is not None else None


def http_filter_name(patch: Patch) -> str:
    match = network_filter_match(patch)
    return match.sub_filter.name if match is not None and match.sub_filter is not None else ""


def is_called(item: Any, name: str) -> bool:
    """Has a filter this name, perhaps in its form of old?"""
    return bool(item.name == _FORMER_NAMES.get(name, name))


def table_matches(patch: Patch, name: str, host: str, site: Site) -> bool:
    """Is a patch for this route configuration? `host`: the virtual host that is asked about, `<host>:<port>`,
    which says the port where one table is for all."""
    match = patch.routes
    if match is None:
        return True
    names, ports = {name}, table_ports(name, host, site)
    if site.context == OUTBOUND:
        names |= {str(port) for port in ports}
    elif site.context == GATEWAY and name.startswith("http."):
        names |= {f"http.{port}" for port in ports}
    if match.name and match.name not in names:
        return False
    if match.port_number and match.port_number not in ports:
        return False
    if not (match.port_name or match.gateway):
        return True
    # `https.<port>.<port name>.<gateway>.<namespace>`; a table for plain HTTP is for all gateways.
    parts = name.rsplit(".", 2)
    port_name = parts[0].split(".", 2)[2:] if name.startswith("https.") else []
    gateway = f"{parts[-1]}/{parts[-2]}" if port_name else ""
    return match.port_name in ("", *port_name) and match.gateway in ("", gateway)


def table_ports(name: str, host: str, site: Site) -> frozenset[int]:
    if name.startswith("inbound|"):
        return frozenset({int(name.split("|")[1])})
    if site.context == GATEWAY:
        number = name.split(".")[1:2]
        return _both(int(number[0]), site) if number and number[0].isdigit() else frozenset()
    listening = name.removeprefix("explicit_")
    if listening.isdigit():
        return site.ports_for(int(listening))
    port = host.rpartition(":")[2]
    return frozenset({int(port)}) if port.isdigit() else frozenset()


def _both(number: int, site: Site) -> frozenset[int]:
    """A gateway's port in either of its numbers."""
    return frozenset({number, *(port for port, meant in site.ports if meant == number)})


def host_matches(patch: Patch, table: str, name: str, domains: Iterable[str], site: Site) -> bool:
    """Is a patch for this virtual host, called `name` within its table?"""
    match = patch.routes.vhost if patch.routes is not None else None
    if match is None:
        return True
    ports = table_ports(table, name, site)
    names = {name}
    if site.context == GATEWAY:
        names |= {f"{name}:{port}" for port in ports}
    elif site.context == INBOUND:
        names |= {f"inbound|http|{port}" for port in ports}
    if match.name and match.name not in names:
        return False
    return not match.domain_name or match.domain_name in domains


def route_match(patch: Patch) -> RouteMatch | None:
    host = patch.routes.vhost if patch.routes is not None else None
    return host.route if host is not None else None


def route_matches(match: RouteMatch, route: Any) -> bool:
    action = _ACTIONS.get(match.action, "")
    return match.name in ("", route.name) and action in ("", route.WhichOneof("action"))


def cluster_matches(patch: Patch, name: str, service: str) -> bool:
    """`service`: the host of an inbound cluster, whose name does not say it."""
    match = patch.cluster
    if match is None:
        return True
    if match.name:
        return _FORMER_NAMES.get(match.name, match.name) == name
    direction, _, rest = name.partition("|")
    port, _, rest = rest.partition("|")
    subset, _, host = rest.partition("|")
    return (
        match.port_number in (0, int(port) if port.isdigit() else -1)
        and match.subset in ("", subset if direction == "outbound" else "")
        and match.service in ("", host if direction == "outbound" else service)
    )
