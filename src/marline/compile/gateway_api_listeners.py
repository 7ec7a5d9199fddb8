"""The listeners of a Gateway: its own and those of its ListenerSets, and which of them come too late.

Behaviour and reasons: gateway-api.sigs.k8s.io, `Listener`, `ListenerSet`, `AllowedListeners`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from marline.api.gateway_api.gateway import GatewaySpec
from marline.api.gateway_api.listener import Listener, ListenerNamespaces, RouteNamespaces
from marline.api.gateway_api.listener_set import ListenerSetSpec
from marline.api.gateway_api.shared import GROUP, LabelSelector
from marline.api.resource import Ref, Resource
from marline.compile.gateway_hosts import ANY
from marline.mesh.hosts import host_matches
from marline.mesh.snapshot import MeshSnapshot

HTTP_ROUTES: Final = ("HTTPRoute", "GRPCRoute")
_KINDS: Final[Mapping[str, tuple[str, ...]]] = {
    "HTTP": HTTP_ROUTES,
    "HTTPS": HTTP_ROUTES,
    "TLS": ("TLSRoute",),
    "TCP": ("TCPRoute",),
    "UDP": ("UDPRoute",),
}
"""The routes that a listener of a protocol can have."""
_SHARED_PORT: Final = {"HTTPS": "TLS", "TLS": "TLS"}
"""Protocols that are told apart by the name that a TLS client asks for, so that they can share a port."""

Namespaces = Mapping[str, Mapping[str, str]]
"""The labels of namespaces, by their names."""


@dataclass(frozen=True, slots=True)
class BoundListener:
    """A listener of a Gateway."""

    listener: Listener
    owner: Resource[Any]
    """Where it is written: in the Gateway, or in one of its ListenerSets."""
    conflict: str = ""
    """Why another has the same connections: a reason of the `Conflicted` condition."""

    @property
    def key(self) -> tuple[Ref, str]:
        return (self.owner.ref, self.listener.name)

    @property
    def hostname(self) -> str:
        return (self.listener.hostname or ANY).lower()

    @property
    def passes_through(self) -> bool:
        """Is TLS left alone?"""
        return self.listener.tls is not None and self.listener.tls.mode == "Passthrough"

    @property
    def unknown_option(self) -> str:
        """An option of its TLS settings; there is none that Marline knows."""
        options = self.listener.tls.options if self.listener.tls is not None else {}
        return next(iter(options), "")

    @property
    def is_served(self) -> bool:
        return bool(self.route_kinds) and not self.conflict and not self.unknown_option

    @property
    def route_kinds(self) -> tuple[str, ...]:
        return _KINDS.get(self.listener.protocol, ())

    @property
    def wanted_kinds(self) -> tuple[str, ...]:
        """The kinds of routes that it can have and allows."""
        allowed = self.listener.allowed_routes
        if allowed is None or not allowed.kinds:
            return self.route_kinds
        named = {item.kind for item in allowed.kinds if item.group == GROUP}
        return tuple(kind for kind in self.route_kinds if kind in named)

    def is_narrower(self, other: "BoundListener") -> bool:
        """Does it name fewer hosts than another one, all of which that one would have, too?"""
        return self.hostname != other.hostname and host_matches(other.hostname, self.hostname)


def gateway_listeners(
    gateway: Resource[GatewaySpec], sets: Iterable[Resource[ListenerSetSpec]]
) -> tuple[BoundListener, ...]:
    """The listeners of a Gateway and then those of its ListenerSets, in their order: the earlier ones keep
    what the later ones want, too."""
    found: list[BoundListener] = []
    protocols: dict[tuple[int, bool], str] = {}
    names: set[tuple[int, bool, str]] = set()
    owners: list[Resource[Any]] = [gateway, *sets]
    for owner in owners:
        for listener in owner.spec.listeners:
            place = (listener.port, listener.protocol == "UDP")
            protocol = _SHARED_PORT.get(listener.protocol, listener.protocol)
            name = (*place, (listener.hostname or ANY).lower())
            conflict = ""
            if protocols.setdefault(place, protocol) != protocol:
                conflict = "ProtocolConflict"
            elif name in names:
                conflict = "HostnameConflict"
            else:
                names.add(name)
            found.append(BoundListener(listener, owner, conflict))
    return tuple(found)


def attached_sets(
    snapshot: MeshSnapshot, gateway: Resource[GatewaySpec], namespaces: Namespaces
) -> list[Resource[ListenerSetSpec]]:
    """The ListenerSets that a Gateway wants, oldest first."""
    found = snapshot.rules.listener_sets.get(gateway.ref, ())
    return [item for item in found if allows_set(gateway, item.namespace, namespaces)]


def allows_set(gateway: Resource[GatewaySpec], namespace: str, namespaces: Namespaces) -> bool:
    """Unless it says otherwise, a Gateway has no ListenerSets."""
    allowed = gateway.spec.allowed_listeners
    if allowed is None or allowed.namespaces is None:
        return False
    return from_namespace(allowed.namespaces, gateway.namespace, namespace, namespaces)


def from_namespace(
    wanted: RouteNamespaces | ListenerNamespaces, own: str, namespace: str, namespaces: Namespaces
) -> bool:
    """May something of a namespace be attached to what is in the namespace `own`?"""
    if wanted.from_ == "Selector":
        return wanted.selector is not None and selects(wanted.selector, namespaces.get(namespace, {}))
    return wanted.from_ == "All" or (wanted.from_ == "Same" and namespace == own)


def selects(selector: LabelSelector, labels: Mapping[str, str]) -> bool:
    """Kubernetes' label selector semantics."""
    if any(labels.get(key) != value for key, value in selector.match_labels.items()):
        return False
    for item in selector.match_expressions:
        value = labels.get(item.key)
        holds = {
            "In": value is not None and value in item.values,
            "NotIn": value is None or value not in item.values,
            "Exists": value is not None,
            "DoesNotExist": value is None,
        }[item.operator]
        if not holds:
            return False
    return True


def overlapping(bound: BoundListener, listeners: Iterable[BoundListener]) -> list[BoundListener]:
    """The other listeners of the same port that terminate HTTPS: a client whose connection is for one of
    them may send requests for another over it, when its certificate is good for both."""
    if bound.listener.protocol != "HTTPS":
        return []
    return [
        other
        for other in listeners
        if other.key != bound.key
        and not other.conflict
        and (other.listener.protocol, other.listener.port) == ("HTTPS", bound.listener.port)
    ]
