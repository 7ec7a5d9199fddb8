"""How often rules of AuthorizationPolicies covered a request, as Envoys count it.

envoyproxy.io, "Role Based Access Control (RBAC) Filter", "Per policy statistics". Of connections that are not
HTTP Envoy counts no single rules.
"""

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

PATH: Final = "/stats?usedonly&filter=%5C.rbac%5C..*policy%5C."
_LINE: Final = re.compile(
    r".*\bns\[(?P<namespace>[^\]]*)\]-policy\[(?P<name>[^\]]*)\]-rule\[(?P<rule>\d+)\]"
    r"[^.]*\.(?:shadow_)?(?:allowed|denied): (?P<count>\d+)"
)


class RuleId(NamedTuple):
    """A rule of an AuthorizationPolicy."""

    namespace: str
    name: str
    rule: int


def policy_hits(texts: Iterable[str]) -> dict[RuleId, int]:
    """By rule, of several Envoys together; `texts` are what they answer to `PATH`."""
    found: dict[RuleId, int] = {}
    for line in (line for text in texts for line in text.splitlines()):
        if match := _LINE.fullmatch(line):
            rule = RuleId(match["namespace"], match["name"], int(match["rule"]))
            found[rule] = found.get(rule, 0) + int(match["count"])
    return found
