"""The roles and bindings that every mesh begins with.

Named as Kubernetes' own where they allow the same (kubernetes.io, "Default roles and role bindings"). They
are ordinary objects, written at the first start. At later starts a role gets back what it lacks, unless its
annotation `rbac.authorization.kubernetes.io/autoupdate` is "false".
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from marline.api.rbac import GROUP
from marline.store.tokens import ADMINS, NODES

AUTHENTICATED: Final = "system:authenticated"
OPEN_PATHS: Final = ("/healthz", "/livez", "/readyz", "/version")
"""Paths that need no credentials: they say nothing about the mesh."""
CERTIFICATES: Final = "serviceaccounts/certificate"
"""Creating this subresource of the core group is having a workload's certificate signed."""
AUTO_UPDATE: Final = "rbac.authorization.kubernetes.io/autoupdate"
_API: Final = f"{GROUP}/v1"
_LABELS: Final = {"kubernetes.io/bootstrapping": "rbac-defaults"}
_READ: Final = ["get", "list", "watch"]
_WRITE: Final = ["create", "delete", "deletecollection", "patch", "update"]
_MESH: Final = [
    "networking.istio.io", "security.istio.io", "telemetry.istio.io", "gateway.networking.k8s.io",
    "policy.marline.io",
]  # fmt: skip
_CORE: Final = ["namespaces", "namespaces/status", "services", "services/status", "configmaps", "events"]


def _rule(verbs: Sequence[str], group: str | list[str], *resources: str) -> dict[str, Any]:
    groups = group if isinstance(group, list) else [group]
    return {"verbs": list(verbs), "apiGroups": groups, "resources": list(resources)}


def _paths(verb: str, *paths: str) -> dict[str, Any]:
    return {"verbs": [verb], "nonResourceURLs": list(paths)}


_SEE: Final = (
    _rule(_READ, "", *_CORE),
    _rule(_READ, ["discovery.k8s.io", "events.k8s.io"], "endpointslices", "events"),
    _rule(_READ, [*_MESH, "extensions.istio.io"], "*"),
    _rule(["get", "list"], "apiextensions.k8s.io", "customresourcedefinitions"),
    _paths("get", "/marline/v1/proxies", "/marline/v1/ca", "/metrics"),
)
"""Everything but Secrets, and who may do what."""
_EDITED: Final = [
    "virtualservices", "destinationrules", "gateways", "serviceentries", "workloadentries", "workloadgroups",
    "sidecars", "proxyconfigs", "peerauthentications", "requestauthentications", "authorizationpolicies",
    "telemetries", "httproutes", "grpcroutes", "tlsroutes", "tcproutes", "udproutes", "listenersets",
    "backendtlspolicies", "referencegrants", "ratelimitpolicies", "resiliencepolicies",
]  # fmt: skip
"""Not EnvoyFilters and WasmPlugins: they bring code into proxies."""

_RULES: Final[Mapping[str, Sequence[dict[str, Any]]]] = {
    "cluster-admin": (_rule(["*"], "*", "*"), _paths("*", "*")),
    "system:basic-user": (
        _rule(["create"], "authentication.k8s.io", "selfsubjectreviews"),
        _rule(["create"], "authorization.k8s.io", "selfsubjectaccessreviews", "selfsubjectrulesreviews"),
        # Each object, and each identity, is then asked for on its own.
        _paths("post", "/marline/v1/apply", "/marline/v1/sign", "/marline/v1/jwt"),
        _paths("get", "/marline/v1/bundles"),
    ),
    "system:discovery": (_paths("get", "/api", "/api/*", "/apis", "/apis/*", "/openapi/*", *OPEN_PATHS),),
    "system:auth-delegator": (
        _rule(["create"], "authorization.k8s.io", "subjectaccessreviews", "localsubjectaccessreviews"),
    ),
    "system:aggregate-to-view": _SEE,
    "system:aggregate-to-edit": (
        _rule([*_READ, *_WRITE], "", "services", "configmaps", "secrets", "events"),
        _rule(_WRITE, _MESH, *_EDITED, *(f"{name}/status" for name in _EDITED)),
        _rule(_WRITE, "discovery.k8s.io", "endpointslices"),
        _rule(["create"], "", CERTIFICATES),
    ),
    "system:aggregate-to-admin": (
        _rule([*_READ, *_WRITE], GROUP, "roles", "rolebindings"),
        _rule(_WRITE, ["networking.istio.io", "extensions.istio.io"], "envoyfilters", "wasmplugins"),
        _rule(["create"], "authorization.k8s.io", "localsubjectaccessreviews"),
        _rule(["impersonate"], "", "serviceaccounts"),
    ),
    "marline:node": (
        *_SEE,
        _rule(["patch", "update"], "networking.istio.io", "workloadentries", "workloadentries/status"),
        _rule(["create", "patch", "update"], ["", "events.k8s.io"], "events"),
        _paths("post", "/marline/v1/authority"),
    ),
}
_SUMS: Final = {"view": ("view",), "edit": ("edit", "view"), "admin": ("admin", "edit", "view")}
"""The roles for users, by the labels that others are added with: `…/aggregate-to-view: "true"`."""
_BOUND: Final = {
    "cluster-admin": ADMINS,
    "system:basic-user": AUTHENTICATED,
    "system:discovery": AUTHENTICATED,
    "marline:node": NODES,
}


def builtin() -> list[dict[str, Any]]:
    """All of them, as they are to be applied."""
    roles = [_role(name, {"rules": list(rules)}) for name, rules in _RULES.items()]
    for name, parts in _SUMS.items():
        selectors = [{"matchLabels": {_label(part): "true"}} for part in parts]
        roles.append(_role(name, {"aggregationRule": {"clusterRoleSelectors": selectors}, "rules": []}))
    return roles + [_binding(role, group) for role, group in _BOUND.items()]


def _label(part: str) -> str:
    return f"{GROUP}/aggregate-to-{part}"


def _role(name: str, body: dict[str, Any]) -> dict[str, Any]:
    part = name.removeprefix("system:aggregate-to-")
    labels = _LABELS | ({_label(part): "true"} if part != name else {})
    return {"apiVersion": _API, "kind": "ClusterRole", "metadata": _metadata(name, labels), **body}


def _binding(role: str, group: str) -> dict[str, Any]:
    return {
        "apiVersion": _API,
        "kind": "ClusterRoleBinding",
        "metadata": _metadata(role, _LABELS),
        "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": GROUP, "kind": "Group", "name": group}],
    }


def _metadata(name: str, labels: Mapping[str, str]) -> dict[str, Any]:
    return {"name": name, "labels": dict(labels), "annotations": {AUTO_UPDATE: "true"}}
