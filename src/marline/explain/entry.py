"""How a request gets into a proxy: which listener and filter chain take the connection, and what the proxy
then reads."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

from marline.compile.gateway_server import listen_port
from marline.compile.outbound_listener import ANY_ADDRESS
from marline.compile.resource import LISTENER
from marline.compile.routes import HTTP_PROXY
from marline.explain.connections import Connection, chain_for, terminates_tls
from marline.explain.naming import Named
from marline.explain.origin import Place
from marline.explain.request import Request
from marline.explain.steps import Detail, Step
from marline.explain.target import HTTP, HTTPS, TCP, WELL_KNOWN, Target, is_address
from marline.explain.view import CompiledView
from marline.mesh.model import Capture, Role
from marline.mesh.names import name_table

TOPIC: Final = "listener"
_OFFERED: Final = {HTTP: ("http/1.1",), HTTPS: ("h2", "http/1.1"), TCP: ()}
"""What a client's first bytes say of its protocol: plain HTTP itself, TLS by ALPN."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A connection that a proxy has taken, or (without a chain) that goes nowhere."""

    steps: tuple[Step, ...]
    chain: Any = None
    connection: Connection | None = None
    request: Request | None = None
    """None: the proxy reads no HTTP on this connection."""
    listener: str = ""
    bypasses: bool = False
    """The proxy never sees the connection."""


def enter(view: CompiledView, named: Named) -> Entry:
    """The way of a target's connection into the source's own proxy. Raises `CannotTell`."""
    if view.proxy.role is Role.GATEWAY:
        return _enter_gateway(view, named.target)
    if view.proxy.capture is Capture.EXPLICIT:
        return _enter_explicit(view, named)
    return _enter_captured(view, named)


def _connection(target: Target, address: str, port: int) -> Connection:
    tls = target.scheme == HTTPS
    name = target.host if tls and not is_address(target.host) else ""
    return Connection(address, port, tls, name, _OFFERED[target.scheme])


def authority_of(target: Target) -> str:
    """The Host header that clients send: a port that goes without saying is left out."""
    host = f"[{target.host}]" if ":" in target.host else target.host
    return host if target.port == WELL_KNOWN.get(target.scheme) else f"{host}:{target.port}"


def _request(target: Target, authority: str, scheme: str = HTTP) -> Request:
    return Request(target.authority or authority, target.method, target.path, scheme, target.other_headers)


def _take(
    view: CompiledView,
    listener: Any,
    connection: Connection,
    said: str,
    request: Request | None,
    details: Iterable[Detail] = (),
) -> Entry:
    chain = chain_for(listener, connection)
    sources = view.sources(LISTENER, listener.name)
    place = Place.at(sources[0]) if sources else None
    if chain is None:
        closed = f"{said}; no filter chain is for such a connection: it is closed"
        return Entry((Step(TOPIC, closed, place, tuple(details)),))
    step = Step(TOPIC, f"{said}, filter chain {chain.name or 'without name'}", place, tuple(details))
    readable = request if terminates_tls(chain) or not connection.tls else None
    return Entry((step,), chain, connection, readable, listener.name)


# Transparent capture


def _enter_captured(view: CompiledView, named: Named) -> Entry:
    target = named.target
    address, details = _address(view, target)
    if address is None:
        said = f"{target.host} has no address: the mesh's own domain has no such name"
        return Entry((Step(TOPIC, said, None, tuple(details)),))
    connection = _connection(target, address, target.port)
    request = _request(target, authority_of(target)) if target.scheme == HTTP else None
    for name in (f"{address}_{target.port}", f"{ANY_ADDRESS}_{target.port}", "virtualOutbound"):
        listener = view.listener(name)
        if listener is not None:
            said = f"the connection to {address or target.host}:{target.port} is taken by {name}"
            return _take(view, listener, connection, said, request, details)
    return Entry((Step(TOPIC, "the proxy has no listener for outbound traffic", None),))


def _address(view: CompiledView, target: Target) -> tuple[str | None, list[Detail]]:
    """What the name resolves to inside the workload's namespace; "": other resolvers say it; None: there
    is nothing to resolve to."""
    if is_address(target.host):
        return target.host, []
    table = name_table(view.snapshot)
    found = table.lookup(target.host.lower(), view.proxy.workloads[0].namespace)
    if found is None:
        return "", [Detail(f"{target.host} is resolved outside of the mesh")]
    if not found:
        return None, []
    return found[0], [Detail(f"{target.host} resolves to {found[0]}")]


# Explicit capture


def _enter_explicit(view: CompiledView, named: Named) -> Entry:
    target, workload = named.target, view.proxy.workloads[0]
    for upstream in workload.upstreams:
        same = view.snapshot.resolve_host(upstream.host, workload.namespace) == named.hostname
        if same and upstream.port == target.port:
            return _enter_upstream(view, target, upstream.listen)
    if target.scheme == TCP or not workload.http_proxy_port:
        said = f"{target.host}:{target.port} is no declared upstream: the connection goes around the mesh"
        return Entry((Step(TOPIC, said, None),), bypasses=True)
    listener = view.listener(HTTP_PROXY)
    if listener is None:
        return Entry((Step(TOPIC, "the proxy has no listener for HTTP_PROXY", None),))
    said = "no upstream is declared for it; the application uses its HTTP proxy"
    request = _request(target, authority_of(target))
    if target.scheme == HTTPS:
        tunnel = f"{target.host}:{target.port}"
        request = Request(tunnel, "CONNECT", "", HTTP)
        said += f" with CONNECT {tunnel}"
    plain = replace(target, scheme=HTTP)
    connection = _connection(plain, view.proxy.bind_address, workload.http_proxy_port)
    return _take(view, listener, connection, said, request)


def _enter_upstream(view: CompiledView, target: Target, listen: int) -> Entry:
    listener = view.listener(f"explicit_{listen}")
    local = f"{view.proxy.bind_address or '127.0.0.1'}:{listen}"
    if listener is None:
        said = f"it is the declared upstream at {local}, but the mesh has no such service: nobody listens"
        return Entry((Step(TOPIC, said, None),))
    connection = _connection(target, view.proxy.bind_address or "127.0.0.1", listen)
    # The application is told a loopback address, so that is what its Host header says.
    request = _request(target, local) if target.scheme == HTTP else None
    said = f"it is a declared upstream: {local} stands for it"
    return _take(view, listener, connection, said, request)


# Gateways


def _enter_gateway(view: CompiledView, target: Target) -> Entry:
    number = listen_port(view.proxy, target.port)
    places = {item.address.socket_address.port_value: item for item in view.listeners()}
    listener = places.get(number) or places.get(target.port)
    if listener is None:
        known = ", ".join(str(port) for port in sorted(places)) or "none"
        said = f"the gateway does not listen for port {target.port} (it has {known}): nobody answers"
        return Entry((Step(TOPIC, said, None),))
    port = listener.address.socket_address.port_value
    connection = _connection(target, listener.address.socket_address.address, port)
    scheme = HTTPS if target.scheme == HTTPS else HTTP
    request = _request(target, authority_of(target), scheme) if target.scheme != TCP else None
    said = f"port {target.port} of the gateway is {connection.address}:{port}"
    return _take(view, listener, connection, said, request)
