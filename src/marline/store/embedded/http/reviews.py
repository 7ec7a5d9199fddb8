"""Who may do what: `kubectl auth whoami`, `kubectl auth can-i` and its `--list`. Nothing is stored.

Source: kubernetes.io API reference, SelfSubjectReview, SelfSubjectAccessReview, SelfSubjectRulesReview,
SubjectAccessReview, LocalSubjectAccessReview.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from marline.api.rbac import PolicyRule
from marline.store.embedded.access.attributes import Attributes
from marline.store.embedded.access.policy import Policy
from marline.store.embedded.credentials import User
from marline.store.interface import BadRequest

_AUTHORIZATION: Final = "authorization.k8s.io"


@dataclass(frozen=True, slots=True)
class Review:
    """A kind of question."""

    group: str
    plural: str
    kind: str
    namespaced: bool = False
    version: str = "v1"


REVIEWS: Final = (
    Review("authentication.k8s.io", "selfsubjectreviews", "SelfSubjectReview"),
    Review(_AUTHORIZATION, "selfsubjectaccessreviews", "SelfSubjectAccessReview"),
    Review(_AUTHORIZATION, "selfsubjectrulesreviews", "SelfSubjectRulesReview"),
    Review(_AUTHORIZATION, "subjectaccessreviews", "SubjectAccessReview"),
    Review(_AUTHORIZATION, "localsubjectaccessreviews", "LocalSubjectAccessReview", namespaced=True),
)


class _Resource(msgspec.Struct, frozen=True, rename="camel"):
    namespace: str = ""
    verb: str = ""
    group: str = ""
    resource: str = ""
    subresource: str = ""
    name: str = ""


class _Path(msgspec.Struct, frozen=True):
    path: str = ""
    verb: str = ""


class _Spec(msgspec.Struct, frozen=True, rename="camel"):
    """What counts here of the specs of all reviews."""

    resource_attributes: _Resource | None = None
    non_resource_attributes: _Path | None = None
    user: str = ""
    groups: tuple[str, ...] | None = ()
    namespace: str = ""


def find(group: str, version: str, steps: Sequence[str]) -> tuple[Review, str] | None:
    """The kind of question that is asked at a path, and the namespace in it."""
    namespace = ""
    if len(steps) == 3 and steps[0] == "namespaces":
        namespace, steps = steps[1], steps[2:]
    for review in REVIEWS:
        if (review.group, review.version, [review.plural]) == (group, version, list(steps)):
            return (review, namespace) if review.namespaced == bool(namespace) else None
    return None


def answer(
    review: Review, obj: Mapping[str, Any], namespace: str, user: User, policy: Policy
) -> dict[str, Any]:
    """Raises `BadRequest`."""
    answered = {"apiVersion": f"{review.group}/{review.version}", "kind": review.kind, "metadata": {}}
    given = obj.get("spec") or {}
    spec = _read(given)
    match review.kind:
        case "SelfSubjectReview":
            info = {"username": user.name, "groups": list(user.groups)}
            return answered | {"status": {"userInfo": info}}
        case "SelfSubjectRulesReview":
            return answered | {"spec": given, "status": _rules(policy.rules_of(user, spec.namespace))}
        case "SubjectAccessReview" | "LocalSubjectAccessReview":
            user = User(spec.user, spec.groups or ())
    asked = _asked(spec)
    if namespace and asked.namespace != namespace:
        raise BadRequest(f"spec.resourceAttributes.namespace is not {namespace}, which is that of the path")
    return answered | {"spec": given, "status": {"allowed": policy.allows(user, asked)}}


def _read(spec: object) -> _Spec:
    try:
        return msgspec.convert(spec, _Spec)
    except msgspec.ValidationError as error:
        raise BadRequest(f"spec: {error}") from error


def _asked(spec: _Spec) -> Attributes:
    about = spec.resource_attributes
    if about is not None:
        return Attributes(
            about.verb, about.group, about.resource, about.subresource, about.namespace, about.name
        )
    if spec.non_resource_attributes is not None and spec.non_resource_attributes.path:
        return Attributes(spec.non_resource_attributes.verb, path=spec.non_resource_attributes.path)
    raise BadRequest("spec has neither resourceAttributes nor nonResourceAttributes")


def _rules(rules: Iterable[PolicyRule]) -> dict[str, Any]:
    """Sums: a rule that several roles give is there once."""
    found = list(dict.fromkeys(rules))
    return {
        "resourceRules": [
            {
                "verbs": list(rule.verbs), "apiGroups": list(rule.api_groups),
                "resources": list(rule.resources),
                **({"resourceNames": list(rule.resource_names)} if rule.resource_names else {}),
            }
            for rule in found if rule.resources
        ],
        "nonResourceRules": [
            {"verbs": list(rule.verbs), "nonResourceURLs": list(rule.non_resource_urls)}
            for rule in found if rule.non_resource_urls
        ],
        "incomplete": False,
    }  # fmt: skip
