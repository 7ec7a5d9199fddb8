"""Which hosts a route has at a listener: intersections of names, some of them with a wildcard.

For Istio's `hosts` (istio.io, Gateway reference, `Server.hosts`) and the Gateway API's `hostnames`
(gateway-api.sigs.k8s.io, `HTTPRouteSpec.hostnames`) alike: the more specific of two names that
overlap is what they have in common.
"""

from typing import Final

from marline.mesh.hosts import host_matches

ANY: Final = "*"


def common_host(one: str, other: str) -> str | None:
    """The hosts that two names both stand for, as one name; None when there are none.

    `*` stands for every host, `*.example.com` for every host below `example.com`.
    """
    one, other = one.lower(), other.lower()
    if host_matches(one, other):
        return other
    if host_matches(other, one):
        return one
    return None


def split_server_host(host: str) -> tuple[str, str]:
    """Istio's `<namespace>/<host>`: the namespace (`*` when none is written) and the host."""
    namespace, slash, name = host.partition("/")
    return (namespace, name) if slash else (ANY, host)


def namespace_allows(selector: str, gateway_namespace: str, namespace: str) -> bool:
    """May a VirtualService of a namespace bind to a server's host? `.` is the Gateway's own."""
    if selector == ANY:
        return True
    return namespace == (gateway_namespace if selector == "." else selector)
