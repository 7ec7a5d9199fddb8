"""`POST /marline/v1/apply`: several resources in one transaction."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from aiohttp import web

from marline.api.resource import Ref
from marline.store.embedded.access.attributes import Attributes
from marline.store.embedded.access.escalation import WriteGuard
from marline.store.embedded.http import auth
from marline.store.embedded.http.bodies import read_object
from marline.store.embedded.http.resources import json_response
from marline.store.embedded.objects import Options, kind_and_version
from marline.store.embedded.store import EmbeddedStore
from marline.store.interface import BadRequest
from marline.store.together import ApplyAnswer, ApplyRequest


async def apply_together(request: web.Request, store: EmbeddedStore) -> web.Response:
    """Who may apply each of the resources may apply all. Raises `StoreError`s and `InvalidResource`."""
    try:
        asked = msgspec.convert(await read_object(request), ApplyRequest)
    except msgspec.ValidationError as error:
        raise BadRequest(str(error)) from error
    user = request[auth.USER]
    for obj in asked.objects:
        for verb in _verbs(obj, store):
            store.policy.authorize(user, verb)
    guard = WriteGuard(user, store.policy, store.state)
    options = Options(
        asked.field_manager[:128], force=asked.force, author=request[auth.AUTHOR], permit=guard.check
    )
    applied = await store.objects.apply_all(asked.objects, options)
    return json_response(ApplyAnswer(tuple(msgspec.Raw(stored.body) for stored in applied)))


def _verbs(obj: Mapping[str, Any], store: EmbeddedStore) -> Iterator[Attributes]:
    """What applying this object asks for: a patch, and if it is not there its creation."""
    kind, _ = kind_and_version(obj)
    metadata = obj.get("metadata")
    metadata = metadata if isinstance(metadata, Mapping) else {}
    namespace = str(metadata.get("namespace") or "default") if kind.namespaced else ""
    name = str(metadata.get("name") or "")
    yield Attributes("patch", kind.group, kind.plural, namespace=namespace, name=name)
    if store.state.head.get(Ref(kind.group, kind.kind, namespace, name)) is None:
        yield Attributes("create", kind.group, kind.plural, namespace=namespace, name=name)
