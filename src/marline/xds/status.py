"""What each connected proxy has: the answer of `GET /marline/v1/proxies`, at both of its ends.

Plain JSON values, so that the command line reads them without protobuf or gRPC.
"""

from typing import Final

import msgspec

from marline.mesh.model import Proxy

PATH: Final = "/marline/v1/proxies"
SETTLED_AT: Final = "settledAt"
"""Query parameter: answer when all proxies have what follows from this resourceVersion …"""
CONNECTED: Final = "connected"
"""… and so many are connected …"""
TIMEOUT_SECONDS: Final = "timeoutSeconds"
"""… or when so many seconds are over; the states tell which."""
MAX_TIMEOUT_SECONDS: Final = 300.0
DESCRIBED: Final = "described"
"""Query parameter, `true`: say also what each proxy says of itself (`ProxyStatus.proxy`)."""

SYNCED: Final = "SYNCED"
"""It has acknowledged all that it should have."""
PENDING: Final = "PENDING"
"""Something was sent, or waits for what was sent before, and is not acknowledged yet."""
REJECTED: Final = "REJECTED"
"""It keeps the last good version of something whose newest version it refused."""


class Rejected(msgspec.Struct, frozen=True, rename="camel"):
    """One Envoy resource that a proxy refuses."""

    type_url: str
    name: str
    message: str
    """Envoy's own words."""


class TypeStatus(msgspec.Struct, frozen=True, rename="camel"):
    """The resources of one type."""

    type_url: str
    state: str
    subscribed: int
    """How many of its view the proxy has asked for."""
    acknowledged: int
    """How many of those it has in their newest version."""


class ProxyStatus(msgspec.Struct, frozen=True, rename="camel"):
    """One connected proxy."""

    node_id: str
    role: str
    """`sidecar`, `gateway` or `node`."""
    namespace: str
    name: str
    """Of its (first) workload."""
    state: str
    """The worst of its types' states."""
    connected_at: float
    """Seconds since the epoch."""
    types: tuple[TypeStatus, ...] = ()
    rejections: tuple[Rejected, ...] = ()
    proxy: Proxy | None = None
    """What its node metadata says, if that was asked for."""


class ProxyList(msgspec.Struct, frozen=True, rename="camel"):
    """All proxies, by node id."""

    proxies: tuple[ProxyStatus, ...] = ()
    resource_version: str = ""
    """The newest that the control plane has compiled."""
