"""When rules of AuthorizationPolicies have last matched, for longer than the proxies live that count it.

Counters of a proxy begin at zero with its process. So what is kept are the counts that were seen last, by
process, and when a count was last seen to have grown. Pure: whoever asks the proxies says what time it is.
"""

from collections.abc import Mapping, Set

import msgspec

from marline.telemetry.policy_hits import RuleId


class Matches(msgspec.Struct, frozen=True, rename="camel"):
    """What has been seen of the rules of a mesh. Times are in seconds since the epoch."""

    since: float
    """When somebody began to look."""
    last: dict[str, float] = {}
    """By rule: when it was last seen to have matched."""
    counts: dict[str, dict[str, int]] = {}
    """By process of a proxy, then by rule."""

    def last_of(self, namespace: str, name: str) -> float | None:
        """When any rule of a policy was last seen to have matched."""
        found = (at for rule, at in self.last.items() if rule.startswith(f"{namespace}/{name}/"))
        return max(found, default=None)


def seen(
    matches: Matches, found: Mapping[str, Mapping[RuleId, int] | None], policies: Set[str], now: float
) -> Matches:
    """After the proxies were asked. `found` is what they have counted, by process, None of one that does not
    answer; a process that is not there has ended. Of policies that are no more (`policies` are those that
    are, as `namespace/name`) nothing is kept."""
    last = {rule: at for rule, at in matches.last.items() if rule.rpartition("/")[0] in policies}
    counts: dict[str, dict[str, int]] = {}
    for process, rules in found.items():
        before = matches.counts.get(process, {})
        if rules is None:
            counts[process] = before
            continue
        counts[process] = {_key(rule): count for rule, count in rules.items()}
        for rule, count in counts[process].items():
            if count > before.get(rule, 0) and rule.rpartition("/")[0] in policies:
                last[rule] = now
    return Matches(matches.since, last, counts)


def _key(rule: RuleId) -> str:
    return f"{rule.namespace}/{rule.name}/{rule.rule}"
