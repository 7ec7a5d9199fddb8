"""What names in resources refer to."""

from collections.abc import Iterable, Iterator
from typing import Any, Final

from marline.api.faults import nearest
from marline.api.networking.destination_rule import DestinationRuleSpec
from marline.api.networking.gateway import GatewaySpec
from marline.api.networking.virtual_service import VirtualServiceSpec
from marline.api.resource import Ref, Resource
from marline.compile.gateway_hosts import common_host, namespace_allows, split_server_host
from marline.mesh.gateway_names import MESH_GATEWAY, gateway_name
from marline.mesh.hosts import host_matches, patterns_for, possible_hosts
from marline.mesh.model import Service
from marline.mesh.snapshot import MeshSnapshot

NETWORKING: Final = "networking.istio.io"


def virtual_services(snapshot: MeshSnapshot) -> list[Resource[VirtualServiceSpec]]:
    return sorted(snapshot.resources(NETWORKING, "VirtualService"), key=lambda item: item.ref)


def gateways(snapshot: MeshSnapshot) -> list[Resource[GatewaySpec]]:
    """Istio's."""
    return sorted(snapshot.resources(NETWORKING, "Gateway"), key=lambda item: item.ref)


def destination_rules(snapshot: MeshSnapshot) -> list[Resource[DestinationRuleSpec]]:
    return sorted(snapshot.resources(NETWORKING, "DestinationRule"), key=lambda item: item.ref)


def gateway_ref(name: str, namespace: str) -> Ref:
    """The Gateway that a VirtualService of a namespace names."""
    return Ref(NETWORKING, "Gateway", *gateway_name(name, namespace))


def bound_gateways(item: Resource[VirtualServiceSpec]) -> Iterator[tuple[int, Ref]]:
    """The index and the Gateway of each that a VirtualService is bound to, `mesh` left out."""
    for index, name in enumerate(item.spec.gateways):
        if name != MESH_GATEWAY:
            yield index, gateway_ref(name, item.namespace)


def is_for_mesh(item: Resource[VirtualServiceSpec]) -> bool:
    return not item.spec.gateways or MESH_GATEWAY in item.spec.gateways


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A suggestion, if one is obvious."""
    close = nearest(word, known)
    return f"Did you mean {close}?" if close and close != word else ""


def services_named(snapshot: MeshSnapshot, host: str, namespace: str) -> tuple[Service, ...]:
    """The services that a host in a rule of a namespace may mean, also one with a wildcard."""
    name = snapshot.resolve_host(host, namespace)
    for pattern in patterns_for(name):
        found = snapshot.registry.claims.get(pattern)
        if found:
            return tuple(found)
    return ()


def is_served(snapshot: MeshSnapshot, host: str, namespace: str) -> bool:
    """Is a host a service's, or a wildcard that covers one?"""
    if not host.startswith("*"):
        return bool(services_named(snapshot, host, namespace))
    return any(host_matches(host, name) for name in snapshot.registry.services)


def binds(snapshot: MeshSnapshot, item: Resource[Any], host: str, gateway: Resource[GatewaySpec]) -> bool:
    """Has a Gateway a server for a host of this resource (istio.io, "Gateway" reference, `Server.hosts`)?"""
    names = (host, *possible_hosts(host, item.namespace, snapshot.settings.cluster_domain))
    for each in (each for server in gateway.spec.servers for each in server.hosts):
        selector, pattern = split_server_host(each.lower())
        if not namespace_allows(selector, gateway.namespace, item.namespace):
            continue
        if any(common_host(pattern, name) for name in names):
            return True
    return False
