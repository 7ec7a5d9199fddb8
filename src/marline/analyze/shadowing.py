"""Rules that never get a request, since earlier ones take all that they are for.

A match covers a later one if each of its conditions follows from a condition of the later one. Where that
cannot be told (two different regular expressions) it is taken not to.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from marline.analyze.findings import INEFFECTIVE_MATCH, UNREACHABLE_RULE, Finding
from marline.analyze.names import virtual_services
from marline.api.networking.virtual_service import (
    HTTPMatchRequest,
    L4MatchAttributes,
    StringMatch,
    TLSMatchAttributes,
    VirtualServiceSpec,
)
from marline.api.resource import Resource
from marline.mesh.hosts import host_matches
from marline.mesh.snapshot import MeshSnapshot

AnyMatch = HTTPMatchRequest | L4MatchAttributes | TLSMatchAttributes
_EVERYTHING: Final = ("*", ".*", "/.*")


def unreachable_rules(snapshot: MeshSnapshot) -> Iterator[Finding]:
    for item in virtual_services(snapshot):
        yield from unreachable_in(item)


def unreachable_in(item: Resource[VirtualServiceSpec]) -> Iterator[Finding]:
    """Those of one VirtualService."""
    yield from _of_rules(item, "http", [rule.match for rule in item.spec.http], HTTPMatchRequest())
    yield from _of_rules(item, "tls", [rule.match for rule in item.spec.tls], None)
    yield from _of_rules(item, "tcp", [rule.match for rule in item.spec.tcp], L4MatchAttributes())


def _of_rules(
    item: Resource[VirtualServiceSpec],
    kind: str,
    rules: Sequence[Sequence[AnyMatch]],
    everything: AnyMatch | None,
) -> Iterator[Finding]:
    earlier: list[tuple[str, AnyMatch]] = []
    for index, matches in enumerate(rules):
        where = f"spec.{kind}[{index}]"
        given: list[tuple[str, AnyMatch]] = [
            (f"{where}.match[{number}]", match) for number, match in enumerate(matches)
        ]
        if not given and everything is not None:
            given = [(where, everything)]
        found = [(path, _taken_by(match, earlier)) for path, match in given]
        lost = [(path, by) for path, by in found if by]
        if given and len(lost) == len(given):
            takers = " and ".join(dict.fromkeys(by for _, by in lost))
            yield Finding(UNREACHABLE_RULE, item.ref, where, f"{takers} takes all that this rule is for")
        else:
            for path, by in lost:
                yield Finding(INEFFECTIVE_MATCH, item.ref, path, f"{by} takes all that this match is for")
        earlier += given


def _taken_by(match: AnyMatch, earlier: Sequence[tuple[str, AnyMatch]]) -> str:
    return next((path for path, other in earlier if covers(other, match)), "")


def covers(earlier: AnyMatch, later: AnyMatch) -> bool:
    """Does everything that fulfils `later` fulfil `earlier`?"""
    if not _same_callers(earlier, later):
        return False
    if isinstance(earlier, HTTPMatchRequest) and isinstance(later, HTTPMatchRequest):
        return _covers_requests(earlier, later)
    if isinstance(earlier, TLSMatchAttributes) and isinstance(later, TLSMatchAttributes):
        names = all(any(host_matches(one, other) for one in earlier.sni_hosts) for other in later.sni_hosts)
        return names and _same_or_any(earlier.destination_subnets, later.destination_subnets)
    if isinstance(earlier, L4MatchAttributes) and isinstance(later, L4MatchAttributes):
        return earlier.source_subnet in ("", later.source_subnet) and _same_or_any(
            earlier.destination_subnets, later.destination_subnets
        )
    return False


def _same_callers(earlier: AnyMatch, later: AnyMatch) -> bool:
    if earlier.port and earlier.port != later.port:
        return False
    if earlier.source_namespace and earlier.source_namespace != later.source_namespace:
        return False
    if earlier.gateways and not (later.gateways and set(later.gateways) <= set(earlier.gateways)):
        return False
    return earlier.source_labels.items() <= later.source_labels.items()


def _same_or_any(earlier: tuple[str, ...], later: tuple[str, ...]) -> bool:
    return not earlier or (bool(later) and set(later) <= set(earlier))


def _covers_requests(earlier: HTTPMatchRequest, later: HTTPMatchRequest) -> bool:
    return (
        _covers_path(earlier, later)
        and _covers_text(earlier.method, later.method)
        and _covers_text(earlier.scheme, later.scheme)
        and _covers_text(earlier.authority, later.authority)
        and _covers_all(earlier.headers, later.headers)
        and _covers_all(earlier.query_params, later.query_params)
        and all(later.without_headers.get(name) == match for name, match in earlier.without_headers.items())
    )


def _covers_path(earlier: HTTPMatchRequest, later: HTTPMatchRequest) -> bool:
    one, other = earlier.uri, later.uri
    if one is None or one.prefix == "/" or one.regex in _EVERYTHING:
        return True
    if later.ignore_uri_case and not earlier.ignore_uri_case:
        return False
    if earlier.ignore_uri_case:
        one, other = _folded(one), _folded(other)
    return _covers_text(one, other)


def _folded(match: StringMatch | None) -> StringMatch | None:
    if match is None or match.regex is not None:
        return match
    exact = match.exact.lower() if match.exact is not None else None
    return StringMatch(exact, match.prefix.lower() if match.prefix is not None else None)


def _covers_all(earlier: Mapping[str, StringMatch], later: Mapping[str, StringMatch]) -> bool:
    return all(name in later and _covers_value(match, later[name]) for name, match in earlier.items())


def _covers_value(earlier: StringMatch, later: StringMatch) -> bool:
    """An empty match asks whether there is any value."""
    return earlier == StringMatch() or _covers_text(earlier, later)


def _covers_text(earlier: StringMatch | None, later: StringMatch | None) -> bool:
    if earlier is None or earlier == later:
        return True
    if later is None:
        return False
    if earlier.prefix is not None:
        text = later.exact if later.exact is not None else later.prefix
        return text is not None and text.startswith(earlier.prefix)
    return earlier.regex in _EVERYTHING
