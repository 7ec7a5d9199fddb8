"""What is served, as clients ask for it: legacy and aggregated discovery (kubernetes.io, "API Discovery")."""

from collections.abc import Iterable
from functools import cache
from typing import Any, Final

from marline.store.embedded.http import definitions
from marline.store.embedded.http.reviews import REVIEWS
from marline.store.embedded.http.target import SERVED, Served

VERBS: Final = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
STATUS_VERBS: Final = ["get", "patch", "update"]

AGGREGATED: Final = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


def wants_aggregated(accept: str) -> bool:
    """Whether an Accept header asks for the aggregated form before the legacy one."""
    for choice in accept.split(","):
        parts = {part.strip() for part in choice.split(";")}
        if {"as=APIGroupDiscoveryList", "v=v2", "g=apidiscovery.k8s.io"} <= parts:
            return True
        if parts & {"application/json", "*/*"} and not any(part.startswith("as=") for part in parts):
            return False
    return False


READ_ONLY: Final = (
    (definitions.GROUP, definitions.VERSION, definitions.PLURAL, definitions.KIND, ["crd", "crds"]),
)
"""What comes with Marline, and cannot be written."""


@cache
def groups() -> dict[str, list[str]]:
    """Versions by group, the preferred one first; the core group is ""."""
    found: dict[str, list[str]] = {}
    for group, version in [
        *((served.group, served.version) for served in SERVED),
        *((review.group, review.version) for review in REVIEWS),
        *((group, version) for group, version, *_ in READ_ONLY),
    ]:
        versions = found.setdefault(group, [])
        if version not in versions:
            versions.append(version)
    return found


def _in(group: str, version: str) -> Iterable[Served]:
    return (served for served in SERVED if (served.group, served.version) == (group, version))


@cache
def resource_list(group: str, version: str) -> dict[str, Any]:
    """`/api/v1`, `/apis/<group>/<version>`."""
    resources: list[dict[str, Any]] = []
    for served in _in(group, version):
        kind = served.kind
        entry: dict[str, Any] = {
            "name": kind.plural, "singularName": kind.singular, "namespaced": kind.namespaced,
            "kind": kind.kind, "verbs": VERBS, "shortNames": list(kind.short_names),
            "categories": list(kind.categories),
        }  # fmt: skip
        resources.append({key: value for key, value in entry.items() if value != []})
        if kind.status:
            resources.append(
                {
                    "name": f"{kind.plural}/status",
                    "singularName": "",
                    "namespaced": kind.namespaced,
                    "kind": kind.kind,
                    "verbs": STATUS_VERBS,
                }
            )
    for review in REVIEWS:
        if (review.group, review.version) == (group, version):
            resources.append(
                {
                    "name": review.plural,
                    "singularName": review.kind.lower(),
                    "namespaced": review.namespaced,
                    "kind": review.kind,
                    "verbs": ["create"],
                }
            )
    for own_group, own_version, plural, name, short in READ_ONLY:
        if (own_group, own_version) == (group, version):
            resources.append(
                {
                    "name": plural,
                    "singularName": name.lower(),
                    "namespaced": False,
                    "kind": name,
                    "verbs": ["get", "list"],
                    "shortNames": short,
                }
            )
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": f"{group}/{version}" if group else version,
        "resources": resources,
    }


def group_list() -> dict[str, Any]:
    """`/apis`."""
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(name) for name in groups() if name]}


def group(name: str) -> dict[str, Any] | None:
    """`/apis/<group>`."""
    return {"kind": "APIGroup", "apiVersion": "v1", **_group(name)} if name and name in groups() else None


def _group(name: str) -> dict[str, Any]:
    versions = [{"groupVersion": f"{name}/{version}", "version": version} for version in groups()[name]]
    return {"name": name, "versions": versions, "preferredVersion": versions[0]}


def api_versions(address: str) -> dict[str, Any]:
    """`/api`."""
    return {
        "kind": "APIVersions",
        "apiVersion": "v1",
        "versions": groups()[""],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}],
    }


@cache
def aggregated(*, core: bool) -> dict[str, Any]:
    """`/api` or `/apis` in one document, with all their resources."""
    items = []
    for name, versions in groups().items():
        if (name == "") == core:
            items.append(
                {
                    "metadata": {"name": name, "creationTimestamp": None},
                    "versions": [
                        {"version": version, "freshness": "Current", "resources": _aggregated(name, version)}
                        for version in versions
                    ],
                }
            )
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": items,
    }


def _aggregated(group: str, version: str) -> list[dict[str, Any]]:
    resources: list[dict[str, Any]] = []
    for entry in resource_list(group, version)["resources"]:
        name, _, sub = entry["name"].partition("/")
        kind = {"group": group, "version": version, "kind": entry["kind"]}
        if sub:
            subresource = {"subresource": sub, "responseKind": kind, "verbs": entry["verbs"]}
            resources[-1].setdefault("subresources", []).append(subresource)
            continue
        resources.append(
            {
                "resource": name,
                "responseKind": kind,
                "scope": "Namespaced" if entry["namespaced"] else "Cluster",
                "singularResource": entry["singularName"],
                "verbs": entry["verbs"],
                **{key: entry[key] for key in ("shortNames", "categories") if key in entry},
            }
        )
    return resources
