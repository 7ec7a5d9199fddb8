"""Which Gateways of the Gateway API are Marline's, and which proxy serves one.

A Gateway is served by the proxies that an application file describes for it: those that carry its name in a
label, or else the default ingress gateways. One for which there is none gets a proxy of its own from the node
agent, as a Gateway of Istio does (istio.io, "Kubernetes Gateway API", "Automated Deployment").
"""

from collections.abc import Mapping
from typing import Final

from marline.api.gateway_api.gateway import GatewaySpec
from marline.api.gateway_api.shared import GROUP
from marline.api.resource import Ref, Resource
from marline.mesh.model import Proxy
from marline.mesh.selection import Selection
from marline.mesh.snapshot import MeshSnapshot

CLASSES: Final = ("marline", "istio")
"""The names of Gateway classes that need no GatewayClass resource."""
CONTROLLERS: Final = ("marline.dev/gateway-controller", "istio.io/gateway-controller")


def is_managed(snapshot: MeshSnapshot, gateway: Resource[GatewaySpec]) -> bool:
    """Is a Gateway of one of Marline's classes? A GatewayClass of that name decides, when there is one."""
    name = gateway.spec.gateway_class_name
    declared = snapshot.resource(Ref(GROUP, "GatewayClass", "", name))
    if declared is not None:
        return declared.spec.controller_name in CONTROLLERS
    return name in CLASSES


def serves(proxy: Proxy, gateway: Resource[GatewaySpec]) -> bool:
    """Is a proxy one for this Gateway?"""
    workload = proxy.workloads[0]
    return is_for(dict(workload.labels), workload.namespace, gateway)


def is_for(labels: Mapping[str, str], namespace: str, gateway: Resource[GatewaySpec]) -> bool:
    """Is a proxy with these labels, in this namespace, one for the Gateway?"""
    return Selection(gateway.namespace, gateways=(gateway.name,)).selects(namespace, labels)
