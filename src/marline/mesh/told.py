"""Who may be told something else of itself after a change: Gateways, ListenerSets, their routes, policies.

What a Gateway or a ListenerSet is told depends on its relatives, whose listeners may want the same as its
own, and on the routes at them; what routes are told depends on what they are attached to.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from marline.api.gateway_api.gateway import GatewaySpec
from marline.api.resource import Ref, Resource
from marline.mesh.gateway_reads import DEFAULT_ROUTES
from marline.mesh.gateway_routes import DEFAULT_GATEWAYS, owner_key, owners, parent_gateway
from marline.mesh.rules import API_GATEWAY, LISTENER_SET, Rules
from marline.mesh.service_routes import GROUP, backend_hosts

Present = Callable[[Ref], Resource[Any] | None]


class Told:
    """Collected while a step from one snapshot to the next is made."""

    def __init__(self, cluster_domain: str, present: Present) -> None:
        self._domain = cluster_domain
        self._present = present
        self.routes: set[Ref] = set()
        """Routes and BackendTLSPolicies."""
        self.servers: set[Ref] = set()
        """Gateways and ListenerSets."""
        self.everyone = False

    def follow_server(self, rules: Rules, item: Resource[Any]) -> None:
        """A version of a Gateway or a ListenerSet; Istio's have no relatives."""
        kind = (item.group, item.kind)
        if kind not in (API_GATEWAY, LISTENER_SET):
            return
        gateway = item.ref if kind == API_GATEWAY else parent_gateway(item)
        siblings = rules.listener_sets.get(gateway, ()) if gateway is not None else ()
        found = {item.ref, *((gateway,) if gateway is not None else ()), *(each.ref for each in siblings)}
        self.servers |= found
        keys = [owner_key(ref.kind, ref.namespace, ref.name) for ref in found]
        if isinstance(item.spec, GatewaySpec) and item.spec.default_scope == "All":
            keys.append(DEFAULT_GATEWAYS)
        for ref in (ref for key in keys for ref in rules.naming.get(key, ())):
            self.routes.add(ref)
            route = self._present(ref)
            if route is not None:
                self.follow_led_policies(rules, backend_hosts(route, self._domain))

    def follow_readers(self, rules: Rules, names: Iterable[str]) -> bool:
        """Does a gateway read something of what has changed (`gateway_reads`)?"""
        found = {ref for name in names for ref in rules.gateway_reads.get(name, ())}
        for ref in found:
            item = self._present(ref)
            if item is not None:
                self.follow_server(rules, item)
        return bool(found)

    def follow_attachment(self, rules: Rules, routes: Iterable[Resource[Any]]) -> None:
        """Routes that may come to a listener, or leave it."""
        for route in routes:
            self.routes.add(route.ref)
            self.servers.update(self._named(rules, route))
            self.follow_led_policies(rules, backend_hosts(route, self._domain))

    def _named(self, rules: Rules, route: Resource[Any]) -> Iterator[Ref]:
        for owner in owners(route):
            if owner == DEFAULT_GATEWAYS:
                yield from rules.gateway_reads.get(DEFAULT_ROUTES, ())
            else:
                yield Ref(GROUP, *owner.split("/"))

    def follow_led_policies(self, rules: Rules, hosts: Iterable[str]) -> None:
        """What BackendTLSPolicies say depends on each other, and on who leads to their services."""
        self.routes.update(policy.ref for host in hosts for policy in rules.backend_tls.get(host, ()))
