"""Questions about oneself: `kubectl auth whoami`, `kubectl auth can-i` and `kubectl auth can-i --list`.

Source: kubernetes.io API reference, SelfSubjectReview, SelfSubjectAccessReview, SelfSubjectRulesReview.
"""

from collections.abc import Mapping
from typing import Any

from marline.store.embedded.credentials import User
from marline.store.embedded.http import auth


def review(kind: str, api_version: str, obj: Mapping[str, Any], user: User) -> dict[str, Any]:
    """The answer to a review of this kind."""
    answered = {"apiVersion": api_version, "kind": kind, "metadata": {}}
    spec = obj.get("spec") or {}
    match kind:
        case "SelfSubjectReview":
            info = {"username": user.name, "groups": list(user.groups)}
            return answered | {"status": {"userInfo": info}}
        case "SelfSubjectRulesReview":
            return answered | {"spec": spec, "status": _rules(user)}
    return answered | {"spec": spec, "status": {"allowed": _may(spec, user)}}


def _may(spec: Mapping[str, Any], user: User) -> bool:
    if path := spec.get("nonResourceAttributes"):
        return auth.allowed_path(user, str(path.get("verb") or ""), str(path.get("path") or ""))
    about = spec.get("resourceAttributes") or {}
    verb, group, plural = (str(about.get(key) or "") for key in ("verb", "group", "resource"))
    return auth.allowed(user, verb, group, plural)


def _rules(user: User) -> dict[str, Any]:
    """What a user may do is the same in every namespace."""
    return {
        "resourceRules": [
            {"verbs": list(rule.verbs), "apiGroups": [rule.group], "resources": list(rule.resources)}
            for rule in auth.rules_of(user)
        ],
        "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": list(auth.paths_of(user))}],
        "incomplete": False,
    }
