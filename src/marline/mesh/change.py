"""One step from a snapshot to the next: which tables change, and what that touches."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from marline.api.mesh_config.rules import MESH_CONFIG
from marline.api.networking.destination_rule import credentials_of
from marline.api.resource import Ref, Resource
from marline.mesh import gateway_routes, service_routes
from marline.mesh.backend_tls import BACKEND_TLS, CONFIG_MAP, Policy, policy_hosts
from marline.mesh.delegation import delegate_refs, is_delegate
from marline.mesh.extension_providers import asking
from marline.mesh.gateway_reads import CA_SUFFIX, read_as
from marline.mesh.hosts import possible_hosts
from marline.mesh.model import Impact, MeshSettings
from marline.mesh.overlay import Overlay
from marline.mesh.patches import ENVOY_FILTER
from marline.mesh.plugins import WASM_PLUGIN
from marline.mesh.policies import RATE_LIMIT, RESILIENCE, TARGETS_OF_ROUTES, targets_of
from marline.mesh.registry import (
    ENDPOINT_SLICE,
    SERVICE,
    SERVICE_ENTRY,
    WORKLOAD_ENTRY,
    Registry,
    RegistryDraft,
    captured_at,
    may_be_opaque,
)
from marline.mesh.rules import (
    API_GATEWAY,
    AUTHORIZATION_POLICY,
    DESTINATION_RULE,
    ISTIO_GATEWAY,
    PEER_AUTHENTICATION,
    SERVERS,
    SIDECAR,
    VIRTUAL_SERVICE,
    Rules,
    RulesDraft,
    binds_elsewhere,
    destinations,
    gateway_hosts_of,
    hosts_of,
    leads_elsewhere,
    passed_hosts,
    routed_by,
    routes_connections,
    speaks_for_gateways,
    speaks_for_mesh,
)
from marline.mesh.selection import Selection, selection_of
from marline.mesh.service_routes import REFERENCE_GRANT
from marline.mesh.token_keys import FetchedKeys
from marline.mesh.token_policies import REQUEST_AUTHENTICATION
from marline.mesh.told import Told

Kind = tuple[str, str]
_REGISTRY_KINDS: Final = frozenset({SERVICE, SERVICE_ENTRY, WORKLOAD_ENTRY, ENDPOINT_SLICE})
_RULE_KINDS: Final = frozenset(
    {
        *SERVERS,
        BACKEND_TLS,
        *service_routes.ROUTES,
        REFERENCE_GRANT,
        VIRTUAL_SERVICE,
        DESTINATION_RULE,
        PEER_AUTHENTICATION,
        REQUEST_AUTHENTICATION,
        AUTHORIZATION_POLICY,
        SIDECAR,
        RATE_LIMIT,
        RESILIENCE,
    }
)
_GATEWAY_CLASS: Final = ("gateway.networking.k8s.io", "GatewayClass")
_SECRET: Final = ("", "Secret")
_READ_BY_GATEWAYS: Final = (_SECRET, CONFIG_MAP, ("", "Namespace"))
"""Kinds of which gateways read only what they refer to (`gateway_reads`)."""
_READ_BY_CLUSTERS: Final = frozenset({CONFIG_MAP, _SECRET, API_GATEWAY, _GATEWAY_CLASS, REFERENCE_GRANT})
REVOKED_IDENTITY: Final = ("policy.marline.io", "RevokedIdentity")
"""Concerns everybody: whoever is revoked may call anybody."""
_HTTP_PORT: Final = 80
"""Where hosts of VirtualServices that no service has are routed, as in Istio."""


class Advance:
    """A step in the making: resources are put (None: removed), then it is finished once."""

    def __init__(
        self,
        settings: MeshSettings,
        kinds: Mapping[Kind, Mapping[Ref, Resource[Any]]],
        registry: Registry,
        rules: Rules,
    ) -> None:
        self._settings = settings
        self._base_rules = rules
        self._kinds: dict[Kind, Overlay[Ref, Resource[Any]]] = {
            kind: Overlay(table) for kind, table in kinds.items()
        }
        self._registry = RegistryDraft(registry, settings, self._kinds)
        self._rules = RulesDraft(rules, settings)
        self._changed_rules: list[tuple[Ref, Resource[Any] | None, Resource[Any] | None]] = []
        self._hosts: set[str] = set()
        self._ports: set[int] = set()
        self._addresses: set[tuple[str, int]] = set()
        self._endpoints: set[str] = set()
        self._inbound: set[str] = set()
        self._secrets: set[str] = set()
        self._credentials: set[str] = set()
        self._selected: set[Selection] = set()
        self._policy_targets: set[Ref] = set()
        """What policies may be attached to and has changed, or has another policy."""
        self._read_by_clusters: set[Ref] = set()
        self._read: set[str] = set()
        """What gateways may read and has changed."""
        self._gateways = False
        self._gateway_hosts: set[str] = set()
        self._told = Told(settings.cluster_domain, self._present)
        self._scopes: set[str] = set()
        self._everything = False
        self.is_configured_anew = False
        """Has the MeshConfig changed?"""

    def put(self, ref: Ref, new: Resource[Any] | None) -> None:
        kind = (ref.group, ref.kind)
        table = self._kinds.setdefault(kind, Overlay({}))
        old = table.get(ref)
        if new is None:
            table.drop(ref)
        else:
            table.put(ref, new)
        if kind in _REGISTRY_KINDS:
            # Equality leaves the status out, which says whether a workload is healthy.
            if old is not new:
                self._policy_targets.add(ref)
                self._registry.note(ref, old, new)
        elif old != new:
            self._policy_targets.add(ref)
            if ref == MESH_CONFIG:
                self.is_configured_anew = self._everything = True
            if kind in (ENVOY_FILTER, WASM_PLUGIN):
                self._rules.replace(ref, old, new)
            elif kind in _RULE_KINDS:
                self._rules.replace(ref, old, new)
                self._changed_rules.append((ref, old, new))
            self._everything |= kind == REVOKED_IDENTITY
            if kind in (_GATEWAY_CLASS, REFERENCE_GRANT):
                self._gateways = self._told.everyone = True
            if kind in _READ_BY_GATEWAYS:
                self._read |= read_as(ref)
            if kind in _READ_BY_CLUSTERS:
                self._read_by_clusters.add(ref)
            if kind == _SECRET:
                self._secrets |= {ref.name, ref.name.removesuffix(CA_SUFFIX)}

    def fetched(self, keys: FetchedKeys) -> None:
        """Key sets are not resources, but what proxies make of a policy follows from them."""
        for ref in self._rules.tokens.fetched(keys):
            self._changed_rules.append((ref, None, self._present(ref)))

    def finish(self) -> tuple[Mapping[Kind, Mapping[Ref, Resource[Any]]], Registry, Rules, Impact]:
        registry, rules = self._registry.finish(), self._rules.finish()
        found = self._registry.differences
        self._hosts |= found.hosts
        self._endpoints |= found.endpoints
        self._ports |= found.ports
        self._addresses |= found.addresses
        self._inbound |= found.selecting
        for ref, old, new in self._changed_rules:
            self._follow_rule(registry, rules, ref, [item for item in (old, new) if item is not None])
        self._gateways |= self._told.follow_readers(rules, self._read)
        self._follow_parents(registry, rules, found.hosts)
        self._follow_certificates(registry, rules)
        self._follow_destinations(registry, rules)
        attached = (rules.service_routes.get(key, ()) for key in self._entry_keys())
        self._told.routes.update(item.ref for items in attached for item in items)
        self._selected.update(asking(self._settings, rules, self._hosts))
        kinds = {kind: table.table() for kind, table in self._kinds.items()}
        impact = Impact(
            frozenset(self._hosts),
            frozenset(self._endpoints),
            frozenset(self._ports),
            frozenset(self._addresses),
            self._gateways,
            frozenset(self._gateway_hosts),
            frozenset(self._told.routes),
            frozenset(self._told.servers),
            self._told.everyone,
            frozenset(self._credentials | (self._secrets & rules.credentials.keys())),
            frozenset(self._inbound),
            frozenset(self._rules.patched),
            frozenset(self._selected),
            frozenset(item.ref for target in self._policy_targets for item in rules.policies.get(target, ())),
            frozenset(self._scopes),
            self._everything,
        )
        return kinds, registry, rules, impact

    def _follow_rule(self, registry: Registry, rules: Rules, ref: Ref, versions: list[Resource[Any]]) -> None:
        kind = (ref.group, ref.kind)
        if kind == SIDECAR:
            if ref.namespace == self._settings.root_namespace:
                self._everything = True
            else:
                self._scopes.add(ref.namespace)
        elif kind in service_routes.ROUTES:
            for item in versions:
                self._follow_route(registry, rules, item)
                if rules.sidecars and leads_elsewhere(versions, self._settings.cluster_domain):
                    self._show(registry, service_routes.backend_hosts(item, self._settings.cluster_domain))
            if gateway_routes.moves(versions):
                self._follow_attachment(rules, versions)
        elif kind == BACKEND_TLS:
            for item in versions:
                self._follow_backend_tls(registry, rules, item)
        elif kind == REFERENCE_GRANT:
            self._follow_routes(registry, rules, rules.crossing.get(ref.namespace, ()))
        elif kind == PEER_AUTHENTICATION:
            self._follow_authentication(registry, ref.namespace)
        elif kind in (REQUEST_AUTHENTICATION, AUTHORIZATION_POLICY):
            root = self._settings.root_namespace
            self._selected.update(selection_of(item, root) for item in versions)
        elif kind in (RATE_LIMIT, RESILIENCE):
            for item in versions:
                self._follow_policy(registry, item)
        elif kind == DESTINATION_RULE:
            for item in versions:
                hosts = possible_hosts(item.spec.host, item.namespace, self._settings.cluster_domain)
                covered = registry.covered(hosts)
                self._hosts |= covered
                self._credentials |= credentials_of(item.spec)
                self._follow_listeners(registry, covered)
        elif kind in SERVERS:
            self._gateways = True
            for item in versions:  # the hosts of the old one may be nobody's now
                self._told.follow_server(rules, item)
                self._gateway_hosts.update(gateway_routes.server_names(item))
                if kind == ISTIO_GATEWAY:
                    # A gateway that forwards by SNI has clusters of their own for these hosts.
                    self._hosts |= registry.covered(passed_hosts(item))
        else:
            for item in versions:
                self._follow_virtual_service(registry, rules, item)
                # Policies of what is bound to a gateway have filters in its listeners.
                limited = any(each in rules.policies for each in (item.ref, *delegate_refs(item)))
                self._gateways |= limited and binds_elsewhere(versions)
            if rules.sidecars and leads_elsewhere(versions, self._settings.cluster_domain):
                for item in versions:
                    self._follow_led_to(registry, item)

    def _follow_led_to(self, registry: Registry, item: Resource[Any]) -> None:
        """Whoever has a Sidecar sees where the rules lead that it sees, also by their delegates."""
        delegates = (self._present(ref) for ref in delegate_refs(item))
        for rules in (item, *(delegate for delegate in delegates if delegate is not None)):
            for destination in destinations(rules.spec):
                hosts = possible_hosts(destination.host, rules.namespace, self._settings.cluster_domain)
                self._show(registry, hosts)

    def _show(self, registry: Registry, hosts: Iterable[str]) -> None:
        """Services may come into view, or go."""
        covered = registry.covered(hosts)
        self._hosts |= covered
        self._ports.update(port.number for service in registry.claimants(covered) for port in service.ports)
        self._follow_listeners(registry, covered)

    def _follow_parents(self, registry: Registry, rules: Rules, changed: Iterable[str]) -> None:
        """Whoever has a Sidecar sees where the routes of the services lead that it sees."""
        for key in {*changed, *self._entry_keys()} if rules.sidecars else ():
            for route in rules.service_routes.get(key, ()):
                self._show(registry, service_routes.backend_hosts(route, self._settings.cluster_domain))

    def _entry_keys(self) -> Iterator[str]:
        """By what routes are attached to the ServiceEntries that changed."""
        for ref in self._policy_targets:
            if (ref.group, ref.kind) == SERVICE_ENTRY:
                yield service_routes.entry_key(ref.namespace, ref.name)

    def _follow_policy(self, registry: Registry, policy: Resource[Any]) -> None:
        for target in targets_of(policy):
            self._policy_targets.add(target)
            self._gateways |= target.kind in TARGETS_OF_ROUTES
            for service in registry.sources.get(target, ()):
                if service.selector:
                    self._selected.add(Selection(service.namespace, service.selector))
                if (policy.group, policy.kind) == RESILIENCE:
                    self._hosts.add(service.hostname)

    def _follow_virtual_service(self, registry: Registry, rules: Rules, item: Resource[Any]) -> None:
        """A delegate counts where those are that delegate to it."""
        roots = rules.delegating.get(item.ref, ()) if is_delegate(item) else (item.ref,)
        for ref in roots:
            root = item if ref == item.ref else self._present(ref)
            if root is None:
                continue
            if speaks_for_gateways(root):
                self._gateway_hosts.update(gateway_hosts_of(root, self._settings.cluster_domain))
                self._gateways |= routes_connections(root)
            if speaks_for_mesh(root):
                self._follow_hosts(registry, root)

    def _present(self, ref: Ref) -> Resource[Any] | None:
        table = self._kinds.get((ref.group, ref.kind))
        return table.get(ref) if table is not None else None

    def _follow_hosts(self, registry: Registry, item: Resource[Any]) -> None:
        hosts = hosts_of(item, self._settings.cluster_domain)
        covered = registry.covered(hosts)
        self._hosts |= covered | set(hosts)
        # One of the hosts may be, or have been, no service's.
        self._ports.add(_HTTP_PORT)
        if item.spec.tcp or item.spec.tls:
            self._follow_listeners(registry, covered)

    def _follow_routes(self, registry: Registry, rules: Rules, refs: Iterable[Ref]) -> None:
        for ref in refs:
            route = self._present(ref)
            if route is not None:
                self._follow_route(registry, rules, route)

    def _follow_route(self, registry: Registry, rules: Rules, route: Resource[Any]) -> None:
        """A route of the Gateway API concerns the services that it is attached to, or gateways, or both."""
        self._told.routes.add(route.ref)
        if service_routes.speaks_for_gateways(route):
            if route.kind in gateway_routes.REQUEST_ROUTES:
                self._gateway_hosts.update(gateway_routes.hostnames(route))
            else:
                self._gateways = True
        domain = self._settings.cluster_domain
        hosts = {service.hostname for service in service_routes.parent_services(registry, route, domain)}
        self._hosts |= hosts
        # Any route of the client's namespace takes the place of all routes of the service's.
        keys = service_routes.route_keys(route, domain)
        displaced = [other for key in keys for other in rules.service_routes.get(key, ())]
        self._told.routes.update(other.ref for other in displaced)
        self._told.follow_led_policies(rules, service_routes.backend_hosts(route, domain))
        if any(service_routes.is_for_connections(item) for item in (route, *displaced)):
            self._follow_listeners(registry, hosts)

    def _follow_backend_tls(self, registry: Registry, rules: Rules, policy: Policy) -> None:
        hosts = policy_hosts(policy, self._settings.cluster_domain)
        self._hosts |= registry.covered(hosts)
        self._told.routes.add(policy.ref)
        self._told.follow_led_policies(rules, hosts)

    def _follow_certificates(self, registry: Registry, rules: Rules) -> None:
        """Clusters that use TLS by policy depend on CAs in ConfigMaps, and those of gateways on what their
        Gateways show to backends."""
        for ref in self._read_by_clusters:
            for source in rules.authorities.get(ref, ()):
                policy = self._present(source)
                if policy is not None:
                    self._follow_backend_tls(registry, rules, policy)
            certificates = (rules.client_certificates, self._base_rules.client_certificates)
            if any(table and ((ref.group, ref.kind) != _SECRET or ref in table) for table in certificates):
                self._hosts |= registry.covered(rules.backend_tls)

    def _follow_attachment(self, rules: Rules, versions: list[Resource[Any]]) -> None:
        """Where a route is attached other routes may be no more, or at last."""
        self._gateways |= versions[0].ref in rules.policies
        self._told.follow_attachment(rules, versions)
        for item in versions if versions[0].kind in gateway_routes.REQUEST_ROUTES else ():
            contending = gateway_routes.contending(rules.attached, item)
            self._told.follow_attachment(rules, contending)
            for other in contending:
                self._gateway_hosts.update(gateway_routes.hostnames(other))

    def _follow_listeners(self, registry: Registry, hosts: Iterable[str]) -> None:
        """Where bytes go stands in the listeners themselves."""
        for service in registry.claimants(hosts):
            endpoints = registry.endpoints.get((service.source, service.hostname), ())
            self._ports.update(port.number for port in service.ports if may_be_opaque(port))
            self._addresses |= captured_at(service, endpoints)

    def _follow_authentication(self, registry: Registry, namespace: str) -> None:
        """Clients stop using mTLS where it is turned off, so clusters and endpoints are made anew."""
        if namespace == self._settings.root_namespace:
            self._inbound.add("*")
            self._hosts.update(registry.services)
        else:
            self._inbound.add(namespace)
            self._hosts.update(hostname for _, hostname in registry.by_namespace.get(namespace, ()))

    def _follow_destinations(self, registry: Registry, rules: Rules) -> None:
        """Routes depend on the ports and the hash policies of where they lead."""
        for host in tuple(self._hosts):
            for item in routed_by(rules, host):
                # A host of rules may cease to be unknown when a service gets its name, and the reverse.
                self._ports.add(_HTTP_PORT)
                names = hosts_of(item, self._settings.cluster_domain)
                self._hosts.update(name for name in names if name not in registry.services)
            self._told.routes.update(item.ref for item in rules.service_routes.get(host, ()))
            self._told.follow_led_policies(rules, (host,))
            self._follow_routes(registry, rules, rules.backing.get(host, ()))
            for ref in rules.referring.get(host, ()):
                leading = self._present(ref)
                if leading is not None:
                    self._follow_virtual_service(registry, rules, leading)
