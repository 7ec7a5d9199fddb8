"""The served kinds as CustomResourceDefinitions, for tools that look there for what a cluster knows.

Read only: which kinds there are, and in which versions, comes with Marline. The Gateway API's say which
release and channel they are of (gateway-api.sigs.k8s.io, "Versioning").
"""

import uuid
from collections.abc import Iterator
from functools import cache
from typing import Any, Final

from marline.api.gateway_api.shared import BUNDLE_VERSION, CHANNEL
from marline.api.gateway_api.shared import GROUP as GATEWAY_API
from marline.api.registry import KINDS, Kind

GROUP: Final = "apiextensions.k8s.io"
VERSION: Final = "v1"
PLURAL: Final = "customresourcedefinitions"
KIND: Final = "CustomResourceDefinition"
_SUFFIXES: Final = (".istio.io", ".marline.io", GATEWAY_API)
_MADE_AT: Final = "2026-01-01T00:00:00Z"
"""They have no time of their own, and clients expect one."""
_COLUMN: Final = {"type": "string", "format": "", "priority": 0}


@cache
def definitions() -> dict[str, dict[str, Any]]:
    """All of them, by name."""
    return {f"{kind.plural}.{kind.group}": _definition(kind) for kind in _custom()}


def _custom() -> Iterator[Kind]:
    return (kind for kind in KINDS if kind.group.endswith(_SUFFIXES))


def _definition(kind: Kind) -> dict[str, Any]:
    name = f"{kind.plural}.{kind.group}"
    names: dict[str, Any] = {
        "plural": kind.plural,
        "singular": kind.singular,
        "kind": kind.kind,
        "listKind": f"{kind.kind}List",
        "shortNames": list(kind.short_names),
        "categories": list(kind.categories),
    }
    annotations = {}
    if kind.group == GATEWAY_API:
        annotations = {f"{GATEWAY_API}/bundle-version": BUNDLE_VERSION, f"{GATEWAY_API}/channel": CHANNEL}
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": KIND,
        "metadata": {
            "name": name,
            "uid": str(uuid.uuid5(uuid.NAMESPACE_DNS, name)),
            "resourceVersion": "1",
            "generation": 1,
            "creationTimestamp": _MADE_AT,
            "annotations": annotations,
        },
        "spec": {
            "group": kind.group,
            "names": names,
            "scope": "Namespaced" if kind.namespaced else "Cluster",
            "versions": [_version(kind, version) for version in kind.versions],
        },
        "status": {
            "acceptedNames": names,
            "storedVersions": [kind.version],
            "conditions": [
                {
                    "type": condition,
                    "status": "True",
                    "reason": reason,
                    "message": "",
                    "lastTransitionTime": _MADE_AT,
                }
                for condition, reason in (
                    ("NamesAccepted", "NoConflicts"),
                    ("Established", "InitialNamesAccepted"),
                )
            ],
        },
    }


def _version(kind: Kind, version: str) -> dict[str, Any]:
    """The schema itself is served at `/openapi/v3`, where references between its parts are possible."""
    made: dict[str, Any] = {
        "name": version,
        "served": True,
        "storage": version == kind.version,
        "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
    }
    return {**made, "subresources": {"status": {}}} if kind.status else made


def listing() -> dict[str, Any]:
    items = list(definitions().values())
    return {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": f"{KIND}List",
        "metadata": {"resourceVersion": "1"},
        "items": items,
    }


def table(items: list[dict[str, Any]]) -> dict[str, Any]:
    """As `kubectl get` prints them."""
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {"resourceVersion": "1"},
        "columnDefinitions": [
            {"name": "Name", **_COLUMN, "description": "What it defines."},
            {"name": "Created At", **_COLUMN, "description": "Nothing: it comes with Marline."},
        ],
        "rows": [
            {"cells": [item["metadata"]["name"], item["metadata"]["creationTimestamp"]], "object": item}
            for item in items
        ],
    }
