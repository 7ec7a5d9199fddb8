"""Rules by the hosts that they are about, so that a change of either finds the other."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from marline.api.gateway_api.listener_set import ListenerSetSpec
from marline.api.networking.destination_rule import DestinationRuleSpec, credentials_of
from marline.api.networking.gateway import GatewaySpec
from marline.api.networking.sidecar import SidecarSpec
from marline.api.networking.virtual_service import Destination, VirtualServiceSpec
from marline.api.resource import Ref, Resource
from marline.api.security.authorization_policy import AuthorizationPolicySpec
from marline.api.security.peer_authentication import PeerAuthenticationSpec
from marline.mesh.backend_tls import (
    BACKEND_TLS,
    Policy,
    authority_refs,
    client_certificate_ref,
    policy_hosts,
)
from marline.mesh.delegation import delegate_refs
from marline.mesh.gateway_names import MESH_GATEWAY, qualified_gateways
from marline.mesh.gateway_reads import reads
from marline.mesh.gateway_routes import gateway_keys, owners, parent_gateway
from marline.mesh.hosts import patterns_for, possible_hosts
from marline.mesh.model import MeshSettings, PatchImpact
from marline.mesh.overlay import Groups, Overlay
from marline.mesh.patches import ENVOY_FILTER, PatchSet, envoy_filter_patches
from marline.mesh.plugins import WASM_PLUGIN, wasm_plugin_patches
from marline.mesh.policies import RATE_LIMIT, RESILIENCE, targets_of
from marline.mesh.service_routes import ROUTES, SERVICE_ROUTES, backend_hosts, crossed_namespaces, route_keys
from marline.mesh.token_policies import REQUEST_AUTHENTICATION, TokenPolicies, TokenPoliciesDraft
from marline.mesh.visibility import age

VIRTUAL_SERVICE: Final = ("networking.istio.io", "VirtualService")
DESTINATION_RULE: Final = ("networking.istio.io", "DestinationRule")
PEER_AUTHENTICATION: Final = ("security.istio.io", "PeerAuthentication")
AUTHORIZATION_POLICY: Final = ("security.istio.io", "AuthorizationPolicy")
SIDECAR: Final = ("networking.istio.io", "Sidecar")
API_GATEWAY: Final = ("gateway.networking.k8s.io", "Gateway")
ISTIO_GATEWAY: Final = ("networking.istio.io", "Gateway")
LISTENER_SET: Final = ("gateway.networking.k8s.io", "ListenerSet")
SERVERS: Final = (ISTIO_GATEWAY, API_GATEWAY, LISTENER_SET)
"""The kinds that say what gateways listen to."""

Ordered = Mapping[str, tuple[Resource[Any], ...]]


@dataclass(frozen=True, slots=True, eq=False)
class Rules:
    """Each table's values are sorted, oldest first."""

    virtual_services: Mapping[str, tuple[Resource[VirtualServiceSpec], ...]] = field(default_factory=dict)
    """Those for sidecars, by host (also wildcards)."""
    bound: Mapping[tuple[str, str], tuple[Resource[VirtualServiceSpec], ...]] = field(default_factory=dict)
    """Those for gateways, by `<namespace>/<name>` of these and by host (also wildcards)."""
    connecting: Mapping[str, tuple[Resource[VirtualServiceSpec], ...]] = field(default_factory=dict)
    """Of those the ones that route connections, by gateway alone: listeners are made of them."""
    destination_rules: Mapping[str, tuple[Resource[DestinationRuleSpec], ...]] = field(default_factory=dict)
    referring: Mapping[str, frozenset[Ref]] = field(default_factory=dict)
    """VirtualServices by the hosts that they send to."""
    credentials: Mapping[str, frozenset[Ref]] = field(default_factory=dict)
    """DestinationRules by the names of the Secrets that they refer to."""
    delegating: Mapping[Ref, frozenset[Ref]] = field(default_factory=dict)
    """VirtualServices by those that they delegate to, which need not be there."""
    service_routes: Mapping[str, tuple[Resource[Any], ...]] = field(default_factory=dict)
    """Routes of the Gateway API by the services that they are attached to (`service_routes.parent_key`)."""
    attached: Mapping[tuple[str, str], tuple[Resource[Any], ...]] = field(default_factory=dict)
    """Routes of requests by what else they are attached to and by host (`gateway_routes.gateway_keys`)."""
    naming: Mapping[str, frozenset[Ref]] = field(default_factory=dict)
    """Routes of every kind by what else they are attached to (`gateway_routes.owner_key`)."""
    listener_sets: Mapping[Ref, tuple[Resource[ListenerSetSpec], ...]] = field(default_factory=dict)
    """By the Gateways that they are for."""
    backing: Mapping[str, frozenset[Ref]] = field(default_factory=dict)
    """Routes of the Gateway API by the hosts that they send to."""
    crossing: Mapping[str, frozenset[Ref]] = field(default_factory=dict)
    """Those routes by the other namespaces that they send to."""
    backend_tls: Mapping[str, tuple[Policy, ...]] = field(default_factory=dict)
    """BackendTLSPolicies by the hosts of the services that they are about."""
    authorities: Mapping[Ref, frozenset[Ref]] = field(default_factory=dict)
    """Those by the ConfigMaps that they refer to."""
    client_certificates: Mapping[Ref, frozenset[Ref]] = field(default_factory=dict)
    """Gateways of the Gateway API by the Secrets that they show to backends."""
    gateway_reads: Mapping[str, frozenset[Ref]] = field(default_factory=dict)
    """Gateways and ListenerSets by what they read (`gateway_reads`)."""
    peer_authentications: Mapping[str, tuple[Resource[PeerAuthenticationSpec], ...]] = field(
        default_factory=dict
    )
    """By namespace, as the next two."""
    authorization: Mapping[str, tuple[Resource[AuthorizationPolicySpec], ...]] = field(default_factory=dict)
    sidecars: Mapping[str, tuple[Resource[SidecarSpec], ...]] = field(default_factory=dict)
    patches: Mapping[str, tuple[PatchSet, ...]] = field(default_factory=dict)
    """In the order in which they are applied."""
    policies: Mapping[Ref, tuple[Resource[Any], ...]] = field(default_factory=dict)
    """Marline's own, by what they are attached to."""
    tokens: TokenPolicies = field(default_factory=TokenPolicies)


class RulesDraft:
    """Rules that are being changed."""

    def __init__(self, base: Rules, settings: MeshSettings) -> None:
        self._settings = settings
        self._domain = settings.cluster_domain
        self._virtual_services = Overlay(base.virtual_services)
        self._bound = Overlay(base.bound)
        self._connecting = Overlay(base.connecting)
        self._destination_rules = Overlay(base.destination_rules)
        self._referring = Groups(base.referring)
        self._credentials = Groups(base.credentials)
        self._delegating = Groups(base.delegating)
        self._service_routes = Overlay(base.service_routes)
        self._attached = Overlay(base.attached)
        self._naming = Groups(base.naming)
        self._listener_sets = Overlay(base.listener_sets)
        self._backing = Groups(base.backing)
        self._crossing = Groups(base.crossing)
        self._backend_tls = Overlay(base.backend_tls)
        self._authorities = Groups(base.authorities)
        self._client_certificates = Groups(base.client_certificates)
        self._gateway_reads = Groups(base.gateway_reads)
        self._peer_authentications = Overlay(base.peer_authentications)
        self._authorization = Overlay(base.authorization)
        self._sidecars = Overlay(base.sidecars)
        self._patches = Overlay(base.patches)
        self.patched: set[PatchImpact] = set()
        """What changes of patches touch."""
        self._policies = Overlay(base.policies)
        self.tokens = TokenPoliciesDraft(base.tokens)

    def replace(self, ref: Ref, old: Resource[Any] | None, new: Resource[Any] | None) -> None:
        kind = (ref.group, ref.kind)
        if kind in SERVERS:
            for item, read in ((old, self._gateway_reads.remove), (new, self._gateway_reads.add)):
                for name in reads(item) if item is not None else ():
                    read(name, ref)
        if kind == VIRTUAL_SERVICE:
            self._replace_in(self._virtual_services, old, new, self._mesh_hosts)
            self._replace_in(self._bound, old, new, self._bound_keys)
            self._replace_in(self._connecting, old, new, _connecting_gateways)
            for item, update in ((old, self._referring.remove), (new, self._referring.add)):
                for host in self._destinations(item):
                    update(host, ref)
            for item, link in ((old, self._delegating.remove), (new, self._delegating.add)):
                for delegate in delegate_refs(item) if item is not None else ():
                    link(delegate, ref)
        elif kind == DESTINATION_RULE:
            self._replace_in(self._destination_rules, old, new, self._rule_hosts)
            for item, update in ((old, self._credentials.remove), (new, self._credentials.add)):
                for name in credentials_of(item.spec) if item is not None else ():
                    update(name, ref)
        elif kind in ROUTES:
            self._replace_route(ref, old, new)
        elif kind == BACKEND_TLS:
            self._replace_policy(ref, old, new)
        elif kind == LISTENER_SET:
            self._replace_in(self._listener_sets, old, new, _parent_gateway)
        elif kind == API_GATEWAY:
            for gateway, show in (
                (old, self._client_certificates.remove),
                (new, self._client_certificates.add),
            ):
                secret = client_certificate_ref(gateway) if gateway is not None else None
                if secret is not None:
                    show(secret, ref)
        elif kind == PEER_AUTHENTICATION:
            self._replace_in(self._peer_authentications, old, new, _namespace)
        elif kind == AUTHORIZATION_POLICY:
            self._replace_in(self._authorization, old, new, _namespace)
        elif kind == REQUEST_AUTHENTICATION:
            self.tokens.replace(ref, old, new)
        elif kind == SIDECAR:
            self._replace_in(self._sidecars, old, new, _namespace)
        elif kind in (RATE_LIMIT, RESILIENCE):
            self._replace_in(self._policies, old, new, targets_of)
        elif kind == ENVOY_FILTER:
            made = envoy_filter_patches(new, self._settings.root_namespace) if new is not None else None
            self._replace_patches(ref, made)
        elif kind == WASM_PLUGIN:
            self._replace_patches(ref, wasm_plugin_patches(new, self._settings) if new is not None else None)

    def _replace_route(self, ref: Ref, old: Resource[Any] | None, new: Resource[Any] | None) -> None:
        self._replace_in(self._service_routes, old, new, self._route_keys)
        self._replace_in(self._attached, old, new, gateway_keys)
        for item, update, cross, name in (
            (old, self._backing.remove, self._crossing.remove, self._naming.remove),
            (new, self._backing.add, self._crossing.add, self._naming.add),
        ):
            if item is not None:
                for owner in owners(item):
                    name(owner, ref)
                for host in backend_hosts(item, self._domain):
                    update(host, ref)
                for namespace in crossed_namespaces(item):
                    cross(namespace, ref)

    def _route_keys(self, item: Resource[Any]) -> list[str]:
        return route_keys(item, self._domain) if (item.group, item.kind) in SERVICE_ROUTES else []

    def _bound_keys(self, item: Resource[VirtualServiceSpec]) -> set[tuple[str, str]]:
        hosts = gateway_hosts_of(item, self._domain)
        return {(gateway, host) for gateway in bound_gateways(item) for host in hosts}

    def _replace_policy(self, ref: Ref, old: Policy | None, new: Policy | None) -> None:
        self._replace_in(self._backend_tls, old, new, self._policy_hosts)
        for item, update in ((old, self._authorities.remove), (new, self._authorities.add)):
            for authority in authority_refs(item) if item is not None else ():
                update(authority, ref)

    def _policy_hosts(self, item: Policy) -> list[str]:
        return policy_hosts(item, self._domain)

    def _replace_patches(self, ref: Ref, new: PatchSet | None) -> None:
        before = self._patches.get(ref.namespace) or ()
        left = [item for item in before if item.source != ref]
        made = [] if new is None else [new]
        self.patched.update(item.impact for item in (*before, *made) if item.source == ref)
        if left or made:
            self._patches.put(ref.namespace, tuple(sorted((*left, *made), key=lambda item: item.order)))
        else:
            self._patches.drop(ref.namespace)

    def _replace_in(self, table: Overlay[Any, Any], old: Any, new: Any, keys_of: Any) -> None:
        for key in keys_of(old) if old is not None else ():
            left = tuple(item for item in table.get(key) or () if item.ref != old.ref)
            if left:
                table.put(key, left)
            else:
                table.drop(key)
        for key in keys_of(new) if new is not None else ():
            table.put(key, tuple(sorted((*(table.get(key) or ()), new), key=_order)))

    def _mesh_hosts(self, item: Resource[VirtualServiceSpec]) -> Iterable[str]:
        return hosts_of(item, self._domain) if speaks_for_mesh(item) else ()

    def _rule_hosts(self, item: Resource[DestinationRuleSpec]) -> Iterable[str]:
        return possible_hosts(item.spec.host, item.namespace, self._domain)

    def _destinations(self, item: Resource[VirtualServiceSpec] | None) -> set[str]:
        if item is None:
            return set()
        return {
            host
            for destination in destinations(item.spec)
            for host in possible_hosts(destination.host, item.namespace, self._domain)
        }

    def finish(self) -> Rules:
        return Rules(
            self._virtual_services.table(),
            self._bound.table(),
            self._connecting.table(),
            self._destination_rules.table(),
            self._referring.table(),
            self._credentials.table(),
            self._delegating.table(),
            self._service_routes.table(),
            self._attached.table(),
            self._naming.table(),
            self._listener_sets.table(),
            self._backing.table(),
            self._crossing.table(),
            self._backend_tls.table(),
            self._authorities.table(),
            self._client_certificates.table(),
            self._gateway_reads.table(),
            self._peer_authentications.table(),
            self._authorization.table(),
            self._sidecars.table(),
            self._patches.table(),
            self._policies.table(),
            self.tokens.finish(),
        )


def _order(item: Resource[Any]) -> tuple[str, ...]:
    """Oldest first; policies of two kinds may be equal in all but that."""
    return (*age(item), item.kind)


def _parent_gateway(item: Resource[ListenerSetSpec]) -> tuple[Ref, ...]:
    gateway = parent_gateway(item)
    return (gateway,) if gateway is not None else ()


def _namespace(item: Resource[Any]) -> tuple[str, ...]:
    return (item.namespace,)


def hosts_of(item: Resource[VirtualServiceSpec], cluster_domain: str) -> list[str]:
    """Every FQDN (or wildcard) that a VirtualService may be about, each once."""
    found = (possible_hosts(host, item.namespace, cluster_domain) for host in item.spec.hosts)
    return list(dict.fromkeys(host for hosts in found for host in hosts))


def gateway_hosts_of(item: Resource[VirtualServiceSpec], cluster_domain: str) -> list[str]:
    """The hosts that a VirtualService has at gateways: there a name is what it most likely means, whether or
    not a service has it."""
    found = (possible_hosts(host, item.namespace, cluster_domain)[0] for host in item.spec.hosts)
    return list(dict.fromkeys(found))


def binds_elsewhere(versions: Sequence[Resource[VirtualServiceSpec]]) -> bool:
    """Does a VirtualService, of which these are the old and the new version (or one of them), come to other
    gateways than before, or do others by it?"""
    bound = [(item.spec.gateways, delegate_refs(item)) for item in versions]
    return len(bound) == 1 or bound[0] != bound[-1]


def leads_elsewhere(versions: Sequence[Resource[Any]], cluster_domain: str) -> bool:
    """Do rules, of which these are the versions as above, begin or cease to lead somewhere, or somebody
    there? New shares, say, do not."""
    leading: list[object] = []
    for item in versions:
        spec = item.spec
        if (item.group, item.kind) == VIRTUAL_SERVICE:
            hosts = {destination.host for destination in destinations(spec)}
            leading.append((spec.hosts, spec.gateways, spec.export_to, set(delegate_refs(item)), hosts))
        else:
            leading.append((spec.parent_refs, backend_hosts(item, cluster_domain)))
    return len(leading) == 1 or leading[0] != leading[-1]


def routes_connections(item: Resource[VirtualServiceSpec]) -> bool:
    """Does it have rules for connections? These stand in listeners."""
    return bool(item.spec.tcp or item.spec.tls)


def _connecting_gateways(item: Resource[VirtualServiceSpec]) -> frozenset[str]:
    return bound_gateways(item) if routes_connections(item) else frozenset()


def speaks_for_mesh(item: Resource[VirtualServiceSpec]) -> bool:
    """Is it for sidecars? It is when it names no gateway, or names `mesh`; a rule's own conditions may
    narrow that."""
    return not item.spec.gateways or MESH_GATEWAY in item.spec.gateways


def speaks_for_gateways(item: Resource[VirtualServiceSpec]) -> bool:
    return any(name != MESH_GATEWAY for name in item.spec.gateways)


def bound_gateways(item: Resource[VirtualServiceSpec]) -> frozenset[str]:
    """The gateways that a VirtualService speaks for."""
    return qualified_gateways(item.spec.gateways, item.namespace) - {MESH_GATEWAY}


def routed_by(rules: Rules, host: str) -> Iterator[Resource[VirtualServiceSpec]]:
    """The VirtualServices for sidecars that are about a host."""
    for pattern in patterns_for(host) if rules.virtual_services else ():
        yield from rules.virtual_services.get(pattern, ())


def passed_hosts(item: Resource[GatewaySpec]) -> Iterator[str]:
    """The hosts that a Gateway forwards to by the SNI of the mesh's own calls (AUTO_PASSTHROUGH)."""
    for server in item.spec.servers:
        if server.tls is not None and server.tls.mode == "AUTO_PASSTHROUGH":
            yield from (host.rpartition("/")[2].lower() for host in server.hosts)


def asks_for_labels(spec: VirtualServiceSpec) -> bool:
    """Does a rule hold for some workloads only, by their labels?"""
    return (
        any(match.source_labels for http in spec.http for match in http.match)
        or any(match.source_labels for tcp in spec.tcp for match in tcp.match)
        or any(match.source_labels for tls in spec.tls for match in tls.match)
    )


def destinations(spec: VirtualServiceSpec) -> Iterator[Destination]:
    """All that a VirtualService sends or mirrors to."""
    for rule in spec.http:
        yield from (item.destination for item in rule.route)
        yield from (item.destination for item in rule.mirrors)
        if rule.mirror is not None:
            yield rule.mirror
    for tcp in spec.tcp:
        yield from (item.destination for item in tcp.route)
    for tls in spec.tls:
        yield from (item.destination for item in tls.route)
