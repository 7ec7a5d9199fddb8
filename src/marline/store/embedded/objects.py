"""What a write does to an object: the semantics of the Kubernetes API (kubernetes.io, "API Concepts").

Each method computes its whole effect without awaiting, so writes never race, and then waits until it
is on disk. Objects that come in are not changed.
"""

import functools
import secrets
import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

from marline.api.decode import describe
from marline.api.errors import Fault, FieldError, InvalidResource
from marline.api.registry import Kind, kind_of
from marline.api.resource import Ref
from marline.store import field_set, managed_fields
from marline.store.audit.records import Author
from marline.store.embedded import admission, limits
from marline.store.embedded.access.aggregation import aggregate
from marline.store.embedded.addresses import Addresses
from marline.store.embedded.deletion import Deletion, remove, remove_if_finished
from marline.store.embedded.index import Object, Stored
from marline.store.embedded.state import State, Transaction
from marline.store.interface import AlreadyExists, BadRequest, Conflict, Forbidden, NotFound, StoreError
from marline.store.list_types import list_types
from marline.store.managed_fields import FieldConflict, Manager
from marline.store.status import resource_name

P = ParamSpec("P")
T = TypeVar("T")

_SUFFIX: Final = "bcdfghjklmnpqrstvwxz2456789"
"""Letters of generated names: as Kubernetes, without those that make words or look alike."""
_OF_SERVER: Final = (
    "uid", "generation", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds",
    "resourceVersion",
)  # fmt: skip
_OF_USER: Final = ("labels", "annotations", "ownerReferences", "finalizers")

STALE: Final = "the object has been modified; please apply your changes to the latest version and try again"

Permit = Callable[[Ref, Stored | None, Object], None]


@dataclass(frozen=True, slots=True)
class Options:
    """How to write: under whose name fields are owned, for real or not, whole or status."""

    manager: str = "marline"
    dry_run: bool = False
    force: bool = False
    subresource: str = ""
    author: Author | None = None
    """Who is answerable for the write, in the audit log."""
    permit: Permit | None = None
    """Asked about the object as it was and as it is to be, after admission; raises what refuses it."""
    transaction: Transaction | None = None
    """What the write becomes a part of; who began it commits it. None: it is one of its own."""


def utc_now() -> datetime:
    return datetime.now(UTC)


def timestamp(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def _settled(
    write: Callable[Concatenate["Objects", P], Awaitable[T]],
) -> Callable[Concatenate["Objects", P], Awaitable[T]]:
    """A refusal may rest on a write that is still on its way to disk. It is said when that write can be
    read: who reads again and retries must not meet the same write for ever."""

    @functools.wraps(write)
    async def settling(objects: "Objects", /, *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return await write(objects, *args, **kwargs)
        except (AlreadyExists, Conflict, NotFound):
            await objects._state.settled()
            raise

    return settling


class Objects:
    """Raises `StoreError`s and `InvalidResource`."""

    def __init__(self, state: State, addresses: Addresses, clock: Callable[[], datetime] = utc_now) -> None:
        self._state = state
        self._addresses = addresses
        self._clock = clock

    def get(self, ref: Ref) -> Stored:
        stored = self._state.current.get(ref)
        if stored is None:
            raise NotFound(ref)
        return stored

    def _head(self, ref: Ref) -> Stored:
        stored = self._state.head.get(ref)
        if stored is None:
            raise NotFound(ref)
        return stored

    @_settled
    async def create(self, obj: Object, options: Options) -> Stored:
        kind, version = kind_and_version(obj)
        new = self._named(kind, obj)
        ref = ref_of(new)
        metadata = new["metadata"]
        if metadata.get("resourceVersion"):
            raise BadRequest("resourceVersion should not be set on objects to be created")
        if self._state.head.get(ref):
            raise AlreadyExists(ref)
        return await self._create(kind, ref, new, Manager(options.manager, "Update", version), options)

    def _named(self, kind: Kind, obj: Object) -> dict[str, Any]:
        """A copy whose name is settled, in the storage version."""
        metadata = dict(obj.get("metadata") or {})
        if kind.namespaced:
            metadata.setdefault("namespace", "default")
        new = {**obj, "apiVersion": kind.api_version, "metadata": metadata}
        while not metadata.get("name") and metadata.get("generateName"):
            suffix = "".join(secrets.choice(_SUFFIX) for _ in range(5))
            metadata["name"] = f"{metadata['generateName'][:58]}{suffix}"
            if self._state.head.get(ref_of(new)):
                del metadata["name"]
        if not metadata.get("name"):
            fault = FieldError("metadata.name", "name or generateName is required", Fault.REQUIRED)
            raise InvalidResource(describe(obj), (fault,))
        return new

    async def _create(
        self, kind: Kind, ref: Ref, new: dict[str, Any], manager: Manager, options: Options
    ) -> Stored:
        self._check_namespace(ref)
        now = timestamp(self._clock())
        metadata = {key: value for key, value in new["metadata"].items() if key not in _OF_SERVER}
        metadata |= {"uid": str(uuid.uuid4()), "creationTimestamp": now, "generation": 1}
        new = {**new, "metadata": _without_empty(metadata)}
        if kind.status:
            new.pop("status", None)
        new = admission.prepare(ref, new, None, self._addresses, self._state.head.address_owner)
        types = list_types(ref.group, ref.kind)
        if manager.operation == "Update":
            managers = managed_fields.updated({}, {}, without_status(new), manager, types, now)
            new["metadata"]["managedFields"] = managed_fields.write(managers)
        return await self._put(ref, new, options)

    def _check_namespace(self, ref: Ref) -> None:
        if not ref.namespace:
            return
        namespace = self._state.head.get(Ref("", "Namespace", "", ref.namespace))
        if namespace is None:
            raise NotFound(Ref("", "Namespace", "", ref.namespace))
        if namespace.deleting:
            raise Forbidden(
                f"{ref} is forbidden: unable to create new content in namespace {ref.namespace}"
                " because it is being terminated"
            )

    async def _put(self, ref: Ref, obj: dict[str, Any], options: Options) -> Stored:
        limits.check(ref, obj)
        if options.permit is not None:
            options.permit(ref, self._state.head.get(ref), obj)
        if options.dry_run:
            metadata = dict(obj["metadata"])
            return Stored(ref, self._state.resource_version, {**obj, "metadata": metadata})
        transaction = options.transaction or Transaction(author=options.author)
        stored = self._state.put(transaction, ref, obj)
        remove_if_finished(self._state, transaction, stored, timestamp(self._clock()))
        aggregate(self._state, transaction, ref)
        stored = self._state.head.get(ref) or stored
        if options.transaction is None:
            await self._state.commit(transaction)
        return stored

    @_settled
    async def update(self, obj: Object, options: Options) -> Stored:
        kind, version = kind_and_version(obj)
        new = self._named(kind, obj)
        old = self._head(ref_of(new))
        return await self._replace(kind, old, new, Manager(options.manager, "Update", version), options)

    @_settled
    async def patch(
        self, ref: Ref, version: str, change: Callable[[Object], Any], options: Options
    ) -> Stored:
        """`change` gets the object in API version `version` and returns what it makes of it."""
        kind = kind_of(ref.group, ref.kind)
        if kind is None:
            raise NotFound(ref)
        old = self._head(ref)
        api_version = f"{ref.group}/{version}" if ref.group else version
        new = change({**old.obj, "apiVersion": api_version})
        if not isinstance(new, Mapping) or not isinstance(new.get("metadata"), Mapping):
            raise BadRequest("the patch leaves no object with metadata")
        found, _ = kind_and_version(new)
        if found != kind:
            raise BadRequest("a patch cannot change apiVersion or kind")
        if ref_of(new) != ref:
            raise BadRequest("a patch cannot change the name or the namespace of an object")
        new = {**new, "apiVersion": kind.api_version, "metadata": dict(new["metadata"])}
        if not options.subresource:
            self._check_status_untouched(kind, old, new)
        return await self._replace(kind, old, new, Manager(options.manager, "Update", api_version), options)

    @staticmethod
    def _check_status_untouched(kind: Kind, old: Stored, new: dict[str, Any]) -> None:
        """A status written past its subresource is dropped, as Kubernetes does: clients send it back."""
        if kind.status and new.get("status") != old.obj.get("status"):
            new["status"] = old.obj.get("status", {})

    async def _replace(
        self, kind: Kind, old: Stored, new: dict[str, Any], manager: Manager, options: Options
    ) -> Stored:
        given = new["metadata"]
        _check_preconditions(old, str(given.get("resourceVersion") or ""), str(given.get("uid") or ""))
        try:
            source = given if "managedFields" in given else old.metadata
            managers = managed_fields.read(source)
        except ValueError as error:
            raise BadRequest(f"metadata.managedFields: {error}") from error
        obj = self._merged(kind, old, new, options)
        manager = manager._replace(subresource=options.subresource)
        now = timestamp(self._clock())
        types = list_types(old.ref.group, old.ref.kind)
        managers = managed_fields.updated(managers, old.obj, obj, manager, types, now)
        obj["metadata"]["managedFields"] = managed_fields.write(managers)
        return await self._put_changed(old, obj, options)

    def _merged(self, kind: Kind, old: Stored, new: dict[str, Any], options: Options) -> dict[str, Any]:
        """The parts of `new` that this write may set, on top of what stays; admitted."""
        server = {
            key: value for key, value in old.metadata.items() if key not in (*_OF_USER, "managedFields")
        }
        if options.subresource == "status":
            user = {key: old.metadata[key] for key in _OF_USER if key in old.metadata}
            obj = {**old.obj, "status": new.get("status") or {}}
        else:
            user = {key: new["metadata"][key] for key in _OF_USER if key in new["metadata"]}
            unknown = new["metadata"].keys() - server.keys() - {*_OF_USER, *_OF_SERVER, "managedFields"}
            server |= {key: new["metadata"][key] for key in unknown}
            obj = dict(new)
            if kind.status:
                obj.pop("status", None)
                obj |= {"status": old.obj["status"]} if "status" in old.obj else {}
            added = set(user.get("finalizers") or ()) - set(old.metadata.get("finalizers") or ())
            if old.deleting and added:
                raise Forbidden(
                    f"{old.ref} is forbidden: no new finalizers can be added if it is being deleted"
                )
        obj["metadata"] = _without_empty({**server, **user})
        return admission.prepare(old.ref, obj, old, self._addresses, self._state.head.address_owner)

    async def _put_changed(self, old: Stored, obj: dict[str, Any], options: Options) -> Stored:
        if _body(obj) != _body(old.obj):
            obj["metadata"]["generation"] = int(old.metadata.get("generation", 0)) + 1
        if obj == old.obj:
            return old
        return await self._put(old.ref, obj, options)

    @_settled
    async def apply(self, config: Object, options: Options) -> Stored:
        """Server-side apply; creates the object if it is not there."""
        return await self._apply(config, options)

    @_settled
    async def apply_all(self, configs: Iterable[Object], options: Options) -> list[Stored]:
        """Server-side apply of all or none, on disk and visible to every watch at one moment."""
        transaction = Transaction(author=options.author)
        together = replace(options, transaction=transaction)
        try:
            applied = [await self._apply(config, together) for config in configs]
        except (StoreError, InvalidResource):
            self._state.undo(transaction)
            raise
        await self._state.commit(transaction)
        return applied

    async def _apply(self, config: Object, options: Options) -> Stored:
        kind, version = kind_and_version(config)
        if (config.get("metadata") or {}).get("managedFields"):
            raise BadRequest("metadata.managedFields must be nil")
        if not (config.get("metadata") or {}).get("name"):
            raise BadRequest("name is required to apply")
        config = self._named(kind, config)
        ref = ref_of(config)
        manager = Manager(options.manager, "Apply", version, options.subresource)
        types = list_types(ref.group, ref.kind)
        now = timestamp(self._clock())
        old = self._state.head.get(ref)
        if old is None:
            return await self._apply_new(kind, ref, dict(config), manager, options, now)
        wanted = dict(config) if options.subresource else without_status(config, only_if=kind.status)
        _check_preconditions(
            old,
            str(config["metadata"].get("resourceVersion") or ""),
            str(config["metadata"].get("uid") or ""),
        )
        try:
            merged, managers = managed_fields.applied(
                managed_fields.read(old.metadata), old.obj, _scope(wanted, options), manager, types, now,
                force=options.force,
            )  # fmt: skip
        except FieldConflict as error:
            raise _conflict(ref, error) from error
        obj = self._merged(
            kind, old, _with_last_applied(merged, {**config, "apiVersion": version}, options), options
        )
        obj["metadata"]["managedFields"] = managed_fields.write(managers)
        return await self._put_changed(old, obj, options)

    async def _apply_new(
        self, kind: Kind, ref: Ref, config: dict[str, Any], manager: Manager, options: Options, now: str
    ) -> Stored:
        if options.subresource:
            raise NotFound(ref)
        if config["metadata"].get("uid") or config["metadata"].get("resourceVersion"):
            raise Conflict(ref, "Precondition failed: the object to apply to does not exist")
        types = list_types(ref.group, ref.kind)
        wanted = without_status(config, only_if=kind.status)
        merged, managers = managed_fields.applied({}, {}, wanted, manager, types, now, force=True)
        merged["metadata"]["managedFields"] = managed_fields.write(managers)
        return await self._create(kind, ref, merged, manager, options)

    @_settled
    async def delete(
        self, ref: Ref, deletion: Deletion, *, dry_run: bool = False, author: Author | None = None
    ) -> tuple[Stored, bool]:
        """The object's last state, and whether it is gone (or waits for its finalizers)."""
        old = self._head(ref)
        _check_preconditions(old, deletion.resource_version, deletion.uid)
        if ref[:2] == ("", "Namespace") and ref.name in admission.KEPT:
            raise Forbidden(f'namespaces "{ref.name}" is forbidden: this namespace may not be deleted')
        if dry_run:
            return old, not old.metadata.get("finalizers")
        transaction = Transaction(author=author)
        remove(self._state, transaction, old, deletion, timestamp(self._clock()))
        aggregate(self._state, transaction, ref)
        await self._state.commit(transaction)
        left = self._state.head.get(ref)
        return (left, False) if left and left.uid == old.uid else (old, True)


def kind_and_version(obj: Object) -> tuple[Kind, str]:
    """The kind of an object and its full API version; raises `InvalidResource`."""
    api_version, name = str(obj.get("apiVersion") or ""), str(obj.get("kind") or "")
    group, _, version = api_version.rpartition("/")
    kind = kind_of(group, name)
    if kind is None or version not in kind.versions:
        message = f"no kind {name!r} is known in version {api_version!r}"
        raise InvalidResource(describe(obj), (FieldError("apiVersion" if kind else "kind", message),))
    return kind, api_version


def ref_of(obj: Object) -> Ref:
    group, _, _ = str(obj["apiVersion"]).rpartition("/")
    metadata = obj["metadata"]
    return Ref(group, str(obj["kind"]), str(metadata.get("namespace") or ""), str(metadata.get("name") or ""))


def without_status(obj: Object, *, only_if: bool = True) -> dict[str, Any]:
    return {key: value for key, value in obj.items() if key != "status" or not only_if}


def _scope(config: dict[str, Any], options: Options) -> dict[str, Any]:
    """What of an applied configuration counts: for a status, the status only."""
    if not options.subresource:
        return config
    return {key: value for key, value in config.items() if key in ("apiVersion", "kind", "status")}


def _body(obj: Object) -> dict[str, Any]:
    return {key: value for key, value in obj.items() if key not in ("apiVersion", "metadata", "status")}


def _without_empty(metadata: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in metadata.items() if value or key not in _OF_USER}


def _check_preconditions(old: Stored, resource_version: str, uid: str) -> None:
    if uid and uid != old.uid:
        raise Conflict(
            old.ref, f"Precondition failed: UID in precondition: {uid}, UID in object meta: {old.uid}"
        )
    if resource_version and resource_version != str(old.rv):
        what = f'{resource_name(old.ref)} "{old.ref.name}"'
        raise Conflict(old.ref, f"Operation cannot be fulfilled on {what}: {STALE}")


def _conflict(ref: Ref, error: FieldConflict) -> Conflict:
    causes = tuple(
        {
            "reason": "FieldManagerConflict",
            "message": f"conflict with {manager}",
            "field": field_set.readable(field),
        }
        for manager, field in error.conflicts
    )
    return Conflict(ref, str(error), causes)


def _with_last_applied(merged: dict[str, Any], config: Object, options: Options) -> dict[str, Any]:
    """Keep kubectl's client-side record true when kubectl applies on the server, so that a user can go
    back and forth between the two (kubernetes.io, "Server-Side Apply", migration)."""
    metadata = merged["metadata"]
    annotations = metadata.get("annotations") or {}
    if options.manager != "kubectl" or managed_fields.LAST_APPLIED not in annotations:
        return merged
    record = managed_fields.last_applied(config)
    return {
        **merged,
        "metadata": {**metadata, "annotations": {**annotations, managed_fields.LAST_APPLIED: record}},
    }
