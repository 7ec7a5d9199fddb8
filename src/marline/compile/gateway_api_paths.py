"""Paths in HTTPRoutes: matched by segments, and replaced by segments.

Behaviour: gateway-api.sigs.k8s.io, HTTPRoute reference (`HTTPPathMatch`, `HTTPPathModifier`).
"""

import re
from typing import Any

from marline.api.gateway_api.http_route import HTTPPathMatch, HTTPPathModifier
from marline.compile.routes_match import regex


def set_path(made: Any, path: HTTPPathMatch | None) -> None:
    """`/foo` as a prefix is for `/foo` and `/foo/bar`, never for `/foobar`."""
    path = path or HTTPPathMatch()
    if path.type == "Exact":
        made.path = path.value
    elif path.type == "RegularExpression":
        made.safe_regex.CopyFrom(regex(path.value))
    elif path.value.rstrip("/"):
        made.path_separated_prefix = path.value.rstrip("/")
    else:
        made.prefix = "/"


def rewrite_path(action: Any, modifier: HTTPPathModifier, match: HTTPPathMatch | None) -> None:
    """Replace the path of a request that is forwarded; its query stays."""
    if modifier.type == "ReplaceFullPath":
        _substitute(action.regex_rewrite, "^/.*$", _literal(modifier.replace_full_path or "/"))
    else:
        _replace_prefix(action, modifier, match)


def redirect_path(action: Any, modifier: HTTPPathModifier, match: HTTPPathMatch | None) -> None:
    """Replace the path in the `Location` of a redirect."""
    if modifier.type == "ReplaceFullPath":
        action.path_redirect = modifier.replace_full_path or "/"
    else:
        _replace_prefix(action, modifier, match)


def _replace_prefix(action: Any, modifier: HTTPPathModifier, match: HTTPPathMatch | None) -> None:
    """By regular expression throughout: Envoy's own prefix rewrite knows no segments, and would make
    `//bar` of `/foo/bar` with `/foo` → `/`, and `/xbar` of `/bar` with `/` → `/x`."""
    prefix = (match.value if match is not None else "/").rstrip("/")
    replacement = (modifier.replace_prefix_match or "").rstrip("/")
    if replacement:
        pattern, substitution = f"^{re.escape(prefix)}(/.*)?$", _literal(replacement) + r"\1"
        if not prefix:
            pattern, substitution = "^/(.*)$", _literal(replacement) + r"/\1"
    else:
        pattern, substitution = f"^{re.escape(prefix)}/?(.*)$", r"/\1"
    _substitute(action.regex_rewrite, pattern, substitution)


def _substitute(rewrite: Any, pattern: str, substitution: str) -> None:
    rewrite.pattern.CopyFrom(regex(pattern))
    rewrite.substitution = substitution


def _literal(text: str) -> str:
    """RE2 reads `\\1` in a substitution as a group."""
    return text.replace("\\", "\\\\")
