"""Roles and bindings to write."""

from typing import Any

API = "rbac.authorization.k8s.io/v1"


def rule(verbs: str, resources: str, groups: str = "", *names: str) -> dict[str, Any]:
    made = {"verbs": verbs.split(), "apiGroups": groups.split() or [""], "resources": resources.split()}
    return made | ({"resourceNames": list(names)} if names else {})


def paths(verbs: str, *urls: str) -> dict[str, Any]:
    return {"verbs": verbs.split(), "nonResourceURLs": list(urls)}


def role(name: str, *rules: dict[str, Any], namespace: str = "default") -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": API, "kind": "Role", "metadata": metadata, "rules": list(rules)}


def cluster_role(name: str, *rules: dict[str, Any], **labels: str) -> dict[str, Any]:
    metadata = {"name": name, "labels": labels}
    return {"apiVersion": API, "kind": "ClusterRole", "metadata": metadata, "rules": list(rules)}


def user(name: str) -> dict[str, Any]:
    return {"kind": "User", "name": name}


def group(name: str) -> dict[str, Any]:
    return {"kind": "Group", "name": name}


def binding(
    name: str, bound: str, *subjects: dict[str, Any], namespace: str = "default", kind: str = "Role"
) -> dict[str, Any]:
    """A RoleBinding; with `namespace=""` a ClusterRoleBinding of a ClusterRole."""
    reference = {"kind": kind if namespace else "ClusterRole", "name": bound}
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    made = {"apiVersion": API, "kind": "RoleBinding" if namespace else "ClusterRoleBinding"}
    return made | {"metadata": metadata, "roleRef": reference, "subjects": list(subjects)}
