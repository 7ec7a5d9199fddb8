"""Which Gateways of the Gateway API are Marline's, and which proxy serves one.

A Gateway is served by the proxies that an application file describes for it: those that carry its name in a
label, or else the default ingress gateways. One for which there is none gets a proxy of its own from the node
agent, as a Gateway of Istio does (istio.io, "Kubernetes Gateway API", "Automated Deployment").
"""

from collections.abc import Iterator, Mapping
from typing import Final

from marline.api.gateway_api.gateway import GatewaySpec
from marline.api.gateway_api.shared import GROUP
from marline.api.resource import Ref, Resource
from marline.mesh.model import Proxy
from marline.mesh.selection import Selection
from marline.mesh.snapshot import MeshSnapshot
from marline.mesh.visibility import age

CLASSES: Final = ("marline", "istio")
"""The names of Gateway classes that need no GatewayClass resource."""
CONTROLLERS: Final = ("marline.io/gateway-controller", "istio.io/gateway-controller")
UNPRIVILEGED_OFFSET: Final = 8000
"""Where a gateway that may not bind port 80 or 443 listens instead: 8080, 8443."""
FIRST_UNPRIVILEGED: Final = 1024
_IP_ADDRESS: Final = "IPAddress"


def unprivileged_port(number: int) -> int:
    """Where a proxy listens for a port, if it may not bind privileged ones."""
    return number + UNPRIVILEGED_OFFSET if number < FIRST_UNPRIVILEGED else number


def is_managed(snapshot: MeshSnapshot, gateway: Resource[GatewaySpec]) -> bool:
    """Is a Gateway of one of Marline's classes? A GatewayClass of that name decides, when there is one: one
    with parameters, of which there are none, is not accepted, and its Gateways are left alone."""
    name = gateway.spec.gateway_class_name
    declared = snapshot.resource(Ref(GROUP, "GatewayClass", "", name))
    if declared is not None:
        return declared.spec.controller_name in CONTROLLERS and declared.spec.parameters_ref is None
    return name in CLASSES


def serves(proxy: Proxy, gateway: Resource[GatewaySpec]) -> bool:
    """Is a proxy one for this Gateway?"""
    workload = proxy.workloads[0]
    return is_for(dict(workload.labels), workload.namespace, gateway)


def is_for(labels: Mapping[str, str], namespace: str, gateway: Resource[GatewaySpec]) -> bool:
    """Is a proxy with these labels, in this namespace, one for the Gateway?"""
    return Selection(gateway.namespace, gateways=(gateway.name,)).selects(namespace, labels)


def serves_address(proxy: Proxy, gateway: Resource[GatewaySpec]) -> bool:
    """Has a proxy one of the addresses that a Gateway asks for, if it asks for any?"""
    wanted = {item.value for item in gateway.spec.addresses if item.type == _IP_ADDRESS and item.value}
    return not wanted or proxy.bind_address in wanted


def serving(snapshot: MeshSnapshot, proxy: Proxy) -> Iterator[Resource[GatewaySpec]]:
    """The Gateways that a proxy serves, the oldest first."""
    for gateway in sorted(snapshot.resources(GROUP, "Gateway"), key=age):
        ours = is_managed(snapshot, gateway) and is_accepted(gateway)
        if ours and serves(proxy, gateway) and serves_address(proxy, gateway):
            yield gateway


def is_accepted(gateway: Resource[GatewaySpec]) -> bool:
    """Can a Gateway be served at all? Not with an address of a type that is not known, and not with
    parameters, of which there are none."""
    infrastructure = gateway.spec.infrastructure
    return all(item.type == _IP_ADDRESS for item in gateway.spec.addresses) and (
        infrastructure is None or infrastructure.parameters_ref is None
    )
