"""What the compiler produces: named, versioned, serialised Envoy resources and recipes for them."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf import any_pb2
from google.protobuf.message import Message

from marline.api.resource import Ref
from marline.mesh.model import PatchId

_PREFIX: Final = "type.googleapis.com/"
CLUSTER: Final = _PREFIX + "envoy.config.cluster.v3.Cluster"
ENDPOINT: Final = _PREFIX + "envoy.config.endpoint.v3.ClusterLoadAssignment"
LISTENER: Final = _PREFIX + "envoy.config.listener.v3.Listener"
ROUTE: Final = _PREFIX + "envoy.config.route.v3.RouteConfiguration"
EXTENSION: Final = _PREFIX + "envoy.config.core.v3.TypedExtensionConfig"
VIRTUAL_HOST: Final = _PREFIX + "envoy.config.route.v3.VirtualHost"
SECRET: Final = _PREFIX + "envoy.extensions.transport_sockets.tls.v3.Secret"

MAKE_ORDER: Final = (SECRET, CLUSTER, ENDPOINT, LISTENER, EXTENSION, ROUTE, VIRTUAL_HOST)
"""Make before break: what is referred to goes first (Envoy documentation, "Eventual consistency
considerations"). Removals go in the reverse order, last."""


@dataclass(frozen=True, slots=True, weakref_slot=True, eq=False)
class Blob:
    """One Envoy resource, serialised once; the same bytes go to every proxy that needs it."""

    type_url: str
    name: str
    version: str
    """A digest of the bytes: equal content has an equal version, also after a restart."""
    wire: bytes
    """A `DeltaDiscoveryResponse` with this resource alone. Encoded messages that are joined make one with
    all their repeated fields (protobuf.dev, "Encoding"), so a response is a head and such bytes."""
    sources: tuple[Ref, ...] = ()
    """The resources at fault if Envoy rejects it."""
    patches: frozenset[PatchId] = frozenset()
    """What of EnvoyFilters and the like is in it."""

    @property
    def is_removed(self) -> bool:
        """Patches took it away: it is no resource, and only says by which."""
        return not self.wire


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to build one Envoy resource: a pure function and its arguments, which are the cache key."""

    type_url: str
    name: str
    build: Callable[..., Message]
    inputs: tuple[Any, ...]
    sources: tuple[Ref, ...] = ()
    _hash: int = field(init=False, compare=False, repr=False)
    """Computed once, since one recipe is looked up for every proxy that shares it."""

    def __post_init__(self) -> None:
        made = hash((self.type_url, self.name, self.build, self.inputs))
        object.__setattr__(self, "_hash", made)

    def __hash__(self) -> int:
        return self._hash

    def make(self) -> Blob:
        return self.blob(self.build(*self.inputs), self.sources)

    def blob(
        self, message: Message, sources: tuple[Ref, ...], patches: frozenset[PatchId] = frozenset()
    ) -> Blob:
        payload = message.SerializeToString(deterministic=True)
        if not payload:
            return Blob(self.type_url, self.name, "", b"", sources, patches)
        version = hashlib.blake2b(payload, digest_size=8).hexdigest()
        resource = discovery_pb2.Resource(
            name=self.name, version=version, resource=any_pb2.Any(type_url=self.type_url, value=payload)
        )
        wire = discovery_pb2.DeltaDiscoveryResponse(resources=[resource]).SerializeToString()
        return Blob(self.type_url, self.name, version, wire, sources, patches)
