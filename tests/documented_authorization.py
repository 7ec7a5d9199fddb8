"""What Istio's documentation says of AuthorizationPolicies, read straight from the resources: an oracle.

It shares no code with Marline, and knows nothing of Envoy.
"""

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

ROOT = "istio-system"
HTTP_FIELDS = {"hosts", "methods", "paths", "requestPrincipals"}
Policy = Mapping[str, Any]


@dataclass(frozen=True)
class Call:
    """A request, or a connection (no `method`), as it reaches a workload."""

    port: int
    caller: str = ""
    """A SPIFFE ID without its scheme; "": none was verified."""
    source: str = "127.0.0.1"
    client: str = "127.0.0.1"
    """Whose address `X-Forwarded-For` tells, if it counts."""
    address: str = "127.0.0.1"
    """Of the workload."""
    server_name: str = ""
    method: str = ""
    host: str = ""
    path: str = ""
    """Normalized, without the query."""
    headers: tuple[tuple[str, str], ...] = ()
    claims: Mapping[str, Any] = field(default_factory=dict)
    """Of a verified token."""

    @property
    def is_request(self) -> bool:
        return bool(self.method)


def counts(policy: Policy, namespace: str, labels: Mapping[str, str]) -> bool:
    """Is a policy with a selector for a workload?"""
    place = policy["metadata"]["namespace"]
    wanted = policy["spec"].get("selector", {}).get("matchLabels", {})
    return place in (ROOT, namespace) and wanted.items() <= labels.items()


def allows(policies: list[Policy], call: Call) -> bool:
    """May a call pass these policies, which are for its workload?"""
    by_action: dict[str, list[Policy]] = {}
    for policy in policies:
        by_action.setdefault(policy["spec"].get("action", "ALLOW"), []).append(policy)
    if any(matches(policy, call) for policy in by_action.get("DENY", ())):
        return False
    allowing = by_action.get("ALLOW", [])
    return not allowing or any(matches(policy, call) for policy in allowing)


def matches(policy: Policy, call: Call) -> bool:
    narrows = policy["spec"].get("action", "ALLOW") == "ALLOW"
    place = policy["metadata"]["namespace"]
    return any(_rule(rule, place, call, narrows=narrows) for rule in policy["spec"].get("rules", ()))


def _rule(rule: Mapping[str, Any], place: str, call: Call, *, narrows: bool) -> bool:
    sources = [item["source"] for item in rule.get("from", ())]
    operations = [item["operation"] for item in rule.get("to", ())]
    conditions = rule.get("when", [])
    if narrows and not call.is_request:
        fields = {name for item in (*sources, *operations) for name in item}
        fields = {name if not name.startswith("not") else name[3].lower() + name[4:] for name in fields}
        if fields & HTTP_FIELDS or any(item["key"].startswith("request.") for item in conditions):
            return False
    return (
        (not sources or any(_fields(item, place, call) for item in sources))
        and (not operations or any(_fields(item, place, call) for item in operations))
        and all(_condition(item, place, call) for item in conditions)
    )


def _fields(item: Mapping[str, Any], place: str, call: Call) -> bool:
    return all(
        _test(name, item.get(name), item.get(f"not{name[0].upper()}{name[1:]}"), place, call)
        for name in TESTS
    )


def _test(name: str, values: Any, others: Any, place: str, call: Call) -> bool:
    if name in HTTP_FIELDS and not call.is_request:
        return True
    test = TESTS[name]
    if values and not any(test(value, place, call) for value in values):
        return False
    return not (others and any(test(value, place, call) for value in others))


def _condition(item: Mapping[str, Any], place: str, call: Call) -> bool:
    key = item["key"]
    if key.startswith("request.") and not call.is_request:
        return True
    attribute, _, rest = key.partition("[")
    names = tuple(rest[:-1].split("][")) if rest else ()

    def test(value: str) -> bool:
        if attribute == "request.headers":
            found = [text for name, text in call.headers if name == names[0]]
            return bool(found) and (value == "*" or fits(value, ",".join(found)))
        if attribute == "request.auth.claims":
            return _claim(call, names, value)
        return CONDITIONS[attribute](value, place, call)

    values, others = item.get("values", ()), item.get("notValues", ())
    return (not values or any(map(test, values))) and not any(map(test, others))


def fits(pattern: str, text: str) -> bool:
    """Exact, `abc*`, `*abc`, `*`."""
    if pattern == "*":
        return text != ""
    if pattern.startswith("*"):
        return text.endswith(pattern[1:])
    return text.startswith(pattern[:-1]) if pattern.endswith("*") else text == pattern


def _identity(call: Call) -> tuple[str, str]:
    found = re.fullmatch(r"[^/]+/ns/([^/]+)/sa/([^/]+)", call.caller)
    return (found[1], found[2]) if found else ("", "")


def _service_account(value: str, place: str, call: Call) -> bool:
    namespace, _, name = value.rpartition("/")
    return bool(call.caller) and _identity(call) == (namespace or place, name)


def _within(value: str, address: str) -> bool:
    return ipaddress.ip_address(address) in ipaddress.ip_network(value, strict=False)


def _path(value: str, place: str, call: Call) -> bool:
    if "{" not in value:
        return fits(value, call.path)
    wanted, given = value.split("/"), call.path.split("/")
    if wanted[-1] == "{**}":
        head = wanted[:-1]
        return len(given) > len(head) and _segments(head, given[: len(head)])
    return len(wanted) == len(given) and _segments(wanted, given)


def _segments(wanted: list[str], given: list[str]) -> bool:
    return all(
        text != "" if item == "{*}" else text == item for item, text in zip(wanted, given, strict=True)
    )


def _request_principal(value: str, place: str, call: Call) -> bool:
    issuer, subject = call.claims.get("iss", ""), call.claims.get("sub", "")
    return bool(issuer and subject) and fits(value, f"{issuer}/{subject}")


def _claim(call: Call, names: tuple[str, ...], value: str) -> bool:
    found: Any = call.claims
    for name in names:
        found = found.get(name) if isinstance(found, dict) else None
    texts = found if isinstance(found, list) else [found]
    return any(fits(value, text) for text in texts if isinstance(text, str))


Test = Callable[[str, str, Call], bool]
TESTS: dict[str, Test] = {
    "principals": lambda value, _, call: bool(call.caller) and fits(value, call.caller),
    "requestPrincipals": _request_principal,
    "namespaces": lambda value, _, call: bool(call.caller) and fits(value, _identity(call)[0]),
    "serviceAccounts": _service_account,
    "ipBlocks": lambda value, _, call: _within(value, call.source),
    "remoteIpBlocks": lambda value, _, call: _within(value, call.client),
    "hosts": lambda value, _, call: fits(value.lower(), call.host.lower()),
    "ports": lambda value, _, call: int(value) == call.port,
    "methods": lambda value, _, call: fits(value, call.method),
    "paths": _path,
}
CONDITIONS: dict[str, Test] = {
    "source.ip": TESTS["ipBlocks"],
    "remote.ip": TESTS["remoteIpBlocks"],
    "source.namespace": TESTS["namespaces"],
    "source.principal": TESTS["principals"],
    "source.serviceAccount": _service_account,
    "request.auth.principal": _request_principal,
    "request.auth.audiences": lambda value, _, call: _claim(call, ("aud",), value),
    "request.auth.presenter": lambda value, _, call: _claim(call, ("azp",), value),
    "destination.ip": lambda value, _, call: _within(value, call.address),
    "destination.port": TESTS["ports"],
    "connection.sni": lambda value, _, call: fits(value, call.server_name),
}
