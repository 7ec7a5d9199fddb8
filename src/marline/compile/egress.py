"""Egress listeners of a Sidecar that are somewhere of their own: an address and port, or a Unix socket.

istio.io, "Sidecar" reference (`egress`: `port`, `bind`, `captureMode`). Without capture (`captureMode: NONE`,
and DEFAULT under explicit capture) an application finds the listener at its port, on loopback unless `bind`
says where. Where traffic is captured, `bind` is the address that the application believes to connect to.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from marline.api.resource import Ref
from marline.compile.outbound import service_chains
from marline.compile.outbound_listener import OutboundListener, TcpChain, build_outbound_listener
from marline.compile.passthrough import table_recipes, unknown_cluster
from marline.compile.resource import LISTENER, Recipe
from marline.compile.routes import HTTP_PORT, carries_http, virtual_host_recipe
from marline.compile.routes_l4 import disjoint
from marline.compile.telemetry import source_reporter
from marline.mesh.model import Capture, Port, Protocol, Proxy, Role, Service
from marline.mesh.protocol import select_protocol
from marline.mesh.snapshot import MeshSnapshot
from marline.mesh.visibility import Egress, Scope

_LOOPBACK: Final = "127.0.0.1"
_TLS: Final = (Protocol.TLS, Protocol.HTTPS)


def own_listeners(proxy: Proxy, scope: Scope) -> tuple[Egress, ...]:
    """The egress listeners that a proxy has of its own."""
    if proxy.role is Role.GATEWAY:
        return ()
    return tuple(item for item in scope.egress or () if _is_own(proxy, item))


def _is_own(proxy: Proxy, listener: Egress) -> bool:
    if listener.is_socket:
        return True
    if not listener.port:
        return False
    return _binds(proxy, listener) or (proxy.capture is Capture.TRANSPARENT and bool(listener.bind))


def _binds(proxy: Proxy, listener: Egress) -> bool:
    """Does it listen itself, rather than take over what was captured?"""
    if listener.is_socket or listener.capture == "NONE":
        return True
    return listener.capture == "DEFAULT" and proxy.capture is Capture.EXPLICIT


def table_name(listener: Egress) -> str:
    """The route table of a listener that has one of its own."""
    return f"egress_{listener.bind.replace('/', '_') or _LOOPBACK}_{listener.port}"


def is_http(listener: Egress) -> bool:
    return select_protocol(listener.port, listener.protocol).is_http


def egress_host_recipes(
    snapshot: MeshSnapshot, proxy: Proxy, scope: Scope, service: Service
) -> Iterator[Recipe]:
    """The virtual hosts of a service in the tables of those listeners."""
    for listener in own_listeners(proxy, scope):
        if not is_http(listener) or not listener.is_for(service, scope.namespace):
            continue
        ports = [port for port in service.ports if listener.port in (0, port.number) and carries_http(port)]
        for port in ports:
            bare = port is _usual(ports)
            yield virtual_host_recipe(snapshot, proxy, service, port, table_name(listener), bare=bare)


def _usual(ports: list[Port]) -> Port:
    """Which a host without a port means: behind a Unix socket all ports of a service are found."""
    return next((port for port in ports if port.number == HTTP_PORT), ports[0])


def egress_recipes(snapshot: MeshSnapshot, proxy: Proxy, scope: Scope) -> Iterator[Recipe]:
    """The listeners, and the tables of those that carry HTTP."""
    unknown = unknown_cluster(scope, snapshot.settings.cluster_domain)
    for listener in own_listeners(proxy, scope):
        name, workload = table_name(listener), proxy.workloads[0]
        chains: tuple[TcpChain, ...] = ()
        sources: tuple[Ref, ...] = ()
        if not is_http(listener):
            chains, sources = _opaque(snapshot, proxy, scope, listener)
            if not chains:
                continue
        made = OutboundListener(
            name=name,
            address=listener.bind or proxy.bind_address or _LOOPBACK,
            port=listener.port,
            reporter=source_reporter(workload, snapshot.settings.trust_domain),
            table=name if is_http(listener) else "",
            paths=snapshot.settings.path_normalization,
            chains=tuple(chain for chain in chains if not chain.is_catch_all),
            fallback=next((chain.route for chain in chains if chain.is_catch_all), None),
            bind=_binds(proxy, listener),
            server_first=True,
            netns=workload.netns,
        )
        yield Recipe(LISTENER, name, build_outbound_listener, (made,), sources)
        if is_http(listener):
            yield from table_recipes(name, unknown)


def _opaque(
    snapshot: MeshSnapshot, proxy: Proxy, scope: Scope, listener: Egress
) -> tuple[tuple[TcpChain, ...], tuple[Ref, ...]]:
    """Where bytes go: TLS by the name of a service, what else there is to the first of them by hostname."""
    chains: list[TcpChain] = []
    sources: list[Ref] = []
    for hostname in sorted(snapshot.hosts_on_port(listener.port)):
        service = snapshot.service(hostname, scope)
        port = service.port(listener.port) if service is not None else None
        if service is None or port is None or port.protocol is Protocol.UDP:
            continue
        if not listener.is_for(service, scope.namespace):
            continue
        sources.append(service.source)
        for chain in service_chains(snapshot, proxy, service, port):
            named = port.protocol in _TLS and not chain.sni_hosts
            chains.append(replace(chain, sni_hosts=(service.hostname,)) if named else chain)
    return disjoint(chains), tuple(sources)
