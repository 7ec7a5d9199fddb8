"""What one rule allows, and whether rules together allow all that another does. Pure.

Source: kubernetes.io, "Using RBAC Authorization": `*`, subresources, resourceNames, paths that end in `*`.
"""

from collections.abc import Iterable, Iterator
from itertools import product
from typing import Final

from marline.api.rbac import PolicyRule
from marline.store.embedded.access.attributes import Attributes

ALL: Final = PolicyRule(("*",), ("*",), ("*",))
ALL_PATHS: Final = PolicyRule(("*",), non_resource_urls=("*",))


def allows(rule: PolicyRule, asked: Attributes) -> bool:
    if not _among(asked.verb, rule.verbs):
        return False
    if asked.path:
        return any(_path_matches(pattern, asked.path) for pattern in rule.non_resource_urls)
    return (
        _among(asked.group, rule.api_groups)
        and _resource_matches(rule.resources, asked.resource_path)
        and (not rule.resource_names or asked.name in rule.resource_names)
    )


def uncovered(wanted: Iterable[PolicyRule], held: Iterable[PolicyRule]) -> list[PolicyRule]:
    """The parts of `wanted`, each of one verb on one thing, that none of the rules in `held` allows."""
    held = tuple(held)
    parts = (part for rule in wanted for part in _parts(rule))
    return [part for part in parts if not any(_covers(rule, part) for rule in held)]


def _parts(rule: PolicyRule) -> Iterator[PolicyRule]:
    for verb, path in product(rule.verbs, rule.non_resource_urls):
        yield PolicyRule((verb,), non_resource_urls=(path,))
    names: list[tuple[str, ...]] = [(name,) for name in rule.resource_names] or [()]
    for verb, group, resource, name in product(rule.verbs, rule.api_groups, rule.resources, names):
        yield PolicyRule((verb,), (group,), (resource,), name)


def _covers(held: PolicyRule, part: PolicyRule) -> bool:
    if not _among(part.verbs[0], held.verbs):
        return False
    if part.non_resource_urls:
        return any(_path_covers(pattern, part.non_resource_urls[0]) for pattern in held.non_resource_urls)
    return (
        _among(part.api_groups[0], held.api_groups)
        and _resource_matches(held.resources, part.resources[0])
        and (
            not held.resource_names
            or (bool(part.resource_names) and part.resource_names[0] in held.resource_names)
        )
    )


def _among(value: str, allowed: tuple[str, ...]) -> bool:
    return "*" in allowed or value in allowed


def _resource_matches(allowed: tuple[str, ...], resource: str) -> bool:
    """`*` is every resource and subresource; `*/status` that subresource of every resource."""
    _, slash, subresource = resource.partition("/")
    return _among(resource, allowed) or (bool(slash) and f"*/{subresource}" in allowed)


def _path_matches(pattern: str, path: str) -> bool:
    return pattern == path or (pattern.endswith("*") and path.startswith(pattern[:-1]))


def _path_covers(pattern: str, wanted: str) -> bool:
    return pattern == wanted or (pattern.endswith("*") and wanted.rstrip("*").startswith(pattern[:-1]))
