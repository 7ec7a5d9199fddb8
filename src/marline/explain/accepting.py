"""Which kinds of connections a workload's proxy takes on one of its ports."""

from marline.compile.tls import SNI_SUFFIX
from marline.explain.connections import Connection, chain_for, terminates_tls
from marline.explain.request import CannotTell
from marline.explain.view import CompiledView
from marline.mesh.model import Capture, InboundPort, Proxy

_SERVER_NAME = f"any.{SNI_SUFFIX}"


def accepted(view: CompiledView, proxy: Proxy, port: InboundPort) -> frozenset[str]:
    """Of `mtls` and `plain` those that it takes."""
    number = proxy.inbound_capture_port if proxy.capture is Capture.TRANSPARENT else port.listen
    listeners = [item for item in view.listeners() if item.address.socket_address.port_value == number]
    found = set()
    for kind, tls in (("mtls", True), ("plain", False)):
        connection = Connection("127.0.0.1", port.listen, tls, _SERVER_NAME if tls else "", ("http/1.1",))
        try:
            chain = chain_for(listeners[0], connection) if listeners else None
        except CannotTell:
            continue
        if chain is not None and terminates_tls(chain) == tls:
            found.add(kind)
    return frozenset(found)
