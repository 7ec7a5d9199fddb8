"""Does a request fulfil the conditions of an Envoy route, and if not, which one does it fail?

Envoy documentation, "config.route.v3.RouteMatch"; all conditions of a route must hold.
"""

from typing import Any, Final

from marline.explain.fractions import share_of
from marline.explain.patterns import expression, fits, wanted
from marline.explain.request import CannotTell, Request, only
from marline.explain.tokens import claim_fault, claim_of

_MATCH: Final = (
    "prefix", "path", "safe_regex", "path_separated_prefix", "connect_matcher", "case_sensitive", "headers",
    "query_parameters", "dynamic_metadata", "runtime_fraction",
)  # fmt: skip
_HEADER: Final = (
    "name", "string_match", "present_match", "range_match", "invert_match", "treat_missing_header_as_empty",
)  # fmt: skip
_QUERY: Final = ("name", "string_match", "present_match")
_NAMES: Final = {":method": "method", ":authority": "authority", ":scheme": "scheme"}


def why_not(match: Any, request: Request) -> str:
    """The first condition that a request does not fulfil, in words; "" if it fulfils all.

    Raises `CannotTell`, unless a condition that is understood settles it.
    """
    for found in (_path_fault(match, request), *_faults(match, request)):
        if found:
            return found
    only(match, _MATCH, "a route's match")
    return ""


def _faults(match: Any, request: Request) -> list[str]:
    found: list[str] = []
    doubts: list[CannotTell] = []
    conditions = [(header_fault, item) for item in match.headers]
    conditions += [(_query_fault, item) for item in match.query_parameters]
    conditions += [(claim_fault, item) for item in match.dynamic_metadata]
    for check, condition in conditions:
        try:
            found.append(check(condition, request))
        except CannotTell as error:
            doubts.append(error)
    if doubts and not any(found):
        raise doubts[0]
    return found


def asked_of(match: Any) -> str:
    """What a route's match asks for, in words; "" if every request fulfils it."""
    kind = str(match.WhichOneof("path_specifier"))
    path = {
        "prefix": "" if match.prefix == "/" else f"path {match.prefix}…",
        "path": f"path {match.path}",
        "path_separated_prefix": f"path {match.path_separated_prefix} and below",
        "safe_regex": f"path like {match.safe_regex.regex}",
        "connect_matcher": "CONNECT",
    }.get(kind, kind)
    parts = [path] if path else []
    for item in match.headers:
        parts.append(f"{_NAMES.get(item.name, f'header {item.name}')} {_asked_of_value(item)}")
    for item in match.query_parameters:
        parts.append(f"query parameter {item.name} {_asked_of_value(item)}")
    for item in match.dynamic_metadata:
        parts.append(f"{'not ' if item.invert else ''}the claim {claim_of(item)} of a token")
    return ", ".join(parts)


def _asked_of_value(matcher: Any) -> str:
    if matcher.DESCRIPTOR.name == "HeaderMatcher" and matcher.invert_match:
        return "absent" if matcher.present_match else _asked(matcher)
    if matcher.HasField("string_match"):
        return wanted(matcher.string_match)
    return (
        "present" if matcher.DESCRIPTOR.name != "HeaderMatcher" or matcher.present_match else _asked(matcher)
    )


def fraction_of(match: Any) -> float:
    """The share (0 to 1) of the requests that fulfil a match which its route takes."""
    return share_of(match.runtime_fraction.default_value) if match.HasField("runtime_fraction") else 1.0


def matched_path(match: Any, request: Request) -> str:
    """The part of the path that a route's match is about, which prefix rewrites replace."""
    kind = match.WhichOneof("path_specifier")
    if kind in ("prefix", "path_separated_prefix"):
        return request.bare_path[: len(getattr(match, str(kind)))]
    return request.bare_path


def _path_fault(match: Any, request: Request) -> str:
    kind = match.WhichOneof("path_specifier")
    if kind == "connect_matcher":
        return "" if request.method == "CONNECT" else f"method is {request.method}, wanted CONNECT"
    if request.method == "CONNECT":
        return "method is CONNECT, which only a route for tunnels takes"
    path = request.bare_path
    if kind == "safe_regex":
        pattern = match.safe_regex.regex
        return "" if expression(pattern).fullmatch(path) else f"path is {path}, wanted a match of {pattern!r}"
    if kind not in ("prefix", "path", "path_separated_prefix"):
        raise CannotTell(f"a route's match by {kind} cannot be evaluated")
    asked = getattr(match, str(kind))
    given, compared = path, asked
    if match.HasField("case_sensitive") and not match.case_sensitive.value:
        given, compared = path.lower(), asked.lower()
    if kind == "path":
        return "" if given == compared else f"path is {path}, wanted {asked}"
    follows = given[len(compared) : len(compared) + 1]
    fulfilled = given.startswith(compared) and (kind == "prefix" or follows in ("", "/"))
    below = "the segments" if kind == "path_separated_prefix" else "the prefix"
    return "" if fulfilled else f"path is {path}, wanted {below} {asked}"


def header_fault(matcher: Any, request: Request) -> str:
    """Why a request does not fulfil an Envoy `HeaderMatcher`; "" if it does. Raises `CannotTell`."""
    only(matcher, _HEADER, f"the match of header {matcher.name}")
    what = _NAMES.get(matcher.name, f"header {matcher.name}")
    value = request.header(matcher.name)
    kind = matcher.WhichOneof("header_match_specifier")
    shown = f"{what} is {value!r}" if value is not None else f"there is no {what}"
    if kind in ("present_match", None):
        if matcher.treat_missing_header_as_empty:
            raise CannotTell(f"a match of the presence of {matcher.name} that takes absence for presence")
        asks = (matcher.present_match if kind else True) != matcher.invert_match
        return "" if (value is not None) == asks else f"{shown}, wanted {'one' if asks else 'none'}"
    if value is None and not matcher.treat_missing_header_as_empty:
        return f"{shown}, wanted {_asked(matcher)}"
    return (
        "" if _holds(matcher, value or "") != matcher.invert_match else f"{shown}, wanted {_asked(matcher)}"
    )


def _holds(matcher: Any, value: str) -> bool:
    if matcher.WhichOneof("header_match_specifier") == "range_match":
        number = int(value) if value.lstrip("+-").isdigit() else None
        return number is not None and matcher.range_match.start <= number < matcher.range_match.end
    return fits(matcher.string_match, value)


def _asked(matcher: Any) -> str:
    negated = "anything but " if matcher.invert_match else ""
    if matcher.WhichOneof("header_match_specifier") == "range_match":
        return f"{negated}a number from {matcher.range_match.start} to {matcher.range_match.end - 1}"
    return negated + wanted(matcher.string_match)


def _query_fault(matcher: Any, request: Request) -> str:
    only(matcher, _QUERY, f"the match of query parameter {matcher.name}")
    value = request.query(matcher.name)
    shown = f"query parameter {matcher.name} is {value!r}"
    if value is None:
        shown = f"there is no query parameter {matcher.name}"
    if matcher.WhichOneof("query_parameter_match_specifier") == "string_match":
        fulfilled = value is not None and fits(matcher.string_match, value)
        return "" if fulfilled else f"{shown}, wanted {wanted(matcher.string_match)}"
    return "" if value is not None else f"{shown}, wanted one"
