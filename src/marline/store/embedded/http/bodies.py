"""Request bodies: JSON, YAML or protobuf in, plain objects out."""

from typing import Any, Final

import msgspec
from aiohttp import web

from marline.api.documents import read_documents
from marline.api.errors import InvalidResource
from marline.store.embedded.http import protobuf
from marline.store.interface import BadRequest, Refused

LIMIT: Final = 3 * 1024 * 1024
"""Bytes in a body, as kube-apiserver limits them."""

JSON_PATCH: Final = "application/json-patch+json"
MERGE_PATCH: Final = "application/merge-patch+json"
STRATEGIC_PATCH: Final = "application/strategic-merge-patch+json"
APPLY_PATCH: Final = "application/apply-patch+yaml"

_JSON: Final = ("application/json", "", "application/octet-stream", JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH)
_YAML: Final = ("application/yaml", "application/x-yaml", "text/yaml", APPLY_PATCH)


async def read_body(request: web.Request) -> Any:
    """The decoded body, None if there is none. Raises `BadRequest`, and `Refused` for other formats."""
    text = await request.read()
    media = request.content_type
    if not text:
        return None
    if media in _JSON:
        return decode_json(text)
    if media in _YAML:
        return _decode_yaml(text)
    if media == protobuf.MEDIA:
        return protobuf.decode(text)
    raise Refused(f"the body of the request was in an unknown format: {media}", "UnsupportedMediaType", 415)


def decode_json(text: bytes) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"the body is not JSON: {error}") from error


def _decode_yaml(text: bytes) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass  # JSON is the common case even here, and faster; anything else must be YAML.
    try:
        # An alias can make a small body large, and no client sends one.
        documents = read_documents(text.decode(), max_repeated=0)
    except (InvalidResource, UnicodeDecodeError) as error:
        raise BadRequest(f"the body is neither JSON nor YAML: {error}") from error
    if len(documents) > 1:
        raise BadRequest(f"the body has {len(documents)} YAML documents; expected one")
    return documents[0].obj if documents else None


async def read_object(request: web.Request) -> dict[str, Any]:
    """A body that must be one object."""
    body = await read_body(request)
    if not isinstance(body, dict):
        raise BadRequest("the body of the request must be an object")
    return body
