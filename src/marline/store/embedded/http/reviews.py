"""Questions about oneself: `kubectl auth whoami` and `kubectl auth can-i`."""

from collections.abc import Mapping
from typing import Any

from marline.store.embedded.credentials import User
from marline.store.embedded.http import auth


def review(plural: str, api_version: str, obj: Mapping[str, Any], user: User) -> dict[str, Any]:
    """The answer to a SelfSubjectReview or a SelfSubjectAccessReview."""
    answered: dict[str, Any] = {"apiVersion": api_version, "metadata": {}}
    if plural == "selfsubjectreviews":
        info = {"username": user.name, "groups": list(user.groups)}
        return answered | {"kind": "SelfSubjectReview", "status": {"userInfo": info}}
    spec = obj.get("spec") or {}
    about = spec.get("resourceAttributes") or {}
    path = spec.get("nonResourceAttributes") or {}
    may = auth.allowed(
        user, str(about.get("verb") or path.get("verb") or ""), str(about.get("group") or ""),
        str(about.get("resource") or ""),
    )  # fmt: skip
    return answered | {"kind": "SelfSubjectAccessReview", "spec": spec, "status": {"allowed": may}}
