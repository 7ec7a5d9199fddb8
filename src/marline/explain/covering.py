"""Which routes leave nothing for those after them.

Sure of what it says, not complete: of two regular expressions only equal ones are compared.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from marline.explain.origin import Place, route_place


def shadows(routes: Sequence[Any]) -> Iterator[tuple[Any, Any]]:
    """Pairs of a route and an earlier one that takes all of its requests: (shadowed, by)."""
    for index, route in enumerate(routes):
        earlier = next((item for item in routes[:index] if covers(item.match, route.match)), None)
        if earlier is not None:
            yield route, earlier


def covers(wide: Any, narrow: Any) -> bool:
    """Does every request that fulfils `narrow` fulfil `wide`?"""
    return (
        _covers_path(wide, narrow)
        and all(any(_implied(mine, item) for item in narrow.headers) for mine in wide.headers)
        and all(any(mine == item for item in narrow.query_parameters) for mine in wide.query_parameters)
        and not any(field.name not in _UNDERSTOOD for field, _ in wide.ListFields())
    )


_UNDERSTOOD = frozenset(
    {
        "prefix", "path", "safe_regex", "path_separated_prefix", "connect_matcher", "case_sensitive",
        "headers", "query_parameters",
    }
)  # fmt: skip


def _covers_path(wide: Any, narrow: Any) -> bool:
    kind, other = wide.WhichOneof("path_specifier"), narrow.WhichOneof("path_specifier")
    if "connect_matcher" in (kind, other):
        return bool(kind == other)
    if kind == "safe_regex":
        return bool(other == "safe_regex" and wide.safe_regex.regex == narrow.safe_regex.regex)
    if kind == "prefix" and wide.prefix == "/":
        return True
    if other == "safe_regex" or kind not in ("prefix", "path", "path_separated_prefix"):
        return False
    mine, given = getattr(wide, str(kind)), getattr(narrow, str(other))
    if _folds(wide):
        mine, given = mine.lower(), given.lower()
    elif _folds(narrow):
        return False
    if kind == "path":
        return bool(other == "path" and mine == given)
    if kind == "path_separated_prefix" and other == "prefix":
        return bool(given.startswith(f"{mine}/"))
    follows = given[len(mine) : len(mine) + 1]
    return bool(given.startswith(mine) and (kind == "prefix" or follows in ("", "/")))


def _folds(match: Any) -> bool:
    return bool(match.HasField("case_sensitive") and not match.case_sensitive.value)


def _implied(wanted: Any, given: Any) -> bool:
    """Does a header that fulfils `given` fulfil `wanted`?"""
    if wanted == given:
        return True
    asks_presence = wanted.WhichOneof("header_match_specifier") == "present_match"
    return bool(
        asks_presence
        and wanted.present_match
        and not wanted.invert_match
        and wanted.name == given.name
        and given.WhichOneof("header_match_specifier") == "string_match"
        and not given.invert_match
        and not given.treat_missing_header_as_empty
    )


def place_text(route: Any) -> str:
    """Which field a route is made of, or its name."""
    place: Place | None = route_place(route)
    return place.text if place is not None else (route.name or "the route to the service itself")
