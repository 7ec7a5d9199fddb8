"""The mesh at one resourceVersion: immutable, indexed, advanced change by change.

`advance` shares with the old snapshot every table that a change does not touch; its `Impact` names what
may differ, so that whoever follows the mesh recomputes no more than that.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from marline.api.mesh_config.rules import MESH_CONFIG
from marline.api.networking.destination_rule import DestinationRuleSpec
from marline.api.networking.sidecar import SidecarSpec
from marline.api.networking.virtual_service import VirtualServiceSpec
from marline.api.resource import Ref, Resource
from marline.mesh import delegation
from marline.mesh.authentication import MtlsMode, PeerPolicy, numbers_of, resolve_policy
from marline.mesh.change import REVOKED_IDENTITY, Advance
from marline.mesh.delegation import Merged, is_delegate
from marline.mesh.destinations import DestinationPolicy, is_selective, policy_for
from marline.mesh.hosts import host_matches, patterns_for, possible_hosts
from marline.mesh.mesh_settings import configured
from marline.mesh.mesh_tls import MeshPeers
from marline.mesh.model import ChangeSet, Endpoint, Impact, MeshSettings, Port, Proxy, Role, Service
from marline.mesh.patches import PatchSet
from marline.mesh.policies import attached_policy
from marline.mesh.registry import Registry
from marline.mesh.rules import Rules, hosts_of, speaks_for_mesh
from marline.mesh.service_routes import attached_routes, parent_services
from marline.mesh.visibility import Scope, is_exported, scope_of, select_sidecar

__all__ = ["MeshSnapshot", "advance", "empty"]


@dataclass(frozen=True, slots=True, eq=False)
class MeshSnapshot:
    """The whole mesh at one moment. Every question about it is answered from an index."""

    settings: MeshSettings
    resource_version: str = ""
    kinds: Mapping[tuple[str, str], Mapping[Ref, Resource[Any]]] = field(default_factory=dict)
    registry: Registry = field(default_factory=Registry)
    rules: Rules = field(default_factory=Rules)
    memo: dict[Any, Any] = field(default_factory=dict, repr=False)
    """What pure functions of this snapshot found, for those who ask again: it adds nothing to what the
    snapshot says, and the next snapshot starts without."""
    kept: dict[Any, Any] = field(default_factory=dict, repr=False)
    """As `memo`, of what gateways' listeners are made of: the next snapshot goes on with it unless its
    `Impact` says that this differs."""

    @property
    def mesh_peers(self) -> MeshPeers:
        """What holds for all mTLS connections."""
        found: MeshPeers | None = self.memo.get(MeshPeers)
        if found is None:
            settings = self.settings
            known = (settings.trust_domain, *settings.trust_domain_aliases, *settings.federated_trust_domains)
            revoked = frozenset(item.spec.spiffe_id for item in self.resources(*REVOKED_IDENTITY))
            found = MeshPeers(settings.mesh_tls, tuple(dict.fromkeys(known)), revoked)
            self.memo[MeshPeers] = found
        return found

    # Resources

    def resource(self, ref: Ref) -> Resource[Any] | None:
        return self.kinds.get((ref.group, ref.kind), {}).get(ref)

    def resources(self, group: str, kind: str) -> Iterable[Resource[Any]]:
        return self.kinds.get((group, kind), {}).values()

    # Services and endpoints

    @property
    def services(self) -> Mapping[str, Service]:
        """By hostname; where several resources claim one, the one that counts for most clients."""
        return self.registry.services

    def service(self, hostname: str, scope: Scope) -> Service | None:
        """The service of a hostname as a client sees it: of several the one in its namespace. Where rules
        that it sees lead is seen, too."""
        claims = self.registry.claims.get(hostname, ())
        seen = [item for item in claims if scope.sees(item)]
        if not seen and claims and self._is_led_to(hostname, scope):
            seen = [item for item in claims if scope.is_offered(item)]
        own = (item for item in seen if item.namespace == scope.namespace)
        return next(own, seen[0] if seen else None)

    def endpoints(self, service: Service) -> tuple[Endpoint, ...]:
        """Where a service is to be called, over all of its ports."""
        found = self.all_endpoints(service)
        return found if service.publishes_not_ready else tuple(item for item in found if item.healthy)

    def all_endpoints(self, service: Service) -> tuple[Endpoint, ...]:
        """As `endpoints`, with those that are not ready."""
        return self.registry.endpoints.get((service.source, service.hostname), ())

    def resolve_host(self, host: str, namespace: str) -> str:
        """The FQDN that a name means in a rule of a namespace."""
        possible = possible_hosts(host, namespace, self.settings.cluster_domain)
        return next((name for name in possible if name in self.registry.services), possible[0])

    def hosts_on_port(self, port: int) -> frozenset[str]:
        return self.registry.by_port.get(port, frozenset())

    def hosts_at(self, address: str, port: int) -> frozenset[str]:
        """The hosts of services that may carry other protocols than HTTP at an address."""
        return self.registry.by_address.get((address, port), frozenset())

    def services_selecting(self, namespace: str, labels: Mapping[str, str]) -> list[Service]:
        """The services that a workload belongs to, core Services first, then by hostname."""
        found: set[Service] = set()
        for name, value in labels.items():
            for ref in self.registry.selectors.get((namespace, name, value), ()):
                for service in self.registry.sources.get(ref, ()):
                    if dict(service.selector).items() <= labels.items():
                        found.add(service)
        return sorted(found, key=lambda item: (item.source.kind != "Service", item.hostname))

    # Rules

    def virtual_service(self, hostname: str, scope: Scope) -> Resource[VirtualServiceSpec] | None:
        """The VirtualService that counts for a host at sidecars: of those that they see the one with the
        most specific host, of several the oldest. Its delegates' rules are in place."""
        for pattern in patterns_for(hostname):
            for item in self.rules.virtual_services.get(pattern, ()):
                if scope.sees_rules(item, pattern):
                    return self.merged(item).resource
        return None

    def _is_led_to(self, hostname: str, scope: Scope) -> bool:
        """Does a VirtualService, or a route of a service, that a client's Sidecar lets it see send to a host?
        Then it has to know that host, whatever its Sidecar says."""
        if scope.egress is None:
            return False
        routes = (self.resource(ref) for ref in self.rules.backing.get(hostname, ()))
        if any(route is not None and self._sees_route(route, scope) for route in routes):
            return True
        return any(
            scope.sees_rules(item, host)
            for ref in self.rules.referring.get(hostname, ())
            for item in self._roots(ref)
            for host in hosts_of(item, self.settings.cluster_domain)
        )

    def _sees_route(self, route: Resource[Any], scope: Scope) -> bool:
        """May a route of the Gateway API count for a client, being attached to a service that it sees?"""
        return any(
            scope.sees(service) and route.namespace in (service.namespace, scope.namespace)
            for service in parent_services(self.registry, route, self.settings.cluster_domain)
        )

    def _roots(self, ref: Ref) -> Iterator[Resource[VirtualServiceSpec]]:
        """A VirtualService for sidecars, or, if it is a delegate, those that delegate to it."""
        item = self.resource(ref)
        refs = self.rules.delegating.get(ref, ()) if item is not None and is_delegate(item) else (ref,)
        found = (self.resource(root) for root in refs)
        return (root for root in found if root is not None and speaks_for_mesh(root))

    def service_routes(self, service: Service, port: Port, namespace: str) -> tuple[Resource[Any], ...]:
        """The routes of the Gateway API for a service's port that count for clients of a namespace."""
        table = self.rules.service_routes
        if not table:
            return ()
        return attached_routes(table, service, port, namespace, self.settings.cluster_domain)

    def merged(self, item: Resource[VirtualServiceSpec]) -> Merged:
        """A VirtualService, which may be one of `virtual_service`, with its delegates' rules in place."""
        key = (delegation.merge, item.ref)
        found: Merged | None = self.memo.get(key)
        if found is None:
            written = self.resource(item.ref) or item
            found = self.memo[key] = delegation.merge(written, self.resource, self.settings.cluster_domain)
        return found

    def destination_rule(
        self, hostname: str, namespace: str, labels: Mapping[str, str]
    ) -> DestinationPolicy | None:
        """The DestinationRules that count for calls of a service from a workload."""
        service = self.registry.services.get(hostname)
        candidates = self._destination_rules(hostname)
        if service is None or not candidates:
            return None
        for place in dict.fromkeys((namespace, service.namespace, self.settings.root_namespace)):
            for items in candidates:
                found = [
                    item
                    for item in items
                    if item.namespace == place and is_exported(item.spec.export_to, place, namespace)
                ]
                policy = policy_for(found, labels if place == namespace else None)
                if policy is not None:
                    return policy
        return None

    def tells_clients_apart(self, hostname: str, namespace: str) -> bool:
        """Are there DestinationRules for a service that hold for some workloads of a namespace only?"""
        return any(
            item.namespace == namespace and is_selective(item)
            for items in self._destination_rules(hostname)
            for item in items
        )

    def _destination_rules(self, hostname: str) -> list[tuple[Resource[DestinationRuleSpec], ...]]:
        """Those of each host that covers a service's, the most specific first."""
        table = self.rules.destination_rules
        return [table[pattern] for pattern in patterns_for(hostname) if pattern in table] if table else []

    def unknown_hosts(self, scope: Scope) -> Iterator[str]:
        """Hosts of VirtualServices that are no service's (and, if wildcards, cover none)."""
        return (host for host in self.rules.virtual_services if self.is_unknown(host, scope))

    def is_unknown(self, host: str, scope: Scope) -> bool:
        """Is this a host without any service, of a VirtualService that a client sees?"""
        found = self.rules.virtual_services.get(host, ())
        items = [item for item in found if scope.sees_rules(item, host)]
        if not items or host in self.registry.services:
            return False
        if host.startswith("*"):
            return not any(host_matches(host, name) for name in self.registry.services)
        return any(
            self.resolve_host(name, item.namespace) == host for item in items for name in item.spec.hosts
        )

    def policy(self, kind: tuple[str, str], target: Ref, *sections: str | None) -> Resource[Any] | None:
        """The policy of a kind for the first of these sections of a target that has one (None: the whole
        target)."""
        attached = self.rules.policies.get(target, ())
        found = (attached_policy(attached, kind, target, section) for section in sections if attached)
        return next((item for item in found if item is not None), None)

    def peer_policy(self, namespace: str, labels: Mapping[str, str]) -> PeerPolicy:
        """Which inbound connections a workload accepts."""
        return resolve_policy(
            self.rules.peer_authentications, self.settings.root_namespace, namespace, labels
        )

    def calls_with_mtls(self, endpoint: Endpoint, port: Port | None) -> bool:
        """Do proxies use mTLS with an endpoint of a service port? Not if its policy turned it off. A policy
        names the workload's port, which need not be the one at which its proxy listens."""
        if not endpoint.mtls or not self.rules.peer_authentications:
            return endpoint.mtls
        policy = self.peer_policy(endpoint.namespace, dict(endpoint.labels))
        return policy.for_port(endpoint.port, *numbers_of(port)) is not MtlsMode.DISABLE

    def patch_sets(self, namespace: str, labels: Mapping[str, str]) -> Iterator[PatchSet]:
        """Those for a workload, in the order in which they are applied: first the root namespace's, then
        its own (istio.io, "Envoy Filter")."""
        for place in dict.fromkeys((self.settings.root_namespace, namespace)):
            for item in self.rules.patches.get(place, ()):
                if item.selection.selects(namespace, labels):
                    yield item

    def scope(self, proxy: Proxy) -> Scope:
        """What a proxy sees of the mesh. Sidecar resources are for sidecars: a gateway sees what is exported
        to its namespace (istio.io, "Sidecar" reference)."""
        client = proxy.workloads[0]
        key = (scope_of, proxy.role, client.namespace, client.labels)
        found: Scope | None = self.memo.get(key)
        if found is None:
            is_gateway = proxy.role is Role.GATEWAY
            sidecar = None if is_gateway else self.sidecar(client.namespace, dict(client.labels))
            found = scope_of(sidecar, client.namespace, self.settings.allow_any_outbound)
            self.memo[key] = found
        return found

    def sidecar(self, namespace: str, labels: Mapping[str, str]) -> Resource[SidecarSpec] | None:
        """The Sidecar that counts for a workload."""
        return select_sidecar(self.rules.sidecars, self.settings.root_namespace, namespace, labels)


def empty(settings: MeshSettings) -> MeshSnapshot:
    """A mesh without anything; the first `ChangeSet` advances it to the first real one."""
    return MeshSnapshot(settings)


def advance(snapshot: MeshSnapshot, change: ChangeSet) -> tuple[MeshSnapshot, Impact]:
    """The snapshot after a change, and what the change touches. The cost follows the change."""
    step = Advance(snapshot.settings, snapshot.kinds, snapshot.registry, snapshot.rules)
    for ref in change.removed:
        step.put(ref, None)
    for resource in change.changed:
        step.put(resource.ref, resource)
    for keys in change.keys:
        step.fetched(keys)
    kinds, registry, rules, impact = step.finish()
    if not snapshot.resource_version:
        impact = replace(impact, everything=True)
    settings = snapshot.settings
    if step.is_configured_anew:
        settings = configured(settings, kinds[MESH_CONFIG[:2]].get(MESH_CONFIG))
    advanced = MeshSnapshot(settings, change.resource_version, kinds, registry, rules)
    if not (impact.gateways or impact.everything):
        advanced = replace(advanced, kept=snapshot.kept)
    return advanced, impact
