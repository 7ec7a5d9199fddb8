"""Gateways without a proxy, routes that no proxy has, subsets that the edge does not know of."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from marline.analyze.findings import (
    NEGATIVE_CONDITION,
    NO_WORKLOADS,
    PORT_NOT_OPEN,
    SUBSET_AT_INGRESS,
    UNBOUND_ROUTE,
    Finding,
)
from marline.analyze.names import bound_gateways, gateways, virtual_services
from marline.api.registry import KINDS
from marline.api.resource import Ref, Resource
from marline.mesh.model import Proxy, Role
from marline.mesh.snapshot import MeshSnapshot

GATEWAY_API: Final = "gateway.networking.k8s.io"
_FAULTS: Final = ("Conflicted", "OverlappingTLSConfig", "PartiallyInvalid")
"""Types of conditions that say what is wrong, so that False is good."""
_ROUTES: Final = ("HTTPRoute", "GRPCRoute", "TLSRoute", "TCPRoute", "UDPRoute")


def unbound_routes(snapshot: MeshSnapshot) -> Iterator[Finding]:
    """Routes of the Gateway API whose parents are not there."""
    for kind in _ROUTES:
        for item in sorted(snapshot.resources(GATEWAY_API, kind), key=lambda each: each.ref):
            for index, parent in enumerate(item.spec.parent_refs):
                if parent.kind != "Gateway" or parent.group not in (GATEWAY_API, None):
                    continue
                ref = Ref(GATEWAY_API, "Gateway", parent.namespace or item.namespace, parent.name)
                if snapshot.resource(ref) is None:
                    path = f"spec.parentRefs[{index}].name"
                    yield Finding(UNBOUND_ROUTE, item.ref, path, f"there is no {ref}")


def gateways_without_proxy(snapshot: MeshSnapshot, proxies: tuple[Proxy, ...]) -> Iterator[Finding]:
    """Istio's Gateways that select no running gateway, and the VirtualServices that only they bind."""
    edges = [proxy for proxy in proxies if proxy.role is Role.GATEWAY]
    idle: set[Ref] = set()
    for item in gateways(snapshot):
        served = [proxy for proxy in edges if item.spec.selector.items() <= _labels(proxy).items()]
        if not served:
            idle.add(item.ref)
            labels = ",".join(f"{key}={value}" for key, value in sorted(item.spec.selector.items()))
            message = f"no running gateway has the labels {labels}"
            yield Finding(NO_WORKLOADS, item.ref, "spec.selector", message)
        for index, server in enumerate(item.spec.servers if served else ()):
            number = server.port.number
            if not any(number in {port.number for port in proxy.gateway_ports} for proxy in served):
                message = f"no gateway that it selects is reached at port {number}"
                yield Finding(PORT_NOT_OPEN, item.ref, f"spec.servers[{index}].port.number", message)
    for route in virtual_services(snapshot):
        bound = [ref for _, ref in bound_gateways(route)]
        if bound and len(bound) == len(route.spec.gateways) and idle.issuperset(bound):
            names = ", ".join(str(ref) for ref in bound)
            message = f"no running gateway is selected by {names}"
            yield Finding(UNBOUND_ROUTE, route.ref, "spec.gateways", message)


def _labels(proxy: Proxy) -> Mapping[str, str]:
    return dict(proxy.workloads[0].labels)


def subsets_that_the_edge_does_not_know(snapshot: MeshSnapshot) -> Iterator[Finding]:
    """A rule for sidecars with subsets, of a host to which a gateway's rules send without one."""
    edge: dict[str, Resource[Any]] = {}
    for item in virtual_services(snapshot):
        if any(bound_gateways(item)):
            for each in (each for rule in item.spec.http for each in rule.route):
                if not each.destination.subset:
                    edge.setdefault(snapshot.resolve_host(each.destination.host, item.namespace), item)
    for item in virtual_services(snapshot):
        if any(bound_gateways(item)):
            continue
        for index, rule in enumerate(item.spec.http):
            for number, each in enumerate(rule.route):
                host = snapshot.resolve_host(each.destination.host, item.namespace)
                if each.destination.subset and host in edge:
                    path = f"spec.http[{index}].route[{number}].destination.subset"
                    message = f"{edge[host].ref} sends to {host} from a gateway without this rule"
                    yield Finding(SUBSET_AT_INGRESS, item.ref, path, message)


def negative_conditions(snapshot: MeshSnapshot) -> Iterator[Finding]:
    """What controllers have written into statuses."""
    for kind in KINDS:
        if kind.kind == "WorkloadEntry":
            continue  # a workload that is not ready is no mistake in its resource
        for item in sorted(snapshot.resources(kind.group, kind.kind), key=lambda each: each.ref):
            for path, condition in _conditions(item.status, "status"):
                status = "True" if condition.get("type") in _FAULTS else "False"
                if condition.get("status") == status:
                    reason, said = condition.get("reason", ""), condition.get("message", "")
                    message = f"{condition.get('type')} is {status} ({reason}): {said}".rstrip(": ")
                    yield Finding(NEGATIVE_CONDITION, item.ref, path, message)


def _conditions(status: Any, path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if isinstance(status, Mapping):
        for name, value in status.items():
            if name == "conditions" and isinstance(value, (list, tuple)):
                for index, item in enumerate(value):
                    if isinstance(item, Mapping):
                        yield f"{path}.conditions[{index}]", item
            else:
                yield from _conditions(value, f"{path}.{name}")
    elif isinstance(status, (list, tuple)):
        for index, item in enumerate(status):
            yield from _conditions(item, f"{path}[{index}]")
