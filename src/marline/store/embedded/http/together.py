"""`POST /marline/v1/apply`: several resources in one transaction."""

import msgspec
from aiohttp import web

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
    for obj in asked.objects:
        kind, _ = kind_and_version(obj)
        auth.authorize(request[auth.USER], "patch", kind.group, kind.plural)
    options = Options(asked.field_manager[:128], force=asked.force)
    applied = await store.objects.apply_all(asked.objects, options)
    return json_response(ApplyAnswer(tuple(msgspec.Raw(stored.body) for stored in applied)))
