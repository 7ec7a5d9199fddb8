"""Paths as Envoy handles them: normalised on the way in, rewritten on the way out, named in redirects.

Envoy documentation, "HTTP header manipulation" (`normalize_path`), "config.route.v3.RouteAction" and
"RedirectAction".
"""

import re
from typing import Any, Final

from marline.explain.conditions import matched_path
from marline.explain.patterns import replace_all
from marline.explain.request import CannotTell, Request

_UNRESERVED: Final = re.compile(r"%([46][1-9A-Fa-f]|[57][0-9Aa]|3[0-9]|2[DdEe]|5[Ff]|7[Ee])")
"""Escapes of letters, digits, `-`, `.`, `_` and `~`, which mean the same without them (RFC 3986, 2.3)."""
_ESCAPED: Final = '"<>^`{|}'
_DOT_SEGMENT_WITH_PARAMETER: Final = re.compile(r"/\.{1,2};")


def normalized(
    path: str, *, normalize: bool, merge_slashes: bool = False, unescape_slashes: bool = False
) -> str:
    """The path of a request after a connection manager's `path_with_escaped_slashes_action`, `normalize_path`
    and `merge_slashes`."""
    bare, mark, query = path.partition("?")
    if unescape_slashes:
        bare = re.sub("%2[fF]", "/", re.sub("%5[cC]", r"\\", bare))
    if normalize:
        if _DOT_SEGMENT_WITH_PARAMETER.search(bare):
            raise CannotTell("dot segments with parameters cannot be evaluated")
        bare = _UNRESERVED.sub(lambda found: chr(int(found[1], 16)), bare).replace("\\", "/")
        bare = "".join(f"%{ord(char):02X}" if char in _ESCAPED else char for char in bare)
        bare = _without_dots(bare)
    if merge_slashes:
        bare = re.sub("/{2,}", "/", bare)
    return bare + mark + query


def _without_dots(path: str) -> str:
    """RFC 3986, 5.2.4."""
    made: list[str] = []
    segments = path.split("/")[1:]
    for index, segment in enumerate(segments):
        is_last = index == len(segments) - 1
        if segment == "..":
            del made[-1:]
        elif segment != ".":
            made.append(segment)
            continue
        if is_last:
            made.append("")
    return "/" + "/".join(made)


def rewritten(action: Any, match: Any, request: Request) -> str:
    """The path (with the query) after a `RouteAction`'s or `RedirectAction`'s prefix or regex rewrite."""
    if action.HasField("regex_rewrite"):
        rewrite = action.regex_rewrite
        bare = request.bare_path
        return replace_all(rewrite.pattern.regex, rewrite.substitution, bare) + request.path[len(bare) :]
    if action.prefix_rewrite:
        return str(action.prefix_rewrite) + request.path[len(matched_path(match, request)) :]
    return request.path


def location(action: Any, match: Any, request: Request) -> str:
    """The `Location` of a `RedirectAction`."""
    scheme = action.scheme_redirect or ("https" if action.https_redirect else request.scheme)
    host = action.host_redirect or _host(request, scheme, is_port_named=bool(action.port_redirect))
    port = f":{action.port_redirect}" if action.port_redirect else ""
    path, mark, query = rewritten(action, match, request).partition("?")
    if "?" in action.path_redirect:
        return f"{scheme}://{host}{port}{action.path_redirect}"
    kept = "" if action.strip_query else mark + query
    return f"{scheme}://{host}{port}{action.path_redirect or path}{kept}"


def _host(request: Request, scheme: str, *, is_port_named: bool) -> str:
    """The request's own host; its port goes if another is named, or if it was the old scheme's."""
    host, colon, port = request.authority.rpartition(":")
    if not colon or not port.isdigit():
        return request.authority
    implied = {"http": "80", "https": "443"}.get(request.scheme)
    if is_port_named or (scheme != request.scheme and port == implied):
        return host
    return request.authority
