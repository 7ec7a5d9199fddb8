"""OpenAPI v3 of what is served, for `kubectl explain` and for validation by clients.

One document for each group and version, found through `/openapi/v3` with a hash of its content in the
address, so that clients keep what they have (kubernetes.io, "The Kubernetes API", "OpenAPI V3").
"""

import hashlib
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import msgspec

from marline.store.embedded.http import bodies, discovery
from marline.store.embedded.http.schemas import META, definition_name, schemas_of
from marline.store.embedded.http.target import SERVED, Served
from marline.store.list_types import strategic


@dataclass(frozen=True, slots=True)
class Document:
    body: bytes
    digest: str


V2: Final = {"swagger": "2.0", "info": {"title": "Marline", "version": "v1.37.0"}, "paths": {}}
"""There is nothing in OpenAPI v2. kubectl asks for it when v3 does not know a kind, and says only then that
the server does not either."""
V2_PROTOBUF: Final = b"\x0a\x032.0"
"""A gnostic `openapi.v2.Document` of which `swagger`, field 1, is all."""
V2_PROTOBUF_MEDIA: Final = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
"""Clients ask for it with an @ in place of one dot, which Go's parser of media types refuses in an answer."""


def _path(group: str, version: str) -> str:
    return f"apis/{group}/{version}" if group else f"api/{version}"


@cache
def root() -> dict[str, Any]:
    """`/openapi/v3`."""
    paths = {}
    for group, versions in discovery.groups().items():
        for version in versions:
            path = _path(group, version)
            found = document(path)
            if found:
                paths[path] = {"serverRelativeURL": f"/openapi/v3/{path}?hash={found.digest}"}
    return {"paths": paths}


@cache
def document(path: str) -> Document | None:
    """The document of one group and version, by its path below `/openapi/v3/`."""
    served = [item for item in SERVED if _path(item.group, item.version) == path]
    if not served:
        return None
    schemas: dict[str, Any] = {}
    paths: dict[str, Any] = {}
    for item in served:
        schemas |= schemas_of(item)
        paths |= _paths(item)
    body = msgspec.json.encode(
        {
            "openapi": "3.0.0",
            "info": {"title": "Marline", "version": "v1.37.0"},
            "paths": paths,
            "components": {"schemas": schemas},
        },
        order="sorted",
    )
    return Document(body, hashlib.sha256(body).hexdigest().upper())


_WRITE_PARAMETERS: Final = [
    {"name": name, "in": "query", "schema": {"type": kind, "uniqueItems": True}, "description": description}
    for name, kind, description in (
        ("dryRun", "string", "All: say what would happen, and change nothing."),
        ("fieldManager", "string", "The name under which fields are owned."),
        ("fieldValidation", "string", "What to do with unknown fields; they are always refused."),
    )
]
_FORCE: Final = {
    "name": "force", "in": "query", "schema": {"type": "boolean", "uniqueItems": True},
    "description": "Take fields that other managers own. For apply patches.",
}  # fmt: skip


def _paths(served: Served) -> dict[str, Any]:
    kind = served.kind
    base = f"/{_path(served.group, served.version)}"
    base += "/namespaces/{namespace}" if kind.namespaced else ""
    collection = f"{base}/{kind.plural}"
    patches = [bodies.APPLY_PATCH, bodies.JSON_PATCH, bodies.MERGE_PATCH]
    patches += [bodies.STRATEGIC_PATCH] if strategic(served.group) else []
    whole = ("application/json", "application/yaml")
    place = [_name_parameter("namespace")] if kind.namespaced else []
    return {
        collection: {
            "parameters": place,
            "get": _operation(served, "list", f"{definition_name(served)}List"),
            "post": _operation(served, "post", definition_name(served), whole, _WRITE_PARAMETERS),
        },
        f"{collection}/{{name}}": {
            "parameters": [_name_parameter("name"), *place],
            "get": _operation(served, "get", definition_name(served)),
            "put": _operation(served, "put", definition_name(served), whole, _WRITE_PARAMETERS),
            "patch": _operation(served, "patch", f"{META}.Patch", patches, [*_WRITE_PARAMETERS, _FORCE]),
            "delete": _operation(served, "delete", f"{META}.DeleteOptions", whole),
        },
    }


def _name_parameter(name: str) -> dict[str, Any]:
    return {
        "name": name, "in": "path", "required": True, "schema": {"type": "string", "uniqueItems": True},
    }  # fmt: skip


def _operation(
    served: Served, action: str, body: str, media: tuple[str, ...] | list[str] = (), parameters: Any = ()
) -> dict[str, Any]:
    reference = {"$ref": f"#/components/schemas/{body}"}
    answer = {"$ref": f"#/components/schemas/{body if action == 'list' else definition_name(served)}"}
    return {
        "operationId": f"{action}{served.version.capitalize()}{served.kind.kind}",
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": {
            "group": served.group, "version": served.version, "kind": served.kind.kind,
        },
        "parameters": list(parameters),
        **({"requestBody": {"content": {item: {"schema": reference} for item in media}}} if media else {}),
        "responses": {"200": {"description": "OK", "content": {"application/json": {"schema": answer}}}},
    }  # fmt: skip
