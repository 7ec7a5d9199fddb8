"""What the compiler produces: named, versioned, serialised Envoy resources and recipes for them."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.message import Message

from marline.api.resource import Ref

_PREFIX: Final = "type.googleapis.com/"
CLUSTER: Final = _PREFIX + "envoy.config.cluster.v3.Cluster"
ENDPOINT: Final = _PREFIX + "envoy.config.endpoint.v3.ClusterLoadAssignment"
LISTENER: Final = _PREFIX + "envoy.config.listener.v3.Listener"
ROUTE: Final = _PREFIX + "envoy.config.route.v3.RouteConfiguration"
VIRTUAL_HOST: Final = _PREFIX + "envoy.config.route.v3.VirtualHost"
SECRET: Final = _PREFIX + "envoy.extensions.transport_sockets.tls.v3.Secret"

MAKE_ORDER: Final = (SECRET, CLUSTER, ENDPOINT, LISTENER, ROUTE, VIRTUAL_HOST)
"""Make before break: what is referred to goes first (Envoy documentation, "Eventual consistency
considerations"). Removals go in the reverse order, last."""


@dataclass(frozen=True, slots=True)
class Blob:
    """One Envoy resource, serialised once; the same bytes go to every proxy that needs it."""

    type_url: str
    name: str
    version: str
    """A digest of the bytes: equal content has an equal version, also after a restart."""
    payload: bytes
    sources: tuple[Ref, ...] = ()
    """The resources at fault if Envoy rejects it."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to build one Envoy resource: a pure function and its arguments, which are the cache key."""

    type_url: str
    name: str
    build: Callable[..., Message]
    inputs: tuple[Any, ...]
    sources: tuple[Ref, ...] = ()

    def make(self) -> Blob:
        payload = self.build(*self.inputs).SerializeToString(deterministic=True)
        version = hashlib.blake2b(payload, digest_size=8).hexdigest()
        return Blob(self.type_url, self.name, version, payload, self.sources)
