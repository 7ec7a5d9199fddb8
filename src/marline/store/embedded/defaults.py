"""Fields that the server fills in where the user left them out (kubernetes.io API reference)."""

import base64
from typing import Any

from marline.api.resource import Ref


def default(obj: dict[str, Any]) -> dict[str, Any]:
    """A copy of an admitted object with its defaults."""
    group, _, _ = str(obj["apiVersion"]).rpartition("/")
    match Ref(group, obj["kind"], "", "")[:2]:
        case "", "Service":
            return {**obj, "spec": _service(obj.get("spec") or {})}
        case "", "Secret":
            return _secret(obj)
        case "", "Namespace":
            name = obj["metadata"]["name"]
            labels = {**(obj["metadata"].get("labels") or {}), "kubernetes.io/metadata.name": name}
            spec = {"finalizers": ["kubernetes"], **(obj.get("spec") or {})}
            return {**obj, "metadata": {**obj["metadata"], "labels": labels}, "spec": spec}
        case "", "Event":
            return {"type": "Normal", **obj}
        case "discovery.k8s.io", "EndpointSlice":
            ports = [{"name": "", "protocol": "TCP", **port} for port in obj.get("ports") or ()]
            return {**obj, "ports": ports}
        case "rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding":
            return _binding(obj)
    return dict(obj)


def _binding(obj: dict[str, Any]) -> dict[str, Any]:
    group = {"apiGroup": "rbac.authorization.k8s.io"}
    result = {**obj, "roleRef": group | obj["roleRef"]}
    if obj.get("subjects"):
        result["subjects"] = [
            item if item["kind"] == "ServiceAccount" else group | item for item in obj["subjects"]
        ]
    return result


def _service(spec: dict[str, Any]) -> dict[str, Any]:
    defaults: dict[str, Any] = {"type": "ClusterIP", "sessionAffinity": "None"}
    if spec.get("type") != "ExternalName":
        defaults |= {
            "internalTrafficPolicy": "Cluster",
            "ipFamilies": ["IPv4"],
            "ipFamilyPolicy": "SingleStack",
        }
    result = {**defaults, **{key: value for key, value in spec.items() if value is not None}}
    if spec.get("ports"):
        result["ports"] = [{"protocol": "TCP", "targetPort": port["port"], **port} for port in spec["ports"]]
    return result


def _secret(obj: dict[str, Any]) -> dict[str, Any]:
    """`stringData` is a way of writing `data`, never stored."""
    result = {"type": "Opaque", **obj}
    text = result.pop("stringData", None) or {}
    if text:
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in text.items()}
        result["data"] = {**(obj.get("data") or {}), **encoded}
    return result
