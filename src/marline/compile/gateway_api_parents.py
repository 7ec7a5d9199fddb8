"""What routes are attached to, found by its name: what a route is told costs what the route names."""

from typing import Any

from marline.api.gateway_api.gateway import GatewaySpec
from marline.api.gateway_api.shared import GROUP, ParentReference
from marline.api.resource import Ref, Resource
from marline.compile.gateway_api import served_gateway
from marline.compile.gateway_api_served import ServedGateway
from marline.mesh.gateway_reads import DEFAULT_ROUTES
from marline.mesh.gateway_routes import parent_gateway
from marline.mesh.gateways import is_managed
from marline.mesh.snapshot import MeshSnapshot
from marline.mesh.visibility import age


def served_by_name(snapshot: MeshSnapshot, gateway: Ref | None) -> ServedGateway | None:
    """A Gateway of one of Marline's classes."""
    found: Resource[GatewaySpec] | None = snapshot.resource(gateway) if gateway is not None else None
    return served_gateway(snapshot, found) if found is not None and is_managed(snapshot, found) else None


def parent_ref(parent: ParentReference, namespace: str) -> Ref:
    """What a route of a namespace names, be it there or not."""
    own = namespace if parent.namespace is None else parent.namespace
    return Ref(parent.group, parent.kind, own, parent.name)


def served_parent(
    snapshot: MeshSnapshot, parent: ParentReference, namespace: str
) -> tuple[ServedGateway, Resource[Any]] | None:
    """The Gateway that serves what a route of a namespace names, and that: the Gateway itself, or one of the
    ListenerSets that it allows."""
    ref = parent_ref(parent, namespace)
    owner: Resource[Any] | None = (
        snapshot.resource(ref) if parent.kind in ("Gateway", "ListenerSet") else None
    )
    if owner is None or ref.group != GROUP:
        return None
    served = served_by_name(snapshot, ref if parent.kind == "Gateway" else parent_gateway(owner))
    if served is None or (
        parent.kind == "ListenerSet" and all(bound.owner.ref != ref for bound in served.listeners)
    ):
        return None
    return served, owner


def default_gateways(snapshot: MeshSnapshot) -> list[Resource[GatewaySpec]]:
    """Those for routes that name none (GEP-3793), oldest first."""
    refs = snapshot.rules.gateway_reads.get(DEFAULT_ROUTES, ())
    found = (item for ref in refs if (item := snapshot.resource(ref)) is not None)
    return sorted((item for item in found if is_managed(snapshot, item)), key=age)
