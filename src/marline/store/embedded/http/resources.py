"""The verbs of the API on resources: from a request to `Objects`, and its result as a response."""

import base64
import json
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Final, cast

import msgspec
from aiohttp import web

from marline.api.decode import warnings
from marline.api.errors import FieldError, InvalidResource
from marline.store import status
from marline.store.embedded.access.escalation import WriteGuard
from marline.store.embedded.access.policy import Permitted
from marline.store.embedded.deletion import Deletion, Propagation
from marline.store.embedded.http import auth, bodies, table, watch
from marline.store.embedded.http.target import (
    TARGET,
    Selection,
    Target,
    accepted_form,
    attributes,
    dry_run,
    flag,
    number,
)
from marline.store.embedded.index import Stored
from marline.store.embedded.objects import Options, utc_now
from marline.store.embedded.store import EmbeddedStore
from marline.store.interface import BadRequest, NotFound, Refused
from marline.store.list_types import list_types, strategic
from marline.store.patch import BadPatch, Inapplicable, json_patch, merge_patch, strategic_merge_patch

_PROPAGATIONS: Final = ("Background", "Foreground", "Orphan")


class _Preconditions(msgspec.Struct, frozen=True, rename="camel"):
    uid: str | None = None
    resource_version: str | None = None


class _DeleteOptions(msgspec.Struct, frozen=True, rename="camel"):
    """What counts here of meta/v1 `DeleteOptions`."""

    propagation_policy: str | None = None
    orphan_dependents: bool | None = None
    preconditions: _Preconditions | None = None
    dry_run: tuple[str, ...] | None = None


def json_response(body: Any, code: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(body), status=code, content_type="application/json")


class Resources:
    """Handles requests whose path is a resource. Raises `StoreError`s and `InvalidResource`."""

    def __init__(self, store: EmbeddedStore) -> None:
        self._store = store
        self._objects = store.objects
        self._policy = store.policy

    async def handle(self, request: web.Request, target: Target) -> web.StreamResponse:
        verb = _verb(request, target)
        asked = attributes(target, verb, request.query)
        self._policy.authorize(request[auth.USER], asked)
        match verb:
            case "get":
                return self._one(request, target, self._objects.get(target.ref))
            case "list":
                return self._list(request, target)
            case "watch":
                parsed = watch.parse(target, request.query, _form(request), _include(request))
                permitted = Permitted(self._policy, request[auth.USER], asked)
                return await watch.stream(request, self._store.state, parsed, utc_now, permitted)
            case "create":
                return await self._create(request, target)
            case "update":
                return await self._update(request, target)
            case "patch":
                return await self._patch(request, target)
            case "delete":
                return await self._delete(request, target)
            case "deletecollection":
                return await self._delete_collection(request, target)
        raise Refused(f"{request.method} is not supported here", "MethodNotAllowed", 405)

    def _one(self, request: web.Request, target: Target, stored: Stored, code: int = 200) -> web.Response:
        form = _form(request)
        if form == "table":
            row = table.row(target.served, stored.obj, utc_now(), _include(request))
            body = table.table(target.kind, [row], {"resourceVersion": str(stored.rv)})
            return json_response(body, code)
        if form == "partial":
            return json_response(table.partial(stored.obj), code)
        return json_response(target.served.shown(stored.obj), code)

    def _written(self, request: web.Request, target: Target, stored: Stored, code: int = 200) -> web.Response:
        """As `_one`, with a warning for each thing that has no effect (RFC 9110 once had this header;
        kubernetes.io, "Warnings": kubectl shows it)."""
        response = self._one(request, target, stored, code)
        for text in warnings(stored.obj):
            response.headers.add("Warning", f"299 - {json.dumps(text)}")
        return response

    def _list(self, request: web.Request, target: Target) -> web.Response:
        found, metadata = self._page(request, target)
        return json_response(_listing(request, target, found, metadata))

    def _page(self, request: web.Request, target: Target) -> tuple[list[Stored], dict[str, Any]]:
        """The objects of one page and the list's metadata (kubernetes.io, "Retrieving large results sets
        in chunks"): all pages show the state at the version of the first."""
        state, query = self._store.state, request.query
        selection = Selection.parse(target, query)
        limit, token = number(query, "limit"), query.get("continue", "")
        start: tuple[str, str] = ("", "")
        version = state.resource_version
        if token:
            version, start = _decode_token(token)
        elif query.get("resourceVersionMatch") == "Exact":
            version = number(query, "resourceVersion")
        kind = target.kind
        if version == state.resource_version:
            found = state.current.of_kind(kind.group, kind.kind, target.namespace)
        else:
            found = state.snapshot(kind.group, kind.kind, target.namespace, version)
        left = [
            stored
            for stored in found
            if (stored.ref.namespace, stored.ref.name) > start and selection.matches(stored.obj)
        ]
        metadata: dict[str, Any] = {"resourceVersion": str(version)}
        if limit and len(left) > limit:
            last = left[limit - 1].ref
            metadata["continue"] = _encode_token(version, (last.namespace, last.name))
            metadata["remainingItemCount"] = len(left) - limit
            left = left[:limit]
        return left, metadata

    def _options(self, request: web.Request, target: Target) -> Options:
        validation = request.query.get("fieldValidation", "Strict")
        if validation not in ("", "Strict", "Warn", "Ignore"):
            raise BadRequest(f"fieldValidation={validation} is not Strict, Warn or Ignore")
        agent = request.headers.get("User-Agent", "unknown").partition("/")[0]
        return Options(
            manager=(request.query.get("fieldManager") or agent)[:128],
            dry_run=dry_run(request.query.getall("dryRun", [])),
            force=flag(request.query, "force"),
            subresource=target.subresource,
            author=request[auth.AUTHOR],
            permit=WriteGuard(request[auth.USER], self._policy, self._store.state).check,
        )

    async def _create(self, request: web.Request, target: Target) -> web.Response:
        obj = await _object(request, target)
        metadata = obj["metadata"]
        name = str(metadata.get("name") or metadata.get("generateName") or "")
        request[TARGET] = replace(target, name=name)  # What errors are about.
        stored = await self._objects.create(obj, self._options(request, target))
        return self._written(request, target, stored, 201)

    async def _update(self, request: web.Request, target: Target) -> web.Response:
        obj = await _object(request, target)
        stored = await self._objects.update(obj, self._options(request, target))
        return self._written(request, target, stored)

    async def _patch(self, request: web.Request, target: Target) -> web.Response:
        media = request.content_type
        body = await bodies.read_body(request)
        options = self._options(request, target)
        if media == bodies.APPLY_PATCH:
            if "fieldManager" not in request.query:
                raise BadRequest("fieldManager is required to apply")
            return await self._apply(request, target, body, options)
        if flag(request.query, "force"):
            raise BadRequest("force is for apply patches only")
        served, kind = target.served, target.kind
        if media == bodies.JSON_PATCH:
            change = partial(json_patch, operations=body)
        elif media == bodies.MERGE_PATCH:
            change = partial(merge_patch, patch=body)
        elif media == bodies.STRATEGIC_PATCH and strategic(served.group):
            change = partial(strategic_merge_patch, patch=body, types=list_types(kind.group, kind.kind))
        else:
            accepted = [bodies.JSON_PATCH, bodies.MERGE_PATCH, bodies.APPLY_PATCH]
            accepted += [bodies.STRATEGIC_PATCH] if strategic(served.group) else []
            raise Refused(
                "the body of the request was in an unknown format - accepted media types include: "
                + ", ".join(accepted), "UnsupportedMediaType", 415,
            )  # fmt: skip
        if media != bodies.JSON_PATCH and not isinstance(body, dict):
            raise BadRequest("a merge patch of a resource is an object")

        def changed(obj: Mapping[str, Any]) -> Any:
            result = change(served.shown(obj))
            if not isinstance(result, dict):
                raise BadRequest("the patch leaves no object")
            return served.stored(result)

        try:
            stored = await self._objects.patch(target.ref, kind.version, changed, options)
        except BadPatch as error:
            raise BadRequest(str(error)) from error
        except Inapplicable as error:
            # A fault of a field, since kubectl shows nothing else of an Invalid status.
            raise InvalidResource(str(target.ref), (FieldError("patch", str(error)),)) from error
        return self._written(request, target, stored)

    async def _apply(self, request: web.Request, target: Target, body: Any, options: Options) -> web.Response:
        if not isinstance(body, dict):
            raise BadRequest("an applied configuration is an object")
        config = _checked(body, target)
        existed = self._store.state.head.get(target.ref) is not None
        if not existed:
            self._policy.authorize(request[auth.USER], attributes(target, "create", request.query))
        stored = await self._objects.apply(config, options)
        return self._written(request, target, stored, 200 if existed else 201)

    async def _delete(self, request: web.Request, target: Target) -> web.Response:
        deletion, dry = await _deletion(request)
        stored, gone = await self._objects.delete(
            target.ref, deletion, dry_run=dry, author=request[auth.AUTHOR]
        )
        if not gone:
            return self._one(request, target, stored)
        group = {"group": target.served.group} if target.served.group else {}
        details = {"name": target.name, **group, "kind": target.kind.plural, "uid": stored.uid}
        return json_response(status.success(**details))

    async def _delete_collection(self, request: web.Request, target: Target) -> web.Response:
        deletion, dry = await _deletion(request)
        found, metadata = self._page(request, target)
        for stored in found:
            try:
                await self._objects.delete(stored.ref, deletion, dry_run=dry, author=request[auth.AUTHOR])
            except NotFound:
                continue  # Another has deleted it meanwhile, which is what was asked for.
        return json_response(_listing(request, target, found, metadata))


def _verb(request: web.Request, target: Target) -> str:
    watched = flag(request.query, "watch") and request.method == "GET"
    if target.name:
        verbs = {"GET": "watch" if watched else "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
        if target.subresource:
            del verbs["DELETE"]
    else:
        verbs = {"GET": "watch" if watched else "list", "POST": "create", "DELETE": "deletecollection"}
    verb = verbs.get(request.method, "")
    if not verb or (verb == "create" and target.kind.namespaced and not target.namespace):
        raise Refused(
            "the server does not allow this method on the requested resource", "MethodNotAllowed", 405
        )
    return verb


def _form(request: web.Request) -> Any:
    return accepted_form(request.headers.get("Accept", ""))


def _include(request: web.Request) -> table.IncludeObject:
    value = request.query.get("includeObject", "Metadata") or "Metadata"
    if value not in ("None", "Metadata", "Object"):
        raise BadRequest(f"includeObject={value} is not None, Metadata or Object")
    return cast(table.IncludeObject, value)


async def _object(request: web.Request, target: Target) -> dict[str, Any]:
    return _checked(await bodies.read_object(request), target)


def _checked(obj: dict[str, Any], target: Target) -> dict[str, Any]:
    """The object in its storage group, its name and namespace those of the path; raises `BadRequest`."""
    served = target.served
    found = (obj.get("apiVersion") or served.api_version, obj.get("kind") or served.kind.kind)
    if found != (served.api_version, served.kind.kind):
        raise BadRequest(
            f"the object is a {found[1]} of {found[0]}, but the path is that of {served.kind.kind}"
            f" of {served.api_version}"
        )
    metadata = obj.get("metadata")
    metadata = dict(metadata) if isinstance(metadata, dict) else {}
    if target.kind.namespaced and (metadata.get("namespace") or target.namespace) != target.namespace:
        raise BadRequest(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    if target.kind.namespaced:
        metadata["namespace"] = target.namespace
    if target.name and (metadata.get("name") or target.name) != target.name:
        raise BadRequest("the name of the object does not match the name on the URL")
    if target.name:
        metadata["name"] = target.name
    obj = served.stored({**obj, "metadata": metadata})
    # The version that the client speaks is what its fields are owned under.
    api_version = served.api_version if served.group == served.kind.group else served.kind.api_version
    return {**obj, "apiVersion": api_version, "kind": served.kind.kind}


async def _deletion(request: web.Request) -> tuple[Deletion, bool]:
    """From `DeleteOptions` in the body, or in the query."""
    try:
        options = msgspec.convert(await bodies.read_body(request) or {}, _DeleteOptions)
    except msgspec.ValidationError as error:
        raise BadRequest(f"the body is no DeleteOptions: {error}") from error
    propagation = options.propagation_policy or request.query.get("propagationPolicy") or "Background"
    if options.orphan_dependents:
        propagation = "Orphan"
    if propagation not in _PROPAGATIONS:
        raise BadRequest(f"propagationPolicy {propagation!r} is not {', '.join(_PROPAGATIONS)}")
    dry = dry_run([*(options.dry_run or ()), *request.query.getall("dryRun", [])])
    only = options.preconditions or _Preconditions()
    return Deletion(cast(Propagation, propagation), only.uid or "", only.resource_version or ""), dry


def _listing(request: web.Request, target: Target, found: list[Stored], metadata: Mapping[str, Any]) -> Any:
    form = _form(request)
    if form == "table":
        include, now = _include(request), utc_now()
        rows = [table.row(target.served, stored.obj, now, include) for stored in found]
        return table.table(target.kind, rows, metadata)
    if form == "partial":
        items: list[Any] = [table.partial(stored.obj) for stored in found]
        kind, api_version = "PartialObjectMetadataList", "meta.k8s.io/v1"
    else:
        served = target.served
        kind, api_version = f"{target.kind.kind}List", served.api_version
        if api_version == target.kind.api_version:
            items = [msgspec.Raw(stored.body) for stored in found]
        else:
            items = [served.shown(stored.obj) for stored in found]
    return {"kind": kind, "apiVersion": api_version, "metadata": metadata, "items": items}


def _encode_token(version: int, last: tuple[str, str]) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode([version, *last])).decode()


def _decode_token(token: str) -> tuple[int, tuple[str, str]]:
    try:
        version, namespace, name = msgspec.json.decode(
            base64.urlsafe_b64decode(token), type=tuple[int, str, str]
        )
    except (ValueError, msgspec.DecodeError) as error:
        raise BadRequest("continue key is not valid") from error
    return version, (namespace, name)
