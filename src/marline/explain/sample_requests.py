"""Requests like those that AuthorizationPolicies name: what to try if one asks about access as such."""

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from marline.api.security.authorization_policy import AuthorizationPolicySpec
from marline.api.security.authorization_rule import Operation
from marline.explain.request import Request

_MOST: Final = 24
_TEMPLATE: Final = re.compile(r"\{\*{1,2}\}")
_ANY: Final = "any"


def sample_requests(policies: Iterable[Any], authority: str = f"{_ANY}.invalid") -> tuple[Request, ...]:
    """One that no policy names first; then one for each method and path pattern of these resources."""
    found = {("GET", f"/{_ANY}"): None}
    for policy in policies:
        if isinstance(policy.spec, AuthorizationPolicySpec):
            operations = (to.operation for rule in policy.spec.rules for to in rule.to)
            found |= {key: None for item in operations if item is not None for key in _named(item)}
    return tuple(Request(authority, method, path) for method, path in list(found)[:_MOST])


def _named(operation: Operation) -> Iterator[tuple[str, str]]:
    methods = [item for item in (*operation.methods, *operation.not_methods) if "*" not in item] or ["GET"]
    paths = [_path(item) for item in (*operation.paths, *operation.not_paths)] or [f"/{_ANY}"]
    return ((method, path) for method in methods for path in paths)


def _path(pattern: str) -> str:
    """One that a pattern is for."""
    path = _TEMPLATE.sub(_ANY, pattern).replace("*", _ANY)
    return path if path.startswith("/") else f"/{path}"
