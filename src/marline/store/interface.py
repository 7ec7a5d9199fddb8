"""`ResourceStore`: the one interface through which the rest of the program sees resources."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from marline.api.resource import Ref, Resource
from marline.mesh.model import ChangeSet


@dataclass(frozen=True, slots=True)
class Listing:
    items: tuple[Resource[Any], ...]
    resource_version: str


class StoreError(Exception):
    """Base of what a store refuses; each maps to one Kubernetes `Status` reason."""

    reason = "InternalError"
    code = 500


@dataclass(eq=False)
class NotFound(StoreError):
    ref: Ref
    reason = "NotFound"
    code = 404

    def __str__(self) -> str:
        return f"{self.ref} was not found"


@dataclass(eq=False)
class AlreadyExists(StoreError):
    ref: Ref
    reason = "AlreadyExists"
    code = 409

    def __str__(self) -> str:
        return f"{self.ref} already exists"


@dataclass(eq=False)
class Conflict(StoreError):
    """The resourceVersion is not the current one, or another field manager owns a field."""

    ref: Ref
    message: str
    causes: tuple[Mapping[str, Any], ...] = ()
    """`Status` causes: for a conflict of field managers, who owns which field."""
    reason = "Conflict"
    code = 409

    def __str__(self) -> str:
        return f"{self.ref}: {self.message}"


@dataclass(eq=False)
class Expired(StoreError):
    """The asked resourceVersion is older than what the store still knows: list again."""

    resource_version: str
    reason = "Expired"
    code = 410

    def __str__(self) -> str:
        return f"resourceVersion {self.resource_version} is too old"


@dataclass(eq=False)
class BadRequest(StoreError):
    """The request itself is wrong, whatever the resource."""

    message: str
    reason = "BadRequest"
    code = 400

    def __str__(self) -> str:
        return self.message


@dataclass(eq=False)
class Forbidden(StoreError):
    """The caller may not do this, or nobody may do it now."""

    message: str
    reason = "Forbidden"
    code = 403

    def __str__(self) -> str:
        return self.message


@dataclass(eq=False)
class Refused(StoreError):
    """Any other refusal of a server, with its `Status` reason and HTTP status code."""

    message: str
    reason: str
    code: int

    def __str__(self) -> str:
        return self.message


@dataclass(eq=False)
class Unavailable(StoreError):
    """The store cannot be reached; nothing is known of the outcome of a write."""

    message: str
    reason = "ServiceUnavailable"
    code = 503

    def __str__(self) -> str:
        return self.message


class ResourceStore(Protocol):
    """Resources with resourceVersions: the Kubernetes API's semantics, without its transport.

    Objects go in as plain JSON objects (`{"apiVersion": …, "kind": …}`), because patches, field
    ownership and defaults are defined on those; they come out typed. Raises `StoreError`s and
    `marline.api.errors.InvalidResource`.
    """

    async def get(self, ref: Ref) -> Resource[Any]: ...

    async def list(self, group: str, kind: str, namespace: str = "", label_selector: str = "") -> Listing: ...

    async def create(self, obj: Mapping[str, Any], *, dry_run: bool = False) -> Resource[Any]: ...

    async def update(self, obj: Mapping[str, Any], *, dry_run: bool = False) -> Resource[Any]: ...

    async def apply(
        self, obj: Mapping[str, Any], *, field_manager: str, force: bool = False, dry_run: bool = False
    ) -> Resource[Any]:
        """Server-side apply (kubernetes.io, "Server-Side Apply")."""
        ...

    async def apply_all(
        self, objs: Sequence[Mapping[str, Any]], *, field_manager: str, force: bool = False
    ) -> tuple[Resource[Any], ...]:
        """Server-side apply of several resources: all or none, and seen together by every watch. A server
        that has no such request (any but Marline's own) is given one after the other."""
        ...

    async def patch_status(self, ref: Ref, status: Mapping[str, Any]) -> Resource[Any]:
        """Merge-patch the `status` subresource."""
        ...

    async def delete(self, ref: Ref, *, resource_version: str = "") -> None: ...

    def watch(self, kinds: tuple[tuple[str, str], ...] = ()) -> AsyncIterator[ChangeSet]:
        """All resources of these (group, kind)s, first as one `ChangeSet` and then every change, for
        ever; reconnects and lists again by itself. No kinds: all kinds that the mesh reads."""
        ...
