"""Envoy's string matchers and regular expressions.

Envoy matches with RE2, Python with an engine of its own: expressions are translated (`api.re2`), and what
only RE2 knows is not evaluated.
"""

import re
from functools import lru_cache
from typing import Any, Final

from marline.api.re2 import NotRe2, to_python
from marline.explain.request import CannotTell, only


@lru_cache(maxsize=1024)
def expression(pattern: str) -> re.Pattern[str]:
    """Raises `CannotTell` for what Python cannot read as RE2 does."""
    try:
        found = to_python(pattern)
    except NotRe2 as error:
        raise CannotTell(f"the regular expression {pattern!r} cannot be evaluated: {error}") from error
    if not found.is_exact:
        raise CannotTell(f"the regular expression {pattern!r} cannot be evaluated")
    return re.compile(found.pattern, re.ASCII)


def replace_all(pattern: str, substitution: str, text: str) -> str:
    """RE2's `GlobalReplace`: unlike Python's `sub` it finds no empty match right after another one."""
    compiled = expression(pattern)
    made: list[str] = []
    position, last_end = 0, -1
    while position <= len(text):
        found = compiled.search(text, position)
        if found is None:
            break
        made.append(text[position : found.start()])
        if found.start() == found.end() == last_end:
            made.append(text[found.start() : found.start() + 1])
            position = found.start() + 1
            continue
        made.append(_expand(substitution, found))
        position = last_end = found.end()
    made.append(text[position:])
    return "".join(made)


def _expand(substitution: str, found: re.Match[str]) -> str:
    r"""`\0` to `\9` are groups, `\\` is a backslash; RE2 knows nothing else."""
    made, index = [], 0
    while index < len(substitution):
        char, following = substitution[index], substitution[index + 1 : index + 2]
        if char == "\\" and following.isdigit():
            made.append(found.group(int(following)) or "")
            index += 2
        elif char == "\\" and following == "\\":
            made.append("\\")
            index += 2
        else:
            made.append(char)
            index += 1
    return "".join(made)


_KINDS: Final = ("exact", "prefix", "suffix", "contains", "safe_regex")


def fits(matcher: Any, value: str) -> bool:
    """Does a value fulfil an Envoy `StringMatcher`?"""
    only(matcher, (*_KINDS, "ignore_case"), "a string match")
    kind = matcher.WhichOneof("match_pattern")
    if kind == "safe_regex":
        return expression(matcher.safe_regex.regex).fullmatch(value) is not None
    wanted = getattr(matcher, str(kind))
    if matcher.ignore_case:
        wanted, value = wanted.lower(), value.lower()
    verdicts: dict[str, bool] = {
        "exact": value == wanted,
        "prefix": value.startswith(wanted),
        "suffix": value.endswith(wanted),
        "contains": wanted in value,
    }
    return verdicts[str(kind)]


def wanted(matcher: Any) -> str:
    """What a `StringMatcher` asks for, in words: `"jason"`, `a value that begins with "j"`."""
    kind = matcher.WhichOneof("match_pattern")
    if kind == "safe_regex":
        return f"a match of {matcher.safe_regex.regex!r}"
    text = repr(getattr(matcher, str(kind)))
    return {
        "exact": text,
        "prefix": f"something that begins with {text}",
        "suffix": f"something that ends with {text}",
        "contains": f"something with {text} in it",
    }[str(kind)]
