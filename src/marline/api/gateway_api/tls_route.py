"""TLSRoute: where TLS connections go, by the name that the client asks for (gateway-api.sigs.k8s.io, v1)."""

from typing import Final, Literal

from marline.api.errors import Fault
from marline.api.faults import Faults
from marline.api.gateway_api import route_rules
from marline.api.gateway_api.shared import BackendRef, ParentReference
from marline.api.model import Model
from marline.api.resource import Resource


class TLSRouteRule(Model, frozen=True):
    backend_refs: tuple[BackendRef, ...]
    name: str | None = None


class TLSRouteSpec(Model, frozen=True):
    hostnames: tuple[str, ...]
    rules: tuple[TLSRouteRule, ...]
    parent_refs: tuple[ParentReference, ...] = ()
    use_default_gateways: Literal["All", "None"] | None = None


_MAX_HOSTNAMES: Final = 1024


def validate(resource: Resource[TLSRouteSpec], faults: Faults) -> None:
    """The schema's and the CEL rules of TLSRoute's CRD."""
    spec = resource.spec
    route_rules.parents(spec.parent_refs, faults.at("parentRefs"))
    where = faults.at("hostnames")
    if not spec.hostnames:
        where.add("is required: at least one", Fault.REQUIRED)
    route_rules.limited(spec.hostnames, _MAX_HOSTNAMES, where)
    for index, name in enumerate(spec.hostnames):
        route_rules.hostname(name, where.item(index))
    route_rules.only_rule(spec.rules, faults.at("rules"))
