"""Which hosts a route has at a listener: intersections of names, some of them with a wildcard.

For Istio's `hosts` (istio.io, Gateway reference, `Server.hosts`) and the Gateway API's `hostnames`
(gateway-api.sigs.k8s.io, `HTTPRouteSpec.hostnames`) alike: the more specific of two names that
overlap is what they have in common.
"""

from typing import Final

ANY: Final = "*"


def common_host(one: str, other: str) -> str | None:
    """The hosts that two names both stand for, as one name; None when there are none.

    `*` stands for every host, `*.example.com` for every host below `example.com`.
    """
    one, other = one.lower(), other.lower()
    if covers(one, other):
        return other
    if covers(other, one):
        return one
    return None


def covers(wide: str, narrow: str) -> bool:
    """Does `wide` stand for everything that `narrow` stands for?"""
    if wide in (ANY, narrow):
        return True
    if not wide.startswith("*."):
        return False
    suffix = wide[1:]
    return narrow.endswith(suffix)


def split_server_host(host: str) -> tuple[str, str]:
    """Istio's `<namespace>/<host>`: the namespace (`*` when none is written) and the host."""
    namespace, slash, name = host.partition("/")
    return (namespace, name) if slash else (ANY, host)


def namespace_allows(selector: str, gateway_namespace: str, namespace: str) -> bool:
    """May a VirtualService of a namespace bind to a server's host? `.` is the Gateway's own."""
    if selector == ANY:
        return True
    return namespace == (gateway_namespace if selector == "." else selector)
