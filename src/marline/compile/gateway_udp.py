"""A gateway's listeners for datagrams: Envoy's UDP proxy.

Envoy, "UDP proxy": datagrams from one address and port are a session, which stays at one endpoint until it
has been idle for a minute; a matcher chooses the cluster of a new session.
"""

from typing import Any, Final

from envoy.config.core.v3 import address_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.extensions.filters.udp.udp_proxy.v3 import route_pb2, udp_proxy_pb2
from envoy.extensions.matching.common_inputs.network.v3 import network_inputs_pb2
from xds.type.matcher.v3 import matcher_pb2

from marline.compile.endpoints import socket_address
from marline.compile.routes_l4 import WeightedTarget

UDP_PROXY: Final = "envoy.filters.udp_listener.udp_proxy"
_SHARES: Final = 100
"""Of sessions: as many as two digits tell apart."""


def build_udp_listener(
    name: str,
    address: str,
    port: int,
    clusters: tuple[WeightedTarget, ...],
    also: str = "",
    by_source: bool = False,
) -> listener_pb2.Listener:
    """An Envoy `Listener` for datagrams. `by_source`: endpoints are chosen by the address of the client."""
    listener = listener_pb2.Listener(name=name, traffic_direction="OUTBOUND")
    listener.address.CopyFrom(_datagrams(address, port))
    if also:
        listener.additional_addresses.add().address.CopyFrom(_datagrams(also, port))
    listener.udp_listener_config.SetInParent()
    proxy = udp_proxy_pb2.UdpProxyConfig(stat_prefix=clusters[0].cluster if len(clusters) == 1 else name)
    proxy.matcher.CopyFrom(_matcher(clusters))
    if by_source:
        proxy.hash_policies.add(source_ip=True)
    listener.listener_filters.add(name=UDP_PROXY).typed_config.Pack(proxy)
    return listener


def _datagrams(address: str, port: int) -> Any:
    made = socket_address(address, port)
    made.socket_address.protocol = address_pb2.SocketAddress.UDP
    return made


def _matcher(clusters: tuple[WeightedTarget, ...]) -> matcher_pb2.Matcher:
    """A matcher has no weights, so a session's share follows from its source port, whose last digits are
    as good as random: clients have their ports from the kernel, which takes any that is free."""
    made = matcher_pb2.Matcher()
    made.on_no_match.CopyFrom(_to(clusters[-1].cluster))
    first = 0
    for target, count in zip(clusters[:-1], shares(clusters), strict=False):
        matching = made.matcher_list.matchers.add()
        single = matching.predicate.single_predicate
        single.input.name = "source_port"
        single.input.typed_config.Pack(network_inputs_pb2.SourcePortInput())
        # Some APIs of Envoy still demand the engine, of which there is but one.
        single.value_match.safe_regex.google_re2.SetInParent()
        single.value_match.safe_regex.regex = _ending(first, count)
        matching.on_match.CopyFrom(_to(target.cluster))
        first += count
    return made


def _ending(first: int, count: int) -> str:
    """A pattern of the port numbers whose last two digits are in a range."""
    return rf"\d*({'|'.join(f'{number:02d}' for number in range(first, first + count))})"


def shares(clusters: tuple[WeightedTarget, ...]) -> tuple[int, ...]:
    """Hundredths in proportion to weights, at least one each, at the cost of the largest; what rounding
    leaves over goes to those that lack most."""
    total = sum(target.weight for target in clusters)
    exact = [target.weight * _SHARES / total for target in clusters]
    found = [max(1, int(share)) for share in exact]
    while sum(found) < _SHARES:
        lacking = max(range(len(found)), key=lambda index: exact[index] - found[index])
        found[lacking] += 1
    while sum(found) > _SHARES:
        richest = max((index for index in range(len(found)) if found[index] > 1), key=found.__getitem__)
        found[richest] -= 1
    return tuple(found)


def _to(cluster: str) -> Any:
    made = matcher_pb2.Matcher.OnMatch()
    made.action.name = "route"
    made.action.typed_config.Pack(route_pb2.Route(cluster=cluster))
    return made
