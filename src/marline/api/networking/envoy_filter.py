"""EnvoyFilter: changes to the Envoy configuration that Marline makes (istio.io, "Envoy Filter" reference)."""

from typing import Annotated, Any, Final, Literal

from msgspec import Meta

from marline.api.faults import Faults
from marline.api.model import Model, NetworkingSelector, PolicyTargetReference
from marline.api.refusals import Refusals
from marline.api.resource import Resource

PortNumber = Annotated[int, Meta(ge=0, le=65535)]
ApplyTo = Literal[
    "LISTENER", "FILTER_CHAIN", "NETWORK_FILTER", "HTTP_FILTER", "LISTENER_FILTER", "ROUTE_CONFIGURATION",
    "VIRTUAL_HOST", "HTTP_ROUTE", "CLUSTER", "EXTENSION_CONFIG", "BOOTSTRAP",
]  # fmt: skip
Operation = Literal[
    "MERGE", "MERGE_AND_REPLACE_LIST", "ADD", "REMOVE", "INSERT_BEFORE", "INSERT_AFTER", "INSERT_FIRST",
    "REPLACE",
]  # fmt: skip


class ProxyMatch(Model, frozen=True):
    """Both against what a proxy's node metadata says (`mesh/proxy`)."""

    proxy_version: str = ""
    metadata: dict[str, str] = {}


class SubFilterMatch(Model, frozen=True):
    name: str = ""


class FilterMatch(Model, frozen=True):
    name: str = ""
    sub_filter: SubFilterMatch | None = None


class FilterChainMatch(Model, frozen=True):
    name: str = ""
    sni: str = ""
    transport_protocol: str = ""
    application_protocols: str = ""
    """Separated by commas; a chain's condition must name all of them."""
    filter: FilterMatch | None = None
    destination_port: PortNumber = 0


class ListenerMatch(Model, frozen=True):
    port_number: PortNumber = 0
    port_name: str = ""
    filter_chain: FilterChainMatch | None = None
    listener_filter: str = ""
    name: str = ""


class RouteMatch(Model, frozen=True):
    name: str = ""
    action: Literal["ANY", "ROUTE", "REDIRECT", "DIRECT_RESPONSE"] = "ANY"


class VirtualHostMatch(Model, frozen=True):
    name: str = ""
    """`host:port`, as Istio names them."""
    route: RouteMatch | None = None
    domain_name: str = ""


class RouteConfigurationMatch(Model, frozen=True):
    port_number: PortNumber = 0
    port_name: str = ""
    gateway: str = ""
    vhost: VirtualHostMatch | None = None
    name: str = ""


class ClusterMatch(Model, frozen=True):
    port_number: PortNumber = 0
    service: str = ""
    subset: str = ""
    name: str = ""


class EnvoyConfigObjectMatch(Model, frozen=True):
    context: Literal["ANY", "SIDECAR_INBOUND", "SIDECAR_OUTBOUND", "GATEWAY", "WAYPOINT"] = "ANY"
    proxy: ProxyMatch | None = None
    listener: ListenerMatch | None = None
    route_configuration: RouteConfigurationMatch | None = None
    cluster: ClusterMatch | None = None


class Patch(Model, frozen=True):
    operation: Operation
    value: dict[str, Any] = {}
    """Envoy's own JSON form of what `applyTo` names."""
    filter_class: Literal["UNSPECIFIED", "AUTHN", "AUTHZ", "STATS"] = "UNSPECIFIED"


class EnvoyConfigObjectPatch(Model, frozen=True):
    apply_to: ApplyTo
    patch: Patch
    match: EnvoyConfigObjectMatch = EnvoyConfigObjectMatch()


class EnvoyFilterSpec(Model, frozen=True):
    config_patches: tuple[EnvoyConfigObjectPatch, ...] = ()
    workload_selector: NetworkingSelector | None = None
    target_refs: tuple[PolicyTargetReference, ...] = ()
    priority: Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)] = 0


REFUSED: Final[Refusals] = {
    "configPatches[].match.context=WAYPOINT": "there are no waypoints",
    "configPatches[].match.listener.portName": "Istio documents it as not implemented; use portNumber",
    "targetRefs[].namespace": "a target is in the namespace of its EnvoyFilter",
}


def validate(resource: Resource[EnvoyFilterSpec], faults: Faults) -> None:
    """Istio's rules for an EnvoyFilter, and what Envoy's types say of the values."""
    # Envoy's message types take long to import, and few resources need them.
    from marline.api.networking.envoy_filter_rules import check

    check(resource.spec, faults)
