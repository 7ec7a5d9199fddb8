"""`marline proxy-config listener`: where a proxy listens, and where each kind of connection goes."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from marline.cli.envoy_dump import Object, address_of
from marline.cli.output import Column

_HTTP: Final = "http_connection_manager"
_TCP: Final = "tcp_proxy"


@dataclass(frozen=True, slots=True)
class ListenerRow:
    """One filter chain of a listener."""

    name: str
    address: str
    port: str
    direction: str
    match: str
    destination: str
    source: Object

    def fits(self, address: str, port: int | None, direction: str) -> bool:
        """Is it what the filters of the command ask for?"""
        return (
            (not address or self.address == address)
            and (port is None or self.port == str(port))
            and (not direction or self.direction == direction)
        )


def listener_rows(listeners: Iterable[Object]) -> Iterator[ListenerRow]:
    """A row for each filter chain, by port."""
    for listener in sorted(listeners, key=_place):
        address, _, port = address_of(listener.get("address", {})).rpartition(":")
        chains = list(listener.get("filter_chains", ()))
        if "default_filter_chain" in listener:
            chains.append(listener["default_filter_chain"])
        for chain in chains or [{}]:
            datagrams = "udp_listener_config" in listener
            yield ListenerRow(
                name=str(listener.get("name", "")),
                address=address,
                port=port,
                direction=str(listener.get("traffic_direction", "-")).lower(),
                match="UDP" if datagrams else _match(chain),
                destination=_datagram_destination(listener) if datagrams else _destination(chain),
                source=listener,
            )


def _place(listener: Object) -> tuple[int, str]:
    socket = listener.get("address", {}).get("socket_address", {})
    return int(socket.get("port_value", 0)), str(listener.get("name", ""))


def _match(chain: Object) -> str:
    said = chain.get("filter_chain_match", {})
    parts = []
    if ports := said.get("destination_port"):
        parts.append(f"port {ports}")
    if ranges := said.get("prefix_ranges"):
        parts.append("to " + ",".join(_cidr(item) for item in ranges))
    if transport := said.get("transport_protocol"):
        parts.append(str(transport))
    if names := said.get("server_names"):
        parts.append("SNI " + ",".join(names))
    if protocols := said.get("application_protocols"):
        parts.append("ALPN " + ",".join(protocols))
    return "; ".join(parts) or "ALL"


def _cidr(item: Object) -> str:
    return f"{item.get('address_prefix', '')}/{item.get('prefix_len', 0)}"


def _destination(chain: Object) -> str:
    for item in chain.get("filters", ()):
        config: dict[str, Any] = item.get("typed_config", {})
        if str(item.get("name", "")).endswith(_HTTP):
            if "rds" in config:
                return f"Route: {config['rds'].get('route_config_name', '')}"
            return f"Inline Route: {config.get('route_config', {}).get('name', '') or _first_route(config)}"
        if str(item.get("name", "")).endswith(_TCP):
            return _tcp_destination(config)
    return "-"


def _first_route(config: Object) -> str:
    for host in config.get("route_config", {}).get("virtual_hosts", ()):
        for route in host.get("routes", ()):
            return str(route.get("route", {}).get("cluster", "-"))
    return "-"


def _tcp_destination(config: Object) -> str:
    weighted = config.get("weighted_clusters", {}).get("clusters", ())
    if weighted:
        return "Clusters: " + ", ".join(f"{item['name']} ({item.get('weight', 0)})" for item in weighted)
    return f"Cluster: {config.get('cluster', '-')}"


def _datagram_destination(listener: Object) -> str:
    """The clusters that the matcher of a UDP proxy chooses from."""
    found: list[str] = []
    for item in listener.get("listener_filters", ()):
        matcher: dict[str, Any] = item.get("typed_config", {}).get("matcher", {})
        chosen = [each.get("on_match", {}) for each in matcher.get("matcher_list", {}).get("matchers", ())]
        for action in (*chosen, matcher.get("on_no_match", {})):
            cluster = action.get("action", {}).get("typed_config", {}).get("cluster", "")
            found += [cluster] if cluster else []
    return f"Cluster{'s' if len(found) > 1 else ''}: {', '.join(found) or '-'}"


COLUMNS: Final = (
    Column[ListenerRow]("ADDRESS", lambda row: row.address),
    Column[ListenerRow]("PORT", lambda row: row.port, right=True),
    Column[ListenerRow]("DIRECTION", lambda row: row.direction),
    Column[ListenerRow]("MATCH", lambda row: row.match),
    Column[ListenerRow]("DESTINATION", lambda row: row.destination),
)
