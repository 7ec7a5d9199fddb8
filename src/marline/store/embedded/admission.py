"""What happens to an object before it is stored: it is checked, defaulted and given addresses."""

from typing import Any, Final

from marline.api.decode import admit
from marline.api.errors import FieldError, InvalidResource
from marline.api.resource import Ref
from marline.store.embedded.addresses import Addresses, OwnerOf
from marline.store.embedded.defaults import default
from marline.store.embedded.index import Stored

KEPT: Final = ("default", "kube-system", "istio-system")
"""Namespaces that are made at the first start and cannot be deleted."""


def prepare(
    ref: Ref, obj: dict[str, Any], old: Stored | None, addresses: Addresses, owner_of: OwnerOf
) -> dict[str, Any]:
    """The object as it is to be stored; raises `InvalidResource` with all faults."""
    admit(obj)
    obj = default(obj)
    before: dict[str, Any] = dict(old.obj) if old else {}
    match ref.group, ref.kind:
        case "", "Service":
            addresses.for_service(ref, obj["spec"], before.get("spec") or {}, owner_of)
        case "", "Secret" | "ConfigMap":
            _immutable(ref, obj, before)
        case "rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding":
            if before and obj["roleRef"] != before["roleRef"]:
                # What a binding was made for must not become another thing under its name.
                raise InvalidResource(str(ref), (FieldError("roleRef", "cannot change roleRef"),))
        case "", "Namespace":
            phase = "Terminating" if "deletionTimestamp" in obj["metadata"] else "Active"
            obj["status"] = {**(obj.get("status") or {}), "phase": phase}
        case "networking.istio.io", "ServiceEntry":
            found = addresses.for_entry(ref, obj, before, owner_of)
            status = {key: value for key, value in (obj.get("status") or {}).items() if key != "addresses"}
            if found:
                status["addresses"] = found
            if status:
                obj["status"] = status
    return obj


def _immutable(ref: Ref, obj: dict[str, Any], before: dict[str, Any]) -> None:
    if not before.get("immutable"):
        return
    for field in ("data", "binaryData", "immutable"):
        if obj.get(field) != before.get(field):
            message = "may not change when `immutable` is set"
            raise InvalidResource(str(ref), (FieldError(field, message),))
