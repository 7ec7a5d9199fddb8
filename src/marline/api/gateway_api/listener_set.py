"""ListenerSet: listeners that whoever may not change a Gateway adds to it (gateway-api.sigs.k8s.io, v1)."""

from marline.api import rules
from marline.api.faults import Faults
from marline.api.gateway_api.listener import Listener, validate_listeners
from marline.api.gateway_api.shared import ParentGatewayReference
from marline.api.model import Model
from marline.api.resource import Resource


class ListenerSetSpec(Model, frozen=True):
    parent_ref: ParentGatewayReference
    listeners: tuple[Listener, ...]


def validate(resource: Resource[ListenerSetSpec], faults: Faults) -> None:
    """The schema's and the CEL rules of ListenerSet's CRD. Whether the Gateway wants it, its status says."""
    parent, where = resource.spec.parent_ref, faults.at("parentRef")
    if where.required(parent.name, "name"):
        rules.dns_subdomain(parent.name, where.at("name"))
    if parent.namespace is not None:
        rules.dns_label(parent.namespace, where.at("namespace"))
    validate_listeners(resource.spec.listeners, faults.at("listeners"))
