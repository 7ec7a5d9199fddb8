"""Every kind that Marline knows, in one table: names, versions, model, rules and refusals."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from marline.api import core, discovery, rbac, telemetry
from marline.api.extensions import wasm_plugin
from marline.api.faults import Faults
from marline.api.gateway_api import (
    backend_tls_policy,
    gateway_class,
    grpc_route,
    http_route,
    listener_set,
    reference_grant,
    tcp_route,
    tls_route,
    udp_route,
)
from marline.api.gateway_api import gateway as gateway_api_gateway
from marline.api.mesh_config import rules as mesh_config
from marline.api.networking import (
    destination_rule,
    destination_rule_rules,
    envoy_filter,
    gateway,
    proxy_config,
    service_entry,
    sidecar,
    virtual_service,
    virtual_service_rules,
    workload_entry,
    workload_group,
)
from marline.api.policy import rate_limit, resilience, revoked_identity
from marline.api.policy.targets import GROUP as POLICY
from marline.api.refusals import Refusals
from marline.api.resource import Resource
from marline.api.security import authorization_policy, peer_authentication, request_authentication

NETWORKING: Final = "networking.istio.io"
SECURITY: Final = "security.istio.io"
EXTENSIONS: Final = "extensions.istio.io"
TELEMETRY: Final = "telemetry.istio.io"
GATEWAY_API: Final = "gateway.networking.k8s.io"

Validate = Callable[[Resource[Any], Faults], None]


def _nothing_more(resource: Resource[Any], faults: Faults) -> None:
    """A kind whose model says all that there is to check."""


def _config_map(resource: Resource[Any], faults: Faults) -> None:
    core.validate_config_map(resource, faults)
    mesh_config.validate_mesh_config(resource, faults)


@dataclass(frozen=True, slots=True)
class Column:
    """A column of `kubectl get`: a field path, and whether only `-o wide` shows it."""

    name: str
    path: str
    wide: bool = False
    type: str = "string"


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of resource."""

    group: str
    kind: str
    plural: str
    versions: tuple[str, ...]
    """Served versions, the preferred one (in which it is stored) first; their schemas are equal."""
    spec: type[Any]
    short_names: tuple[str, ...] = ()
    namespaced: bool = True
    in_spec: bool = True
    """The model is under `spec`; otherwise it is the whole body (Secret, ConfigMap …)."""
    status: bool = True
    validate: Validate = _nothing_more
    refused: Refusals = field(default_factory=dict)
    ineffective: Refusals = field(default_factory=dict)
    """What is accepted and has no effect; whoever writes it is told so."""
    not_acted_on: str = ""
    """Not empty: the kind is modelled, and refused on apply with this reason."""
    remarks: Callable[[Mapping[str, Any]], tuple[str, ...]] = lambda obj: ()
    """What else of an object has no effect, in sentences."""
    columns: tuple[Column, ...] = ()
    categories: tuple[str, ...] = ()
    read_by_mesh: bool = True
    """Whether the mesh is made of it, too; Events and who may use the API are no part of it."""
    path_names: bool = False
    """Names are whatever fits into a path, such as `system:discovery`."""

    @property
    def singular(self) -> str:
        return self.kind.lower()

    @property
    def version(self) -> str:
        return self.versions[0]

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version


_ISTIO: Final = ("v1", "v1beta1", "v1alpha3")
_ALL: Final = ("istio-io", "networking-istio-io")
_SECURITY_ALL: Final = ("istio-io", "security-istio-io")
_POLICY_ALL: Final = ("marline-io", "policy-marline-io")
_ATTACHED: Final = (
    Column("Targets", "spec.targetRefs[*].name"),
    Column("Accepted", "status.ancestors[*].conditions[?(@.type=='Accepted')].status"),
)

_BOUND: Final = (
    Column("Role", "roleRef"), Column("Users", "subjects[?(@.kind=='User')].name", wide=True),
    Column("Groups", "subjects[?(@.kind=='Group')].name", wide=True),
    Column("ServiceAccounts", "subjects[?(@.kind=='ServiceAccount')].name", wide=True),
)  # fmt: skip

KINDS: Final[tuple[Kind, ...]] = (
    Kind("", "Namespace", "namespaces", ("v1",), core.NamespaceSpec, ("ns",), namespaced=False,
         columns=(Column("Status", "status.phase"),)),
    Kind("", "Service", "services", ("v1",), core.ServiceSpec, ("svc",),
         validate=core.validate_service, refused=core.REFUSED_SERVICE,
         ineffective=core.INEFFECTIVE_SERVICE, categories=("all",),
         columns=(
             Column("Type", "spec.type"), Column("Cluster-IP", "spec.clusterIP"),
             Column("External-IP", "spec.externalIPs"), Column("Port(s)", "spec.ports"),
             Column("Selector", "spec.selector", wide=True),
         )),
    Kind("", "Secret", "secrets", ("v1",), core.SecretBody, in_spec=False, status=False,
         validate=core.validate_secret,
         columns=(Column("Type", "type"), Column("Data", "data", type="integer"))),
    Kind("", "ConfigMap", "configmaps", ("v1",), core.ConfigMapBody, ("cm",), in_spec=False, status=False,
         validate=_config_map, remarks=mesh_config.mesh_config_remarks,
         columns=(Column("Data", "data", type="integer"),)),
    Kind("", "Event", "events", ("v1",), core.EventBody, ("ev",), in_spec=False, status=False,
         read_by_mesh=False,
         columns=(
             Column("Last Seen", "lastTimestamp", type="date"), Column("Type", "type"),
             Column("Reason", "reason"), Column("Object", "involvedObject"),
             Column("Message", "message"), Column("Count", "count", wide=True, type="integer"),
         )),
    Kind("discovery.k8s.io", "EndpointSlice", "endpointslices", ("v1",), discovery.EndpointSliceBody,
         in_spec=False, status=False, validate=discovery.validate,
         columns=(
             Column("AddressType", "addressType"), Column("Ports", "ports"),
             Column("Endpoints", "endpoints"),
         )),
    Kind(NETWORKING, "VirtualService", "virtualservices", _ISTIO, virtual_service.VirtualServiceSpec,
         ("vs",), validate=virtual_service_rules.validate, refused=virtual_service.REFUSED, categories=_ALL,
         columns=(Column("Gateways", "spec.gateways"), Column("Hosts", "spec.hosts"))),
    Kind(NETWORKING, "DestinationRule", "destinationrules", _ISTIO, destination_rule.DestinationRuleSpec,
         ("dr",), validate=destination_rule_rules.validate, refused=destination_rule.REFUSED, categories=_ALL,
         columns=(Column("Host", "spec.host"),)),
    Kind(NETWORKING, "Gateway", "gateways", _ISTIO, gateway.GatewaySpec, ("gw",),
         validate=gateway.validate, refused=gateway.REFUSED, categories=_ALL,
         columns=(Column("Selector", "spec.selector", wide=True),)),
    Kind(NETWORKING, "ServiceEntry", "serviceentries", _ISTIO, service_entry.ServiceEntrySpec, ("se",),
         validate=service_entry.validate, refused=service_entry.REFUSED, categories=_ALL,
         columns=(
             Column("Hosts", "spec.hosts"), Column("Location", "spec.location"),
             Column("Resolution", "spec.resolution"),
         )),
    Kind(NETWORKING, "WorkloadEntry", "workloadentries", _ISTIO, workload_entry.WorkloadEntrySpec, ("we",),
         validate=workload_entry.validate, refused=workload_entry.REFUSED, categories=_ALL,
         columns=(
             Column("Address", "spec.address"), Column("Service Account", "spec.serviceAccount", wide=True),
             Column("Healthy", "status.conditions[?(@.type=='Healthy')].status"),
         )),
    Kind(NETWORKING, "WorkloadGroup", "workloadgroups", _ISTIO, workload_group.WorkloadGroupSpec, ("wg",),
         validate=workload_group.validate, categories=_ALL,
         not_acted_on="workloads register themselves as WorkloadEntry; groups have no effect"),
    Kind(NETWORKING, "ProxyConfig", "proxyconfigs", ("v1beta1",), proxy_config.ProxyConfigSpec,
         validate=proxy_config.validate, refused=proxy_config.REFUSED, categories=_ALL),
    Kind(NETWORKING, "Sidecar", "sidecars", _ISTIO, sidecar.SidecarSpec,
         validate=sidecar.validate, refused=sidecar.REFUSED, categories=_ALL),
    Kind(NETWORKING, "EnvoyFilter", "envoyfilters", ("v1alpha3",), envoy_filter.EnvoyFilterSpec,
         validate=envoy_filter.validate, refused=envoy_filter.REFUSED, categories=_ALL,
         columns=(
             Column("Matched", "status.conditions[?(@.type=='Matched')].status"),
             Column("Priority", "spec.priority", wide=True, type="integer"),
         )),
    Kind(EXTENSIONS, "WasmPlugin", "wasmplugins", ("v1alpha1",), wasm_plugin.WasmPluginSpec,
         validate=wasm_plugin.validate, refused=wasm_plugin.REFUSED,
         categories=("istio-io", "extensions-istio-io"),
         columns=(
             Column("Matched", "status.conditions[?(@.type=='Matched')].status"),
             Column("Phase", "spec.phase"), Column("URL", "spec.url", wide=True),
         )),
    Kind(SECURITY, "PeerAuthentication", "peerauthentications", ("v1", "v1beta1"),
         peer_authentication.PeerAuthenticationSpec, ("pa",), validate=peer_authentication.validate,
         categories=_SECURITY_ALL, columns=(Column("Mode", "spec.mtls.mode"),)),
    Kind(SECURITY, "RequestAuthentication", "requestauthentications", ("v1", "v1beta1"),
         request_authentication.RequestAuthenticationSpec, ("ra",),
         validate=request_authentication.validate, refused=request_authentication.REFUSED,
         categories=_SECURITY_ALL,
         columns=(
             Column("Issuers", "spec.jwtRules[*].issuer"),
             Column("Keys", "status.conditions[?(@.type=='KeysFetched')].status"),
         )),
    Kind(SECURITY, "AuthorizationPolicy", "authorizationpolicies", ("v1", "v1beta1"),
         authorization_policy.AuthorizationPolicySpec, ("ap",),
         validate=authorization_policy.validate, refused=authorization_policy.REFUSED,
         categories=_SECURITY_ALL, columns=(Column("Action", "spec.action"),)),
    Kind(TELEMETRY, "Telemetry", "telemetries", ("v1", "v1alpha1"), telemetry.TelemetrySpec,
         ("telemetry",), validate=telemetry.validate, categories=("istio-io", "telemetry-istio-io"),
         not_acted_on="every proxy reports the same metrics; they cannot be configured"),
    Kind(GATEWAY_API, "GatewayClass", "gatewayclasses", ("v1", "v1beta1"), gateway_class.GatewayClassSpec,
         ("gc",), namespaced=False, categories=("gateway-api",),
         validate=gateway_class.validate,
         columns=(
             Column("Controller", "spec.controllerName"),
             Column("Accepted", "status.conditions[?(@.type=='Accepted')].status"),
             Column("Description", "spec.description", wide=True),
         )),
    Kind(GATEWAY_API, "Gateway", "gateways", ("v1", "v1beta1"), gateway_api_gateway.GatewaySpec, ("gtw",),
         validate=gateway_api_gateway.validate, categories=("gateway-api",),
         columns=(
             Column("Class", "spec.gatewayClassName"), Column("Address", "status.addresses[*].value"),
             Column("Programmed", "status.conditions[?(@.type=='Programmed')].status"),
         )),
    Kind(GATEWAY_API, "HTTPRoute", "httproutes", ("v1", "v1beta1"), http_route.HTTPRouteSpec,
         validate=http_route.validate, categories=("gateway-api",),
         columns=(Column("Hostnames", "spec.hostnames"),)),
    Kind(GATEWAY_API, "GRPCRoute", "grpcroutes", ("v1",), grpc_route.GRPCRouteSpec,
         validate=grpc_route.validate, categories=("gateway-api",),
         columns=(Column("Hostnames", "spec.hostnames"),)),
    Kind(GATEWAY_API, "TLSRoute", "tlsroutes", ("v1", "v1alpha3", "v1alpha2"), tls_route.TLSRouteSpec,
         validate=tls_route.validate, categories=("gateway-api",),
         columns=(Column("Hostnames", "spec.hostnames"),)),
    Kind(GATEWAY_API, "TCPRoute", "tcproutes", ("v1", "v1alpha2"), tcp_route.TCPRouteSpec,
         validate=tcp_route.validate, categories=("gateway-api",)),
    Kind(GATEWAY_API, "UDPRoute", "udproutes", ("v1", "v1alpha2"), udp_route.UDPRouteSpec,
         validate=udp_route.validate, categories=("gateway-api",)),
    Kind(GATEWAY_API, "ListenerSet", "listenersets", ("v1",), listener_set.ListenerSetSpec, ("lset",),
         validate=listener_set.validate, categories=("gateway-api",),
         columns=(
             Column("Accepted", "status.conditions[?(@.type=='Accepted')].status"),
             Column("Programmed", "status.conditions[?(@.type=='Programmed')].status"),
         )),
    Kind(GATEWAY_API, "BackendTLSPolicy", "backendtlspolicies", ("v1", "v1alpha3"),
         backend_tls_policy.BackendTLSPolicySpec, ("btlspolicy",),
         validate=backend_tls_policy.validate, categories=("gateway-api",)),
    Kind(GATEWAY_API, "ReferenceGrant", "referencegrants", ("v1", "v1beta1"),
         reference_grant.ReferenceGrantSpec, ("refgrant",), status=False,
         validate=reference_grant.validate, categories=("gateway-api",)),
    Kind(POLICY, "RateLimitPolicy", "ratelimitpolicies", ("v1alpha1",), rate_limit.RateLimitPolicySpec,
         ("rlp",), validate=rate_limit.validate, categories=_POLICY_ALL,
         columns=(*_ATTACHED, Column("Mode", "spec.mode"))),
    Kind(POLICY, "ResiliencePolicy", "resiliencepolicies", ("v1alpha1",), resilience.ResiliencePolicySpec,
         ("rsp",), validate=resilience.validate, categories=_POLICY_ALL, columns=_ATTACHED),
    Kind(POLICY, "RevokedIdentity", "revokedidentities", ("v1alpha1",), revoked_identity.RevokedIdentitySpec,
         namespaced=False, status=False, validate=revoked_identity.validate, categories=_POLICY_ALL,
         columns=(Column("Identity", "spec.spiffeId"), Column("Reason", "spec.reason"))),
    Kind(rbac.GROUP, "Role", "roles", ("v1",), rbac.RoleBody, validate=rbac.validate_role, in_spec=False,
         status=False, read_by_mesh=False, path_names=True),
    Kind(rbac.GROUP, "RoleBinding", "rolebindings", ("v1",), rbac.RoleBindingBody,
         validate=rbac.validate_role_binding, columns=_BOUND, in_spec=False,
         status=False, read_by_mesh=False, path_names=True),
    Kind(rbac.GROUP, "ClusterRole", "clusterroles", ("v1",), rbac.ClusterRoleBody, namespaced=False,
         validate=rbac.validate_cluster_role, in_spec=False,
         status=False, read_by_mesh=False, path_names=True),
    Kind(rbac.GROUP, "ClusterRoleBinding", "clusterrolebindings", ("v1",), rbac.ClusterRoleBindingBody,
         namespaced=False, validate=rbac.validate_cluster_role_binding, columns=_BOUND, in_spec=False,
         status=False, read_by_mesh=False, path_names=True),
)  # fmt: skip

READ_BY_MESH: Final = tuple((kind.group, kind.kind) for kind in KINDS if kind.read_by_mesh)
"""What the mesh is made of."""

_BY_KIND: Final[Mapping[tuple[str, str], Kind]] = {(kind.group, kind.kind): kind for kind in KINDS}
_BY_PLURAL: Final[Mapping[tuple[str, str], Kind]] = {(kind.group, kind.plural): kind for kind in KINDS}


def kind_of(group: str, kind: str) -> Kind | None:
    return _BY_KIND.get((group, kind))


def kind_for_plural(group: str, plural: str) -> Kind | None:
    return _BY_PLURAL.get((group, plural))


def kinds_called(word: str) -> tuple[Kind, ...]:
    """The kinds that a user may mean by a word on the command line: plural, singular, short name,
    each with `.group` appended if two groups share it."""
    name, _, group = word.lower().partition(".")
    return tuple(
        kind
        for kind in KINDS
        if name in (kind.plural, kind.singular, *kind.short_names)
        and (not group or kind.group.startswith(group))
    )
