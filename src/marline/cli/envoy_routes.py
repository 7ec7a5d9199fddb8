"""`marline proxy-config route`: which request of a host goes where, and which resource says so."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from marline.cli.envoy_dump import Object
from marline.cli.output import Column


@dataclass(frozen=True, slots=True)
class RouteRow:
    """One route."""

    config: str
    host: str
    domains: tuple[str, ...]
    match: str
    target: str
    resource: str
    """The user's resource that it comes from, as `namespace/name`."""
    source: Object

    def fits(self, name: str, domain: str) -> bool:
        """Is it what the filters of the command ask for?"""
        return (not name or self.config == name) and (
            not domain or any(domain in item for item in (self.host, *self.domains))
        )


def route_rows(configs: Iterable[Object]) -> Iterator[RouteRow]:
    """In the order in which Envoy tries them."""
    for config in sorted(configs, key=lambda item: str(item.get("name", ""))):
        for host in config.get("virtual_hosts", ()):
            for route in host.get("routes", ()):
                yield RouteRow(
                    config=str(config.get("name", "")) or "(inline)",
                    host=str(host.get("name", "")),
                    domains=tuple(host.get("domains", ())),
                    match=match_of(route.get("match", {})),
                    target=target_of(route),
                    resource=_resource(route),
                    source=route,
                )


def match_of(match: Object) -> str:
    """What a request has to be like."""
    parts = [_path(match)]
    parts += [_condition(f"header {item.get('name', '')}", item) for item in match.get("headers", ())]
    parts += [_condition(f"query {item.get('name', '')}", item) for item in match.get("query_parameters", ())]
    return ", ".join(parts)


def _path(match: Object) -> str:
    if "path" in match:
        return f"= {match['path']}"
    if "safe_regex" in match:
        return f"~ {match['safe_regex'].get('regex', '')}"
    if "connect_matcher" in match:
        return "CONNECT"
    if "path_separated_prefix" in match:
        return f"{match['path_separated_prefix']}/*"
    return f"{match.get('prefix', '/')}*"


def _condition(what: str, item: Object) -> str:
    negated = "not " if item.get("invert_match") else ""
    if "present_match" in item:
        return f"{negated}{what}" if item["present_match"] else f"no {what}"
    matcher: dict[str, Any] = item.get("string_match", {})
    for name, sign in (("exact", "="), ("prefix", "^"), ("suffix", "$"), ("contains", "*")):
        if name in matcher:
            return f"{negated}{what} {sign} {matcher[name]}"
    if "safe_regex" in matcher:
        return f"{negated}{what} ~ {matcher['safe_regex'].get('regex', '')}"
    return f"{negated}{what}"


def target_of(route: Object) -> str:
    """Where a request goes."""
    if "redirect" in route:
        said = route["redirect"]
        where = "".join(str(said.get(name, "")) for name in ("host_redirect", "path_redirect"))
        return f"redirect {where}".rstrip()
    if "direct_response" in route:
        return f"answer {route['direct_response'].get('status', '')}"
    action = route.get("route", {})
    weighted = action.get("weighted_clusters", {}).get("clusters", ())
    if weighted:
        return ", ".join(f"{item.get('name', '')} ({item.get('weight', 0)})" for item in weighted)
    return str(action.get("cluster") or action.get("cluster_header") or "-")


def _resource(route: Object) -> str:
    """From the path in the API that the compiler writes into the metadata."""
    path = str(route.get("metadata", {}).get("filter_metadata", {}).get("istio", {}).get("config", ""))
    if not path:
        return "-"
    *_, namespace, kind, name = ["", *path.split("/")]
    return f"{kind}/{name}.{namespace}"


COLUMNS: Final = (
    Column[RouteRow]("NAME", lambda row: row.config),
    Column[RouteRow]("VIRTUAL HOST", lambda row: row.host),
    Column[RouteRow]("DOMAINS", lambda row: _shortened(row.domains)),
    Column[RouteRow]("MATCH", lambda row: row.match),
    Column[RouteRow]("TARGET", lambda row: row.target),
    Column[RouteRow]("RESOURCE", lambda row: row.resource),
)


def _shortened(domains: tuple[str, ...]) -> str:
    """As istioctl does: a service has more names than fit a line."""
    more = f" + {len(domains) - 1} more" if len(domains) > 1 else ""
    return f"{domains[0]}{more}" if domains else "-"
