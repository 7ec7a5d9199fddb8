"""The shape that every resource has, whatever its kind: identity, metadata, typed spec."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

SpecT = TypeVar("SpecT", covariant=True)


class Ref(NamedTuple):
    """The name of one resource, independent of API version; sorts stably."""

    group: str
    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


class OwnerReference(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Kubernetes `OwnerReference` (meta/v1)."""

    api_version: str
    kind: str
    name: str
    uid: str
    controller: bool | None = None
    block_owner_deletion: bool | None = None


class ObjectMeta(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, omit_defaults=True):
    """Kubernetes `ObjectMeta` (meta/v1). Times are RFC 3339 strings, as on the wire."""

    name: str = ""
    generate_name: str = ""
    namespace: str = ""
    self_link: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    deletion_grace_period_seconds: int | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    owner_references: tuple[OwnerReference, ...] = ()
    finalizers: tuple[str, ...] = ()
    managed_fields: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Resource(Generic[SpecT]):
    """One typed config object.

    Two resources are equal when they say the same thing: what the server keeps about them
    (resourceVersion, managedFields, status) does not count, so a status write invalidates no cache
    whose key holds a resource. The hash is cheap: identity and generation only.
    """

    group: str
    version: str
    kind: str
    metadata: ObjectMeta
    spec: SpecT
    """The typed spec. Kinds without a `spec` field (Secret, ConfigMap, EndpointSlice, ReferenceGrant
    has one) have their whole body here."""
    status: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ref(self) -> Ref:
        return Ref(self.group, self.kind, self.metadata.namespace, self.metadata.name)

    @property
    def name(self) -> str:
        return self.metadata.name

    @property
    def namespace(self) -> str:
        return self.metadata.namespace

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    def __hash__(self) -> int:
        return hash((self.ref, self.metadata.generation))

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, Resource):
            return NotImplemented
        return (
            self.ref == other.ref
            and self.metadata.creation_timestamp == other.metadata.creation_timestamp
            and self.metadata.labels == other.metadata.labels
            and self.metadata.annotations == other.metadata.annotations
            and self.spec == other.spec
        )
