"""Rules that a proxy never gets: conditions on the workload, the gateway or the port are decided when
compiling, so Envoy's route table does not show them."""

from collections.abc import Iterator
from typing import Any

from marline.api.networking.virtual_service import HTTPMatchRequest, VirtualServiceSpec
from marline.api.resource import Resource
from marline.compile.routes_active import MESH
from marline.explain.origin import Place, route_place
from marline.explain.routing import Decision
from marline.explain.steps import Detail
from marline.mesh.gateway_names import qualified_gateways
from marline.mesh.model import Proxy, Role
from marline.mesh.snapshot import MeshSnapshot


def left_out(snapshot: MeshSnapshot, proxy: Proxy, decision: Decision) -> list[Detail]:
    """The matches before the route that was taken (all, if none was) that are not for this proxy."""
    routes = list(decision.host.routes)
    places = [place for route in routes if (place := route_place(route)) is not None]
    present = {(place.resource, place.field) for place in places}
    found: list[Detail] = []
    for ref in dict.fromkeys(place.resource for place in places):
        resource = snapshot.resource(ref)
        if resource is None or not isinstance(resource.spec, VirtualServiceSpec):
            continue
        for field, match in _matches(resource):
            if decision.place is not None and (ref, field) == (decision.place.resource, decision.place.field):
                break
            why = _why(match, resource, proxy)
            if (ref, field) not in present and why:
                found.append(Detail(why, Place.at(ref, field)))
    return found


def _matches(resource: Resource[Any]) -> Iterator[tuple[str, HTTPMatchRequest]]:
    for index, rule in enumerate(resource.spec.http):
        if not rule.match:
            yield f"spec.http[{index}]", HTTPMatchRequest()
        for number, match in enumerate(rule.match):
            yield f"spec.http[{index}].match[{number}]", match


def _why(match: HTTPMatchRequest, resource: Resource[Any], proxy: Proxy) -> str:
    """Which condition on the proxy does not hold; "" if it is none of these."""
    gateways = qualified_gateways(match.gateways, resource.namespace)
    if gateways and proxy.role is not Role.GATEWAY and MESH not in gateways:
        return f"it is for gateways ({', '.join(sorted(gateways))}), not for sidecars"
    workload = proxy.workloads[0]
    labels = dict(workload.labels)
    for name, value in match.source_labels.items() if not gateways else ():
        if labels.get(name) != value:
            return f"the label {name} is {labels.get(name, 'not there')!r}, wanted {value!r} (sourceLabels)"
    if not gateways and match.source_namespace and match.source_namespace != workload.namespace:
        return f"the namespace is {workload.namespace}, wanted {match.source_namespace} (sourceNamespace)"
    if match.port:
        return f"it is for port {match.port}"
    return ""
