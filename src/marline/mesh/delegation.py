"""Delegation: rules of a VirtualService that stand in another one, put into their place.

istio.io, VirtualService reference, `Delegate`. The root has the hosts and gateways; the delegate, without
either, has rules of its own, of which each must ask for no more than a match of the root's rule lets through:
one that conflicts is left out, as is a delegate that is not there or not exported to the root's namespace.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

import msgspec

from marline.api.networking.virtual_service import (
    Destination,
    HTTPMatchRequest,
    HTTPMirrorPolicy,
    HTTPRoute,
    StringMatch,
    VirtualServiceSpec,
)
from marline.api.resource import Ref, Resource
from marline.mesh.gateway_names import qualified_gateways
from marline.mesh.hosts import possible_hosts
from marline.mesh.visibility import is_exported

Find = Callable[[Ref], Resource[VirtualServiceSpec] | None]
_INHERITED: Final = (
    "rewrite", "timeout", "retries", "fault", "mirror", "mirror_percent", "mirror_percentage", "mirrors",
    "cors_policy", "headers",
)  # fmt: skip
"""What a root's rule says for those of its delegates that do not say it themselves."""


@dataclass(frozen=True, slots=True)
class RuleOrigin:
    """Where a rule is written: the resource, the rule's field there, and that of each of its matches."""

    resource: Ref
    field: str
    matches: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Merged:
    """A VirtualService with the rules of its delegates in place, and where each rule is from."""

    resource: Resource[VirtualServiceSpec]
    origins: tuple[RuleOrigin, ...] = ()
    """Empty: all rules are its own."""

    def origin(self, index: int) -> RuleOrigin:
        return self.origins[index] if self.origins else rule_origin(self.resource, index)


def delegate_refs(item: Resource[VirtualServiceSpec]) -> set[Ref]:
    """The VirtualServices that a root delegates to."""
    return {
        delegate_ref(item, rule.delegate.namespace, rule.delegate.name)
        for rule in item.spec.http
        if rule.delegate is not None
    }


def delegate_ref(root: Resource[VirtualServiceSpec], namespace: str, name: str) -> Ref:
    """Without a namespace it is in the root's."""
    return Ref(root.group, root.kind, namespace or root.namespace, name)


def is_delegate(item: Resource[VirtualServiceSpec]) -> bool:
    """A VirtualService without hosts is there for others only."""
    return not item.spec.hosts


def merge(root: Resource[VirtualServiceSpec], find: Find, cluster_domain: str) -> Merged:
    """The root as if its delegates' rules were its own; `find` looks up a VirtualService."""
    if not any(rule.delegate is not None for rule in root.spec.http):
        return Merged(root)
    rules: list[HTTPRoute] = []
    origins: list[RuleOrigin] = []
    for index, rule in enumerate(root.spec.http):
        own = iter(((rule, rule_origin(root, index)),))
        found = own if rule.delegate is None else _delegated(root, rule, find, cluster_domain)
        for each, origin in found:
            rules.append(each)
            origins.append(origin)
    spec = msgspec.structs.replace(root.spec, http=tuple(rules))
    return Merged(replace(root, spec=spec), tuple(origins))


def rule_origin(item: Resource[VirtualServiceSpec], index: int) -> RuleOrigin:
    """That of a rule that stands where it counts."""
    field = f"spec.http[{index}]"
    matches = tuple(f"{field}.match[{number}]" for number in range(len(item.spec.http[index].match)))
    return RuleOrigin(item.ref, field, matches)


def _delegated(
    root: Resource[VirtualServiceSpec], rule: HTTPRoute, find: Find, domain: str
) -> Iterator[tuple[HTTPRoute, RuleOrigin]]:
    if rule.delegate is None:
        return
    delegate = find(delegate_ref(root, rule.delegate.namespace, rule.delegate.name))
    if delegate is None or not is_delegate(delegate):
        return
    if not is_exported(delegate.spec.export_to, delegate.namespace, root.namespace):
        return
    above = _qualified(rule, root.namespace, domain)
    for index, own in enumerate(delegate.spec.http):
        below = _qualified(own, delegate.namespace, domain)
        merged = _merge_rules(above, below, rule_origin(delegate, index))
        if own.delegate is None and merged is not None:
            yield merged


def _qualified(rule: HTTPRoute, namespace: str, domain: str) -> HTTPRoute:
    """A rule whose names mean the same wherever it stands: "the short name is interpreted based on the
    namespace of the rule" (istio.io, `Destination.host`)."""

    def full(destination: Destination) -> Destination:
        if "." in destination.host:
            return destination
        name = possible_hosts(destination.host, namespace, domain)[0]
        return msgspec.structs.replace(destination, host=name)

    matches = tuple(
        msgspec.structs.replace(match, gateways=tuple(sorted(qualified_gateways(match.gateways, namespace))))
        for match in rule.match
    )
    return msgspec.structs.replace(
        rule,
        match=matches,
        route=tuple(msgspec.structs.replace(item, destination=full(item.destination)) for item in rule.route),
        mirror=None if rule.mirror is None else full(rule.mirror),
        mirrors=tuple(HTTPMirrorPolicy(full(item.destination), item.percentage) for item in rule.mirrors),
    )


def _merge_rules(
    above: HTTPRoute, below: HTTPRoute, origin: RuleOrigin
) -> tuple[HTTPRoute, RuleOrigin] | None:
    """A delegate's rule under a root's, and where its matches are from; None if they conflict."""
    matches = _merge_matches(above.match, below.match, origin)
    if matches is None:
        return None
    inherited = {name: getattr(above, name) for name in _INHERITED if getattr(below, name) in (None, ())}
    merged = msgspec.structs.replace(
        below,
        name="-".join(name for name in (above.name, below.name) if name),
        match=tuple(match for match, _ in matches),
        **inherited,
    )
    return merged, replace(origin, matches=tuple(field for _, field in matches))


def _merge_matches(
    above: tuple[HTTPMatchRequest, ...], below: tuple[HTTPMatchRequest, ...], origin: RuleOrigin
) -> list[tuple[HTTPMatchRequest, str]] | None:
    """Each match of the delegate under each of the root's that lets it through; None if a match of the
    delegate has none of those, for then the whole rule conflicts."""
    if not below:
        return [(match, origin.field) for match in above]
    if not above:
        return list(zip(below, origin.matches, strict=True))
    merged: list[tuple[HTTPMatchRequest, str]] = []
    for match, field in zip(below, origin.matches, strict=True):
        allowing = [each for each in above if not _conflict(each, match)]
        if not allowing:
            return None
        merged.extend((_merge_match(each, match), field) for each in allowing)
    return merged


def _merge_match(above: HTTPMatchRequest, below: HTTPMatchRequest) -> HTTPMatchRequest:
    own = {
        name: getattr(below, name) or getattr(above, name)
        for name in (
            "uri", "scheme", "method", "authority", "port", "source_namespace", "gateways", "stat_prefix",
        )
    }  # fmt: skip
    joined = {
        name: {**getattr(above, name), **getattr(below, name)}
        for name in ("headers", "without_headers", "query_params", "source_labels")
    }
    name = "-".join(name for name in (above.name, below.name) if name)
    return msgspec.structs.replace(below, name=name, **own, **joined)


def _conflict(above: HTTPMatchRequest, below: HTTPMatchRequest) -> bool:
    """Does the delegate's match ask for something that the root's does not let through?"""
    texts = ("uri", "scheme", "method", "authority")
    if not all(_narrows(getattr(above, name), getattr(below, name)) for name in texts):
        return True
    for name in ("headers", "without_headers", "query_params"):
        wider: Mapping[str, StringMatch] = getattr(above, name)
        narrower: Mapping[str, StringMatch] = getattr(below, name)
        if not all(_narrows(wider.get(key), value) for key, value in narrower.items()):
            return True
    return (
        above.ignore_uri_case != below.ignore_uri_case
        or (above.port != below.port and bool(above.port and below.port))
        or above.source_namespace not in ("", below.source_namespace)
        or any(above.source_labels.get(key, value) != value for key, value in below.source_labels.items())
        or bool(above.gateways and set(below.gateways) - set(above.gateways))
    )


def _narrows(above: StringMatch | None, below: StringMatch | None) -> bool:
    """Whatever `below` matches, does `above` match too? Two conditions of which one is a regular expression
    are not compared, as in Istio: they conflict."""
    if above is None or below is None:
        return True
    if above.regex is not None or below.regex is not None:
        return False
    if above.exact is not None:
        return below.exact == above.exact
    narrower = below.prefix if below.prefix is not None else below.exact
    return above.prefix is not None and narrower is not None and narrower.startswith(above.prefix)
