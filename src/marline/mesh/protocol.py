"""Protocol selection: `appProtocol`, then the prefix of the port's name, else detection.

Istio, "Protocol Selection" (istio.io/latest/docs/ops/configuration/traffic-management/protocol-selection).
"""

from typing import Final

from marline.mesh.model import Protocol

_BY_NAME: Final = {
    "http": Protocol.HTTP,
    "http2": Protocol.HTTP2,
    "grpc": Protocol.GRPC,
    "grpc-web": Protocol.GRPC,
    "https": Protocol.HTTPS,
    "tls": Protocol.TLS,
    "tcp": Protocol.TCP,
    "udp": Protocol.UDP,
    "mongo": Protocol.TCP,
    "mysql": Protocol.TCP,
    "redis": Protocol.TCP,
    "kubernetes.io/h2c": Protocol.HTTP2,
    "kubernetes.io/ws": Protocol.HTTP,
    "kubernetes.io/wss": Protocol.HTTPS,
}
_SERVER_FIRST: Final = frozenset({25, 3306, 27017})
"""Ports of SMTP, MySQL and MongoDB: the server speaks first, so nothing could be detected there."""


def select_protocol(
    port: int, name: str, app_protocol: str | None = None, transport: str = "TCP"
) -> Protocol:
    """The protocol of a service port; `transport` is TCP, UDP or SCTP."""
    if transport != "TCP":
        return Protocol.UDP
    if app_protocol:
        found = _BY_NAME.get(app_protocol.lower())
        if found is not None:
            return found
    name = name.lower()
    # `grpc-web-x` before `grpc-x`: the longest known prefix decides.
    for known in (name, *_prefixes(name)):
        found = _BY_NAME.get(known)
        if found is not None:
            return found
    return Protocol.TCP if port in _SERVER_FIRST else Protocol.AUTO


def _prefixes(name: str) -> list[str]:
    parts = name.split("-")
    return ["-".join(parts[:length]) for length in range(len(parts) - 1, 0, -1)]
