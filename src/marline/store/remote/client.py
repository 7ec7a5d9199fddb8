"""`RemoteStore`: a `ResourceStore` on any server that speaks the Kubernetes API protocol."""

from collections.abc import AsyncIterator, Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, Self

import msgspec

from marline.api.decode import decode
from marline.api.registry import READ_BY_MESH, Kind
from marline.api.resource import Ref, Resource
from marline.mesh.model import ChangeSet
from marline.store import together
from marline.store.interface import Listing, Refused
from marline.store.remote import watching
from marline.store.remote.kubeconfig import Connection, load
from marline.store.remote.paths import collection_path, known_kind, ref_of, resource_path, version_of
from marline.store.remote.transport import APPLY_PATCH, JSON, MERGE_PATCH, Answer, Transport

TABLE: Final = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
_MANAGER: Final = {"fieldManager": "marline"}


class RemoteStore:
    """Raises `StoreError`s and `InvalidResource`; `Unavailable` if the server cannot be reached.

    An async context manager; or call `close`.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._transport = Transport(connection)

    @classmethod
    def from_kubeconfig(cls, path: Path, context: str = "") -> Self:
        """Raises `Unavailable` if the file does not say how to reach a server. Nothing is sent yet."""
        return cls(load(path, context))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    async def close(self) -> None:
        await self._transport.close()

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = JSON,
        accept: str = JSON,
    ) -> Answer:
        """Any request, such as one to an endpoint that is not Kubernetes'. `body` is sent as JSON."""
        return await self._transport.request(
            method, path, params=params, body=body, content_type=content_type, accept=accept
        )

    async def get_object(self, ref: Ref, version: str = "") -> dict[str, Any]:
        """A resource as the plain object that the server has."""
        answer = await self._transport.request("GET", resource_path(ref, version=version), ref=ref)
        found: dict[str, Any] = answer.json()
        return found

    async def list_objects(
        self, group: str, kind: str, namespace: str = "", label_selector: str = ""
    ) -> list[dict[str, Any]]:
        """Resources as the plain objects that the server has."""
        known = known_kind(Ref(group, kind, namespace, ""))
        items, _ = await watching.list_all(self._transport, known, namespace, label_selector)
        return items

    async def table(
        self, kind: Kind, namespace: str = "", *, name: str = "", label_selector: str = ""
    ) -> dict[str, Any]:
        """What `kubectl get` shows: a `Table` (meta.k8s.io/v1) whose columns of priority 1 are wide."""
        path = collection_path(kind, namespace)
        ref = Ref(kind.group, kind.kind, namespace, name) if name else None
        params = {"labelSelector": label_selector} if label_selector else {}
        answer = await self._transport.request(
            "GET", f"{path}/{name}" if name else path, params=params, accept=TABLE, ref=ref
        )
        found: dict[str, Any] = answer.json()
        return found

    async def get(self, ref: Ref) -> Resource[Any]:
        return self._resource(await self._transport.request("GET", resource_path(ref), ref=ref))

    async def list(self, group: str, kind: str, namespace: str = "", label_selector: str = "") -> Listing:
        known = known_kind(Ref(group, kind, namespace, ""))
        items, version = await watching.list_all(self._transport, known, namespace, label_selector)
        return Listing(watching.typed(items), version)

    async def create(self, obj: Mapping[str, Any], *, dry_run: bool = False) -> Resource[Any]:
        ref = ref_of(obj)
        path = collection_path(known_kind(ref), ref.namespace, version_of(obj))
        return await self._write("POST", path, ref, obj, _MANAGER | _dry(dry_run))

    async def update(self, obj: Mapping[str, Any], *, dry_run: bool = False) -> Resource[Any]:
        ref = ref_of(obj)
        path = resource_path(ref, version=version_of(obj))
        return await self._write("PUT", path, ref, obj, _MANAGER | _dry(dry_run))

    async def apply(
        self, obj: Mapping[str, Any], *, field_manager: str, force: bool = False, dry_run: bool = False
    ) -> Resource[Any]:
        ref = ref_of(obj)
        params = {"fieldManager": field_manager, "force": "true" if force else "false", **_dry(dry_run)}
        path = resource_path(ref, version=version_of(obj))
        return await self._write("PATCH", path, ref, obj, params, APPLY_PATCH)

    async def apply_all(
        self, objs: Sequence[Mapping[str, Any]], *, field_manager: str, force: bool = False
    ) -> tuple[Resource[Any], ...]:
        asked = together.ApplyRequest(tuple(dict(obj) for obj in objs), field_manager, force)
        try:
            answer = await self._transport.request("POST", together.PATH, body=msgspec.to_builtins(asked))
        except Refused as error:
            if error.code != HTTPStatus.NOT_FOUND:
                raise
            applied = [await self.apply(obj, field_manager=field_manager, force=force) for obj in objs]
            return tuple(applied)
        found = msgspec.json.decode(answer.body, type=together.ApplyAnswer)
        return tuple(decode(msgspec.json.decode(item)) for item in found.objects)

    async def patch_status(self, ref: Ref, status: Mapping[str, Any]) -> Resource[Any]:
        path = resource_path(ref, "status")
        return await self._write("PATCH", path, ref, {"status": dict(status)}, _MANAGER, MERGE_PATCH)

    async def patch(
        self, ref: Ref, patch: Any, *, content_type: str = MERGE_PATCH, dry_run: bool = False
    ) -> Resource[Any]:
        """Change a resource by a merge patch, or a patch of another type."""
        return await self._write(
            "PATCH", resource_path(ref), ref, patch, _MANAGER | _dry(dry_run), content_type
        )

    async def delete(self, ref: Ref, *, resource_version: str = "") -> None:
        options: dict[str, Any] = {"kind": "DeleteOptions", "apiVersion": "v1"}
        if resource_version:
            options["preconditions"] = {"resourceVersion": resource_version}
        await self._transport.request("DELETE", resource_path(ref), body=options, ref=ref)

    async def watch(self, kinds: tuple[tuple[str, str], ...] = ()) -> AsyncIterator[ChangeSet]:
        chosen = tuple(known_kind(Ref(group, kind, "", "")) for group, kind in kinds or READ_BY_MESH)
        async for change in watching.follow(self._transport, chosen):
            yield change

    async def _write(
        self,
        method: str,
        path: str,
        ref: Ref,
        body: Any,
        params: Mapping[str, str],
        content_type: str = JSON,
    ) -> Resource[Any]:
        return self._resource(
            await self._transport.request(
                method, path, params=params, body=body, content_type=content_type, ref=ref
            )
        )

    @staticmethod
    def _resource(answer: Answer) -> Resource[Any]:
        return decode(answer.json())


def _dry(dry_run: bool) -> dict[str, str]:
    return {"dryRun": "All"} if dry_run else {}
