"""What rules of a VirtualService do, and what that must fulfil: destinations, redirects, rewrites, retries,
faults, mirrors, CORS (istio.io, "Virtual Service" reference; Istio's validation; what Envoy would refuse)."""

import base64
import re
from typing import Final

from marline.api import rules
from marline.api.errors import Fault
from marline.api.faults import Faults, nearest
from marline.api.networking.virtual_service import (
    CorsPolicy,
    Delegate,
    Destination,
    Headers,
    HTTPBody,
    HTTPFaultInjection,
    HTTPRedirect,
    HTTPRetry,
    HTTPRewrite,
    HTTPRoute,
    StringMatch,
)
from marline.api.re2 import NotRe2, to_python

_MAX_BODY_BYTES: Final = 1024 * 1024
"""As in Istio (istio.io, `HTTPDirectResponse`); route tables allow Envoy as much."""
_RETRY_ON: Final = frozenset(
    [
        "5xx",
        "gateway-error",
        "reset",
        "reset-before-request",
        "connect-failure",
        "envoy-ratelimited",
        "retriable-4xx",
        "refused-stream",
        "retriable-status-codes",
        "retriable-headers",
        "http3-post-connect-failure",
        "cancelled",
        "deadline-exceeded",
        "internal",
        "resource-exhausted",
        "unavailable",
    ]
)
_METHOD: Final = re.compile(r"[A-Z][A-Z-]*")
GRPC_STATUSES: Final = (
    "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
    "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE",
    "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
)  # fmt: skip
"""Each at its number (grpc.io, "Status codes")."""


def check_action(rule: HTTPRoute, faults: Faults) -> None:
    """All of an `http` rule but its conditions."""
    actions = [
        name
        for name, there in (
            ("route", rule.route), ("redirect", rule.redirect),
            ("directResponse", rule.direct_response), ("delegate", rule.delegate),
        )
        if there
    ]  # fmt: skip
    if len(actions) != 1:
        found = " and ".join(actions) or "none of them"
        faults.add(f"expected one of route, redirect, directResponse or delegate, found {found}")
    check_weights([(item.destination, item.weight) for item in rule.route], faults.at("route"))
    for index, item in enumerate(rule.route):
        _headers(item.headers, faults.at("route").item(index).at("headers"))
    _headers(rule.headers, faults.at("headers"))
    if rule.redirect:
        _redirect(rule, rule.redirect, faults.at("redirect"))
    if rule.direct_response and rule.direct_response.body:
        _body(rule.direct_response.body, faults.at("directResponse").at("body"))
    if rule.rewrite:
        _rewrite(rule, rule.rewrite, faults.at("rewrite"))
    if rule.delegate:
        _delegate_name(rule.delegate, faults.at("delegate"))
    for name, value in (("timeout", rule.timeout), ("retries", rule.retries)):
        if value is not None and not (rule.route or rule.delegate):
            faults.at(name).add("has no effect without route")
    rules.duration(rule.timeout, faults.at("timeout"), least=0)
    if rule.retries:
        check_retries(rule.retries, faults.at("retries"))
    if rule.fault:
        _fault(rule.fault, faults.at("fault"))
    _mirrors(rule, faults)
    if rule.cors_policy:
        _cors(rule.cors_policy, faults.at("corsPolicy"))


def _delegate_name(delegate: Delegate, faults: Faults) -> None:
    if faults.required(delegate.name, "name"):
        rules.dns_subdomain(delegate.name, faults.at("name"))
    if delegate.namespace:
        rules.dns_label(delegate.namespace, faults.at("namespace"))


def check_weights(routes: list[tuple[Destination, int]], faults: Faults) -> None:
    total = 0
    for index, (destination, weight) in enumerate(routes):
        _destination(destination, faults.item(index).at("destination"))
        total += weight
    if len(routes) > 1 and total == 0:
        faults.add("the weights of several destinations sum to 0; at least one must be above 0")
    if total > 2**32 - 1:
        faults.add(f"the weights sum to {total}, more than 4294967295")


def _destination(destination: Destination, faults: Faults) -> None:
    if faults.required(destination.host, "host"):
        rules.host(destination.host, faults.at("host"), wildcard=False)
    if destination.subset:
        rules.dns_label(destination.subset, faults.at("subset"))
    if destination.port is not None and destination.port.number == 0:
        faults.at("port").at("number").add("0 is no port; expected 1 to 65535")


def _headers(headers: Headers | None, faults: Faults) -> None:
    if headers is None:
        return
    for side in ("request", "response"):
        operations = getattr(headers, side)
        if operations is None:
            continue
        where = faults.at(side)
        for field in ("set", "add"):
            for name, value in getattr(operations, field).items():
                rules.header_name(name, where.at(field).key(name), writable=True)
                rules.header_value(value, where.at(field).key(name))
                if side == "response" and name.lower() in ("host", ":authority"):
                    where.at(field).key(name).add(f"a response has no {name!r}")
        for index, name in enumerate(operations.remove):
            rules.header_name(name, where.at("remove").item(index))
            if name.startswith(":") or name.lower() == "host":
                where.at("remove").item(index).add(f"{name!r} cannot be removed from a message")


def _redirect(rule: HTTPRoute, redirect: HTTPRedirect, faults: Faults) -> None:
    if redirect == HTTPRedirect():
        faults.add(
            "says nothing to change: expected uri, authority, port, derivePort, scheme or redirectCode"
        )
    if redirect.redirect_code not in (0, 301, 302, 303, 307, 308):
        faults.at("redirectCode").add(f"{redirect.redirect_code} is not one of 301, 302, 303, 307, 308")
    if redirect.scheme not in ("", "http", "https"):
        faults.at("scheme").add(f"{redirect.scheme!r} is not one of http, https")
    if redirect.port is not None and redirect.derive_port is not None:
        faults.at("derivePort").add("expected either port or derivePort, found both")
    if redirect.port == 0:
        faults.at("port").add("0 is no port; expected 1 to 65535")
    rules.header_value(redirect.uri, faults.at("uri"))
    if redirect.authority:
        rules.header_value(redirect.authority, faults.at("authority"))
    for name, there in (("fault", rule.fault), ("rewrite", rule.rewrite), ("mirror", rule.mirror)):
        if there:
            faults.add(f"cannot be combined with {name}")


def _body(body: HTTPBody, faults: Faults) -> None:
    if (body.string is None) == (body.bytes is None):
        faults.add("expected one of string or bytes")
    size = len((body.string or "").encode())
    if body.bytes is not None:
        try:
            size = len(base64.b64decode(body.bytes, validate=True))
        except ValueError:
            faults.at("bytes").add("is not base64")
    if size > _MAX_BODY_BYTES:
        faults.add(f"is {size} bytes long; at most {_MAX_BODY_BYTES} are allowed")


def _rewrite(rule: HTTPRoute, rewrite: HTTPRewrite, faults: Faults) -> None:
    regex = rewrite.uri_regex_rewrite
    if not (rewrite.uri or rewrite.authority or regex):
        faults.add("says nothing to change: expected uri, authority or uriRegexRewrite")
    if rewrite.uri and regex:
        faults.at("uriRegexRewrite").add("expected either uri or uriRegexRewrite, found both")
    if regex:
        rules.regex(regex.match, faults.at("uriRegexRewrite").at("match"))
        faults.at("uriRegexRewrite").required(regex.rewrite, "rewrite")
        groups = _groups(regex.match)
        for reference in re.findall(r"\\(\d)", regex.rewrite):
            if int(reference) > groups:
                faults.at("uriRegexRewrite").at("rewrite").add(
                    f"\\{reference} names a group that {regex.match!r} does not have"
                )
    if rewrite.uri:
        rules.header_value(rewrite.uri, faults.at("uri"))
        faults.at("uri").require(rewrite.uri.startswith("/"), f"{rewrite.uri!r} must start with '/'")
    if rewrite.authority:
        rules.header_value(rewrite.authority, faults.at("authority"))
    if rule.direct_response:
        faults.add("cannot be combined with directResponse")


def _groups(pattern: str) -> int:
    try:
        return re.compile(to_python(pattern).pattern).groups
    except NotRe2:
        return 9


def check_retries(retries: HTTPRetry, faults: Faults) -> None:
    rules.duration(retries.per_try_timeout, faults.at("perTryTimeout"))
    rules.duration(retries.backoff, faults.at("backoff"))
    if retries.attempts == 0 and (retries.retry_on or retries.per_try_timeout is not None):
        faults.at("attempts").add("0 turns retries off, but retryOn or perTryTimeout is set")
    for token in filter(None, (part.strip() for part in retries.retry_on.split(","))):
        if token.isdigit():
            if not 100 <= int(token) <= 599:
                faults.at("retryOn").add(f"{token} is not an HTTP status")
        elif token not in _RETRY_ON:
            faults.at("retryOn").add(
                f"{token!r} is not a retry condition of Envoy", suggestion=nearest(token, _RETRY_ON)
            )


def _fault(fault: HTTPFaultInjection, faults: Faults) -> None:
    if not (fault.delay or fault.abort):
        faults.add("expected delay, abort or both")
    if fault.delay:
        if fault.delay.fixed_delay is None and fault.delay.exponential_delay is None:
            faults.at("delay").at("fixedDelay").add("is required", Fault.REQUIRED)
        rules.duration(fault.delay.fixed_delay, faults.at("delay").at("fixedDelay"))
    if fault.abort:
        where = faults.at("abort")
        given = [v for v in (fault.abort.http_status, fault.abort.grpc_status, fault.abort.http2_error) if v]
        if len(given) != 1:
            where.add("expected one of httpStatus or grpcStatus")
        if fault.abort.grpc_status and fault.abort.grpc_status not in GRPC_STATUSES:
            where.at("grpcStatus").add(
                f"{fault.abort.grpc_status!r} is not a gRPC status",
                suggestion=nearest(fault.abort.grpc_status, GRPC_STATUSES),
            )


def _mirrors(rule: HTTPRoute, faults: Faults) -> None:
    if rule.mirror:
        _destination(rule.mirror, faults.at("mirror"))
        if rule.mirrors:
            faults.at("mirrors").add("expected either mirror or mirrors, found both")
    for index, policy in enumerate(rule.mirrors):
        _destination(policy.destination, faults.at("mirrors").item(index).at("destination"))
    if (rule.mirror_percentage or rule.mirror_percent is not None) and not rule.mirror:
        faults.at("mirrorPercentage").add("has no effect without mirror")
    if (rule.mirror or rule.mirrors) and not (rule.route or rule.delegate):
        faults.at("mirror").add("has no effect without route")


def _cors(policy: CorsPolicy, faults: Faults) -> None:
    for index, origin in enumerate(policy.allow_origins):
        string_match(origin, faults.at("allowOrigins").item(index))
    for index, method in enumerate(policy.allow_methods):
        if method != "*" and not _METHOD.fullmatch(method):
            faults.at("allowMethods").item(index).add(f"{method!r} is not an HTTP method")
    for field in ("allow_headers", "expose_headers"):
        where = faults.at({"allow_headers": "allowHeaders", "expose_headers": "exposeHeaders"}[field])
        for index, name in enumerate(getattr(policy, field)):
            if name != "*":
                rules.header_name(name, where.item(index))
    rules.duration(policy.max_age, faults.at("maxAge"), least=0)


def string_match(match: StringMatch, faults: Faults) -> None:
    """Exactly one of exact, prefix and regex, and each of a form that Envoy takes."""
    given = [name for name in ("exact", "prefix", "regex") if getattr(match, name) is not None]
    if len(given) != 1:
        faults.add(f"expected one of exact, prefix or regex, found {' and '.join(given) or 'none of them'}")
        return
    value = getattr(match, given[0])
    if given[0] == "regex":
        rules.regex(value, faults.at("regex"))
    else:
        faults.at(given[0]).require(value or given[0] == "exact", "is empty; it would match everything")
        rules.header_value(value.replace("%", ""), faults.at(given[0]))
