"""TCPRoute: where connections on the listener's port go (gateway-api.sigs.k8s.io, v1)."""

from typing import Literal

from marline.api.faults import Faults
from marline.api.gateway_api import route_rules
from marline.api.gateway_api.shared import BackendRef, ParentReference
from marline.api.model import Model
from marline.api.resource import Resource


class TCPRouteRule(Model, frozen=True):
    backend_refs: tuple[BackendRef, ...]
    name: str | None = None


class TCPRouteSpec(Model, frozen=True):
    rules: tuple[TCPRouteRule, ...]
    parent_refs: tuple[ParentReference, ...] = ()
    use_default_gateways: Literal["All", "None"] | None = None


def validate(resource: Resource[TCPRouteSpec], faults: Faults) -> None:
    """The schema's and the CEL rules of TCPRoute's CRD."""
    route_rules.parents(resource.spec.parent_refs, faults.at("parentRefs"))
    route_rules.only_rule(resource.spec.rules, faults.at("rules"))
