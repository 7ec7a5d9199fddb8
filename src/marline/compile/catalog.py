"""What a proxy needs, in units: parts of its view that are compiled together.

A change touches some units of some proxies: `affected` names them from the change alone, and
`compile_units` makes their recipes anew; equal recipes make equal resources, which are not sent again.
Whoever keeps a proxy's view replaces a unit's recipes by the new ones, none meaning that the unit is gone.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from marline.api.networking.virtual_service import VirtualServiceSpec
from marline.api.resource import Resource
from marline.compile import locality
from marline.compile.backend_tls import client_certificate
from marline.compile.cluster_spec import Discovery
from marline.compile.clusters import cluster_recipes, discovery_of
from marline.compile.credentials import credential_recipes
from marline.compile.egress import egress_host_recipes, egress_recipes, is_http, own_listeners
from marline.compile.endpoints import endpoint_recipes
from marline.compile.explicit import http_proxy_recipes, tunnel_recipes, upstream_recipes
from marline.compile.gateway import (
    gateway_host_recipes,
    gateway_hosts,
    gateway_recipes,
    touched_hosts,
)
from marline.compile.gateway_passthrough import (
    passed_cluster_recipes,
    passed_endpoint_recipes,
    passed_hosts,
)
from marline.compile.gateway_plan import gateway_plan
from marline.compile.gateway_server import meant_by
from marline.compile.inbound import inbound_recipes
from marline.compile.outbound import address_recipes, port_recipes, virtual_outbound_recipe
from marline.compile.passthrough import passthrough_recipes
from marline.compile.patch_match import GATEWAY, INBOUND, OUTBOUND, Site
from marline.compile.patched import added_recipes, patched, patches_of
from marline.compile.policy import every_policy
from marline.compile.resource import Recipe
from marline.compile.routes import HTTP_PORT, unknown_host_recipes, virtual_host_recipes
from marline.compile.units import (
    AddedUnit,
    AddressUnit,
    CredentialUnit,
    EgressUnit,
    EndpointsUnit,
    GatewayHostUnit,
    GatewayUnit,
    HostUnit,
    HttpProxyUnit,
    InboundUnit,
    OutboundUnit,
    OwnUnit,
    PortUnit,
    Unit,
    UpstreamUnit,
)
from marline.mesh import rules
from marline.mesh.hosts import host_matches, possible_hosts
from marline.mesh.model import Capture, Impact, Labels, Locality, Proxy, Role, Service, Workload
from marline.mesh.selection import Selection
from marline.mesh.service_routes import backend_hosts
from marline.mesh.snapshot import MeshSnapshot
from marline.mesh.visibility import Scope


def units(snapshot: MeshSnapshot, proxy: Proxy) -> Iterator[Unit]:
    """All units of a proxy, those first that others refer to."""
    yield from _own_units(snapshot, proxy)
    for hostname in _hosts(snapshot, proxy):
        yield HostUnit(hostname)
        yield EndpointsUnit(hostname)
    for name in snapshot.rules.credentials:
        yield CredentialUnit(name)


def _own_units(snapshot: MeshSnapshot, proxy: Proxy) -> Iterator[Unit]:
    yield from _fixed(proxy)
    if proxy.role is Role.GATEWAY:
        yield from (GatewayHostUnit(host) for host in gateway_hosts(snapshot))
    if _captures(proxy):
        for address, port in snapshot.registry.by_address:
            yield AddressUnit(address, port)
        for port in snapshot.registry.by_port:
            yield PortUnit(port)
        if HTTP_PORT not in snapshot.registry.by_port:
            yield PortUnit(HTTP_PORT)


def _hosts(snapshot: MeshSnapshot, proxy: Proxy) -> Iterator[str]:
    yield from snapshot.services
    if proxy.role is not Role.GATEWAY:
        yield from snapshot.unknown_hosts(snapshot.scope(proxy))


def affected(snapshot: MeshSnapshot, proxy: Proxy, impact: Impact) -> Iterable[Unit]:
    """The units that a change may touch, each once, also those that it ends. `snapshot` is the one after
    the change."""
    touched = _affected(snapshot, proxy, impact)
    if impact.everything or any(item.namespace in impact.scopes for item in proxy.workloads):
        # Rules that a Sidecar no longer lets a proxy see may have had hosts that no service has.
        hosts = (HostUnit(hostname) for hostname in snapshot.rules.virtual_services)
        return dict.fromkeys((*units(snapshot, proxy), *hosts, *touched))
    return dict.fromkeys(touched)


def _affected(snapshot: MeshSnapshot, proxy: Proxy, impact: Impact) -> Iterator[Unit]:
    for change in impact.patches:
        if any(_is_selected(change.selection, item) for item in proxy.workloads):
            yield from _own_units(snapshot, proxy)
            hosts = _hosts(snapshot, proxy) if change.every_host else change.hosts
            yield from (HostUnit(hostname) for hostname in hosts)
    for hostname in impact.hosts:
        yield HostUnit(hostname)
    for hostname in impact.hosts | impact.endpoints:
        yield EndpointsUnit(hostname)
    for name in impact.credentials:
        yield CredentialUnit(name)
    if proxy.role is Role.GATEWAY:
        yield from _affected_gateway(snapshot, proxy, impact)
        return
    if _captures(proxy):
        yield from (AddressUnit(address, port) for address, port in impact.addresses)
        yield from (PortUnit(port) for port in impact.ports)
    else:
        yield from _affected_upstreams(snapshot, proxy, impact)
    if impact.hosts and _egress_is_affected(snapshot, proxy, impact):
        yield EgressUnit()
    for index, workload in enumerate(proxy.workloads):
        if (
            "*" in impact.inbound
            or workload.namespace in impact.inbound
            or any(_is_selected(item, workload) for item in impact.selected)
        ):
            yield InboundUnit(index)


def _affected_gateway(snapshot: MeshSnapshot, proxy: Proxy, impact: Impact) -> Iterator[Unit]:
    hosts: Iterable[str] = touched_hosts(snapshot, proxy, impact.gateway_hosts)
    if impact.gateways or any(_is_selected(item, proxy.workloads[0]) for item in impact.selected):
        yield GatewayUnit()
    if impact.gateways:
        hosts = gateway_hosts(snapshot) | impact.gateway_hosts
    yield from (GatewayHostUnit(host) for host in hosts)


def _is_selected(selection: Selection, workload: Workload) -> bool:
    return selection.selects(workload.namespace, dict(workload.labels))


def _affected_upstreams(snapshot: MeshSnapshot, proxy: Proxy, impact: Impact) -> Iterator[Unit]:
    workload = proxy.workloads[0]
    domain = snapshot.settings.cluster_domain
    for upstream in workload.upstreams if impact.hosts else ():
        if not impact.hosts.isdisjoint(possible_hosts(upstream.host, workload.namespace, domain)):
            yield UpstreamUnit(upstream)


def _egress_is_affected(snapshot: MeshSnapshot, proxy: Proxy, impact: Impact) -> bool:
    """Where bytes go stands in the listeners themselves; requests have virtual hosts."""
    scope = snapshot.scope(proxy)
    patterns = {
        pattern
        for listener in own_listeners(proxy, scope)
        if not is_http(listener)
        for _, pattern in listener.hosts
    }
    return any(host_matches(pattern, host) for pattern in patterns for host in impact.hosts)


def _fixed(proxy: Proxy) -> Iterator[Unit]:
    yield AddedUnit()
    yield OutboundUnit()
    if proxy.role is Role.GATEWAY:
        yield GatewayUnit()
        return
    for index in range(len(proxy.workloads)):
        yield InboundUnit(index)
    yield EgressUnit()
    if proxy.capture is Capture.EXPLICIT:
        yield HttpProxyUnit()
        yield from (UpstreamUnit(upstream) for upstream in proxy.workloads[0].upstreams)


def _captures(proxy: Proxy) -> bool:
    return proxy.capture is Capture.TRANSPARENT and proxy.role is not Role.GATEWAY


def compile_unit(snapshot: MeshSnapshot, proxy: Proxy, unit: Unit) -> tuple[Recipe, ...]:
    """The recipes of a unit; none when it does not (or no longer) exist for this proxy."""
    return next(recipes for _, recipes in compile_units(snapshot, proxy, (unit,)))


def compile_units(
    snapshot: MeshSnapshot, proxy: Proxy, wanted: Iterable[Unit]
) -> Iterator[tuple[Unit, tuple[Recipe, ...]]]:
    """`compile_unit` of each; what does not depend on the unit is found out once."""
    compiled = _without_patches(snapshot, proxy, wanted)
    if not snapshot.rules.patches:
        yield from compiled
        return
    chosen = [patches_of(snapshot, proxy, workload) for workload in proxy.workloads]
    for unit, recipes in compiled:
        patches = chosen[unit.workload if isinstance(unit, InboundUnit) else 0]
        if not patches:
            yield unit, recipes
        elif isinstance(unit, AddedUnit):
            yield unit, tuple(added_recipes(patches, proxy.role))
        else:
            yield unit, patched(recipes, patches, _site(snapshot, proxy, unit))


def _site(snapshot: MeshSnapshot, proxy: Proxy, unit: Unit) -> Site:
    """Where the resources of a unit stand, in the words in which patches speak of it."""
    match unit:
        case InboundUnit():
            return Site(INBOUND)
        case UpstreamUnit(upstream):
            return Site(OUTBOUND, ((upstream.listen, upstream.port),))
        case GatewayUnit() | GatewayHostUnit():
            listening = dict.fromkeys(item.place.port for item in gateway_plan(snapshot, proxy).listeners)
            return Site(
                GATEWAY, tuple((port, number) for port in listening for number in meant_by(proxy, port))
            )
    return Site(GATEWAY if proxy.role is Role.GATEWAY else OUTBOUND)


def _without_patches(
    snapshot: MeshSnapshot, proxy: Proxy, wanted: Iterable[Unit]
) -> Iterator[tuple[Unit, tuple[Recipe, ...]]]:
    scope = snapshot.scope(proxy)
    common = _common(snapshot, proxy, scope)
    for unit in wanted:
        if isinstance(unit, (HostUnit, EndpointsUnit)):
            yield unit, _shared_recipes(snapshot, proxy, scope, common, unit)
        else:
            yield unit, _own_recipes(snapshot, proxy, scope, unit)


def _own_recipes(snapshot: MeshSnapshot, proxy: Proxy, scope: Scope, unit: OwnUnit) -> tuple[Recipe, ...]:
    match unit:
        case InboundUnit(index):
            return inbound_recipes(snapshot, proxy, proxy.workloads[index])
        case CredentialUnit(name):
            return credential_recipes(snapshot, proxy, name)
        case GatewayUnit():
            return gateway_recipes(snapshot, proxy)
        case GatewayHostUnit(host):
            return gateway_host_recipes(snapshot, proxy, host)
        case PortUnit(port):
            return port_recipes(snapshot, proxy, scope, port)
        case AddressUnit(address, port):
            return address_recipes(snapshot, proxy, scope, address, port)
        case UpstreamUnit(upstream):
            return upstream_recipes(snapshot, proxy, scope, upstream)
        case EgressUnit():
            return tuple(egress_recipes(snapshot, proxy, scope))
        case HttpProxyUnit():
            return http_proxy_recipes(snapshot, proxy, scope)
        case AddedUnit():
            return ()
        case OutboundUnit():
            clusters = passthrough_recipes(proxy.capture, snapshot.settings.connect_seconds)
            if _captures(proxy):
                return (*clusters, virtual_outbound_recipe(snapshot, proxy, scope))
            return clusters


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the rules of a host ask about a client, beside its view; of a client: the answers."""

    labels: bool = False
    locality: bool = False

    def answers(self, client: Workload) -> tuple[Labels, Locality | None]:
        return client.labels if self.labels else (), client.locality if self.locality else None


@dataclass(frozen=True, slots=True, eq=False)
class _Common:
    """What proxies with the same view have in common, as far as one of them has asked for it."""

    recipes: dict[tuple[HostUnit | EndpointsUnit, tuple[Labels, Locality | None]], tuple[Recipe, ...]] = (
        field(default_factory=dict)
    )
    """With the answers that they depend on."""
    asked: dict[str, _Asked] = field(default_factory=dict)
    """By host."""


def _common(snapshot: MeshSnapshot, proxy: Proxy, scope: Scope) -> _Common:
    view = (
        _common,
        client_certificate(snapshot, proxy),
        proxy.role,
        proxy.capture,
        proxy.system_ca_file,
        _routes_by_host(proxy),
        passed_hosts(snapshot, proxy),
        scope,
    )
    found: _Common | None = snapshot.memo.get(view)
    if found is None:
        found = snapshot.memo[view] = _Common()
    return found


def _shared_recipes(
    snapshot: MeshSnapshot, proxy: Proxy, scope: Scope, common: _Common, unit: HostUnit | EndpointsUnit
) -> tuple[Recipe, ...]:
    asked = common.asked.get(unit.hostname)
    if asked is None:
        asked = common.asked[unit.hostname] = _asked(snapshot, scope, unit.hostname)
    key = (unit, asked.answers(proxy.workloads[0]))
    found = common.recipes.get(key)
    if found is None:
        make = _host_recipes if isinstance(unit, HostUnit) else _endpoints_recipes
        found = common.recipes[key] = tuple(make(snapshot, proxy, scope, unit.hostname))
    return found


def _asked(snapshot: MeshSnapshot, scope: Scope, hostname: str) -> _Asked:
    routes = snapshot.virtual_service(hostname, scope)
    labels = routes is not None and _routes_ask_for_labels(snapshot, scope, routes)
    service = snapshot.service(hostname, scope)
    if service is not None and not labels:
        labels = _service_routes_ask_for_labels(snapshot, scope, service)
    if service is None:
        return _Asked(labels)
    if snapshot.tells_clients_apart(hostname, scope.namespace):
        return _Asked(labels=True, locality=True)
    policies = tuple(every_policy(snapshot.destination_rule(hostname, scope.namespace, {}), service))
    return _Asked(
        labels or any(locality.asks_for_labels(item, service) for item in policies),
        any(locality.asks_for_locality(item, service) for item in policies),
    )


def _routes_ask_for_labels(
    snapshot: MeshSnapshot, scope: Scope, routes: Resource[VirtualServiceSpec]
) -> bool:
    if rules.asks_for_labels(routes.spec):
        return True
    hosts = {item.host for item in rules.destinations(routes.spec)}
    names = (snapshot.resolve_host(host, routes.namespace) for host in hosts)
    return any(snapshot.tells_clients_apart(name, scope.namespace) for name in names)


def _service_routes_ask_for_labels(snapshot: MeshSnapshot, scope: Scope, service: Service) -> bool:
    domain = snapshot.settings.cluster_domain
    return any(
        snapshot.tells_clients_apart(host, scope.namespace)
        for port in service.ports
        for route in snapshot.service_routes(service, port, scope.namespace)
        for host in backend_hosts(route, domain)
    )


def _host_recipes(snapshot: MeshSnapshot, proxy: Proxy, scope: Scope, hostname: str) -> Iterator[Recipe]:
    service = snapshot.service(hostname, scope)
    if service is not None:
        yield from cluster_recipes(snapshot, proxy, service, proxy.workloads[0])
        yield from passed_cluster_recipes(snapshot, proxy, service, proxy.workloads[0])
        yield from egress_host_recipes(snapshot, proxy, scope, service)
    if not _routes_by_host(proxy):
        return
    if service is not None:
        callable_ports = scope.narrowed(service)
        yield from virtual_host_recipes(snapshot, proxy, callable_ports)
        if proxy.capture is Capture.EXPLICIT:
            yield from tunnel_recipes(snapshot, proxy, callable_ports)
    elif snapshot.is_unknown(hostname, scope):
        yield from unknown_host_recipes(snapshot, proxy, hostname)


def _routes_by_host(proxy: Proxy) -> bool:
    """Does the proxy have tables of virtual hosts? Gateways have tables of their own."""
    if proxy.role is Role.GATEWAY:
        return False
    return proxy.capture is Capture.TRANSPARENT or bool(proxy.workloads[0].http_proxy_port)


def _endpoints_recipes(snapshot: MeshSnapshot, proxy: Proxy, scope: Scope, hostname: str) -> Iterator[Recipe]:
    service = snapshot.service(hostname, scope)
    if service is not None and discovery_of(service, proxy) is Discovery.EDS:
        yield from endpoint_recipes(snapshot, proxy, service, proxy.workloads[0])
        yield from passed_endpoint_recipes(snapshot, proxy, service, proxy.workloads[0])
