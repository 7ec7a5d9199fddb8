"""Which policies of Envoy's RBAC cover a request, or a connection.

envoyproxy.io, "Role Based Access Control (RBAC) Filter" and `config.rbac.v3.RBAC`: a policy covers what has
one of its permissions and is from one of its principals; of several the first by name is reported.
"""

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

from envoy.extensions.path.match.uri_template.v3 import uri_template_match_pb2

from marline.explain.conditions import header_fault
from marline.explain.patterns import fits
from marline.explain.request import CannotTell, Request, only

_TEMPLATE_PART: Final = re.compile(r"\{\*\*\}|\{\*\}|\*\*|\*|\{(\w+)(?:=([^{}]*))?\}")
_SEGMENT: Final = r"[-a-zA-Z0-9._~%!$&'()+,;:@=]+"
_SEGMENTS: Final = r"[-a-zA-Z0-9._~%!$&'()+,;:@=/]*"
"""Of characters that Envoy's path templates know (`uri_template_internal.cc`, from RFC 3986)."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """What a proxy knows of who wants something, and of what is wanted."""

    principals: tuple[str, ...] = ()
    """The URIs in the client's verified certificate; none without mutual TLS."""
    request: Request | None = None
    """None: a connection of which no request is read."""
    source: str = ""
    """The address of the peer; "": not known."""
    remote: str = ""
    """The address of the client, as trusted proxies say; "": not known."""
    address: str = ""
    """The destination's."""
    port: int = 0
    server_name: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """What filters have written about the request, as plain values: by filter."""


def covering(rules: Any, attempt: Attempt) -> str:
    """The name of the policy that covers an attempt; "" if none does. Raises `CannotTell`."""
    names = sorted(rules.policies)
    return next((name for name in names if covers(rules.policies[name], attempt)), "")


def covers(policy: Any, attempt: Attempt) -> bool:
    """Does one policy cover it? Raises `CannotTell`."""
    only(policy, ("permissions", "principals"), "a policy")
    return _all(
        (
            lambda: _any(_each(permitted, policy.permissions, attempt)),
            lambda: _any(_each(_is_from, policy.principals, attempt)),
        )
    )


Check = Callable[[], bool]


def _each(check: Callable[[Any, Attempt], bool], rules: Iterable[Any], attempt: Attempt) -> list[Check]:
    return [lambda rule=rule: check(rule, attempt) for rule in rules]  # type: ignore[misc]


def _all(checks: Iterable[Check]) -> bool:
    """Do all hold? One that cannot be told does not matter if another one settles it."""
    return not _any([lambda check=check: not check() for check in checks])  # type: ignore[misc]


def _any(checks: Iterable[Check]) -> bool:
    doubt: CannotTell | None = None
    for check in checks:
        try:
            if check():
                return True
        except CannotTell as error:
            doubt = doubt or error
    if doubt is not None:
        raise doubt
    return False


def permitted(rule: Any, attempt: Attempt) -> bool:
    """Does a `Permission` hold? Raises `CannotTell`."""
    kind = rule.WhichOneof("rule")
    if kind in ("and_rules", "or_rules"):
        checks = _each(permitted, getattr(rule, kind).rules, attempt)
        return _all(checks) if kind == "and_rules" else _any(checks)
    if kind == "not_rule":
        return not permitted(rule.not_rule, attempt)
    if kind == "destination_ip":
        return _within(rule.destination_ip, attempt.address, "the destination's address")
    if kind == "destination_port":
        return bool(rule.destination_port == attempt.port)
    if kind == "destination_port_range":
        return bool(rule.destination_port_range.start <= attempt.port < rule.destination_port_range.end)
    if kind == "requested_server_name":
        return fits(rule.requested_server_name, attempt.server_name)
    if kind == "uri_template":
        return _fits_template(rule.uri_template, attempt)
    return _common(kind, rule, attempt)


def _is_from(rule: Any, attempt: Attempt) -> bool:
    kind = rule.WhichOneof("identifier")
    if kind in ("and_ids", "or_ids"):
        checks = _each(_is_from, getattr(rule, kind).ids, attempt)
        return _all(checks) if kind == "and_ids" else _any(checks)
    if kind == "not_id":
        return not _is_from(rule.not_id, attempt)
    if kind == "authenticated":
        if not rule.authenticated.HasField("principal_name"):
            return bool(attempt.principals)
        return any(fits(rule.authenticated.principal_name, item) for item in attempt.principals)
    if kind in ("source_ip", "direct_remote_ip"):
        return _within(getattr(rule, kind), attempt.source, "the peer's address")
    if kind == "remote_ip":
        return _within(rule.remote_ip, attempt.remote or attempt.source, "the client's address")
    return _common(kind, rule, attempt)


def _common(kind: str | None, rule: Any, attempt: Attempt) -> bool:
    """What permissions and principals have in common."""
    if kind == "any":
        return bool(rule.any)
    if kind == "header":
        return attempt.request is not None and not header_fault(rule.header, attempt.request)
    if kind == "url_path":
        return attempt.request is not None and fits(rule.url_path.path, attempt.request.bare_path)
    if kind == "metadata":
        return metadata_fits(rule.metadata, attempt.metadata)
    if kind == "sourced_metadata" and not rule.sourced_metadata.metadata_source:
        return metadata_fits(rule.sourced_metadata.metadata_matcher, attempt.metadata)
    raise CannotTell(f"a policy asks for {kind}, which cannot be evaluated")


def _within(block: Any, address: str, whose: str) -> bool:
    if not address:
        raise CannotTell(f"{whose} is not known")
    network = ipaddress.ip_network(f"{block.address_prefix}/{block.prefix_len.value}", strict=False)
    return ipaddress.ip_address(address) in network


def metadata_fits(matcher: Any, metadata: Mapping[str, Any]) -> bool:
    """Does what filters have written fulfil an Envoy `MetadataMatcher`? Raises `CannotTell`."""
    found: Any = metadata.get(matcher.filter)
    for segment in matcher.path:
        found = found.get(segment.key) if isinstance(found, Mapping) else None
    return _value_fits(matcher.value, found) != bool(matcher.invert)


def _value_fits(matcher: Any, value: Any) -> bool:
    kind = matcher.WhichOneof("match_pattern")
    if kind == "string_match":
        return isinstance(value, str) and fits(matcher.string_match, value)
    if kind == "present_match":
        return (value is not None) == bool(matcher.present_match)
    if kind == "null_match":
        return value is None
    if kind == "bool_match":
        return isinstance(value, bool) and value == bool(matcher.bool_match)
    if kind == "list_match":
        return isinstance(value, list | tuple) and any(
            _value_fits(matcher.list_match.one_of, item) for item in value
        )
    if kind == "or_match":
        return any(_value_fits(item, value) for item in matcher.or_match.value_matchers)
    raise CannotTell(f"a policy asks for metadata by {kind}, which cannot be evaluated")


def _fits_template(extension: Any, attempt: Attempt) -> bool:
    config = uri_template_match_pb2.UriTemplateMatchConfig()
    if not extension.typed_config.Unpack(config):
        raise CannotTell("a policy asks for a path by something that cannot be evaluated")
    if attempt.request is None:
        return False
    return _template(config.path_template).fullmatch(attempt.request.bare_path) is not None


@lru_cache(maxsize=1024)
def _template(text: str) -> re.Pattern[str]:
    """A path template as a regular expression: `*` is one segment, `**` any number of them."""
    made, end = [], 0
    for found in _TEMPLATE_PART.finditer(text):
        made.append(re.escape(text[end : found.start()]))
        pattern = found[0].strip("{}") if found[0] in ("{*}", "{**}", "*", "**") else found[2] or "*"
        made.append(_SEGMENTS if pattern == "**" else _SEGMENT)
        end = found.end()
    return re.compile("".join((*made, re.escape(text[end:]))))
