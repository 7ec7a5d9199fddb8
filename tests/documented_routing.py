"""What becomes of a request, read from plain resources as istio.io documents them: an oracle for tests.

It is deliberately simple: it goes through all resources for each request, it knows nothing of Envoy, and it
shares no code with Marline. Sources: istio.io, references of VirtualService, DestinationRule, Gateway.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

Spec = Mapping[str, Any]
_NONE: Spec = {}
GATEWAY_LABELS: Mapping[str, str] = {"istio": "ingressgateway"}


@dataclass(frozen=True)
class Asked:
    """A request, and who asks: a workload of the mesh, or whoever calls a gateway."""

    host: str
    path: str
    query: str = ""
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    port: int = 80
    through_gateway: bool = False

    @property
    def target(self) -> str:
        return f"{self.path}?{self.query}" if self.query else self.path


@dataclass(frozen=True)
class Answer:
    status: int
    backend: str = ""
    path: str = ""
    """As the backend sees it, with its query; of a redirect: the Location."""
    authority: str = ""
    sent: tuple[tuple[str, str | None], ...] = ()
    """Headers that the backend must see with these values; None: that it must not see."""


@dataclass(frozen=True)
class Documented:
    """All resources that were accepted, and the workload that asks."""

    virtual_services: tuple[Spec, ...]
    destination_rules: tuple[Spec, ...]
    gateways: tuple[Spec, ...]
    backends: Mapping[str, Mapping[str, str]]
    """By host: the version label of each of its backends → the backend's name."""
    labels: Mapping[str, str]
    """Of the workload; a gateway's are `GATEWAY_LABELS`."""
    namespace: str = "default"

    def answers(self, asked: Asked) -> set[Answer]:
        """The possible answers: one, unless weights or several endpoints leave it to chance."""
        rules = self._rules_for(asked)
        if asked.through_gateway and self._redirects_to_https(asked):
            return {Answer(301, path=f"https://{asked.host}{asked.target}")}
        if not rules:
            return {Answer(404)} if asked.through_gateway else self._forward(asked, {"host": asked.host})
        for rule in rules:
            for match in rule["match"]:
                if self.fits(match, asked):
                    return self._act(rule, match, asked)
        return {Answer(404)}

    def _rules_for(self, asked: Asked) -> list[Spec]:
        found = [item for item in self.virtual_services if self._speaks_for(item, asked)]
        best = max(found, key=lambda item: _host_rank(item, asked.host), default=None)
        rules = [] if best is None else best["spec"].get("http", ())
        # Rules that can never hold for who asks do not count: without any, the service is as it was.
        return [
            {**rule, "match": matches}
            for rule in rules
            if (matches := [match for match in rule.get("match") or [{}] if self._may_hold(match, asked)])
        ]

    def _speaks_for(self, item: Spec, asked: Asked) -> bool:
        if not any(_host_fits(host, asked.host) for host in item["spec"]["hosts"]):
            return False
        names = item["spec"].get("gateways") or ["mesh"]
        if not asked.through_gateway:
            return "mesh" in names
        namespace = item["metadata"]["namespace"]
        return any(
            _host_fits(host.rpartition("/")[2], asked.host) and _allows(host, gateway, namespace)
            for gateway in self._named(names, namespace)
            for server in gateway["spec"]["servers"]
            for host in server["hosts"]
        )

    def _named(self, names: Iterable[str], namespace: str) -> Iterator[Spec]:
        full = {name if "/" in name else f"{namespace}/{name}" for name in names}
        return (item for item in self.gateways if _full_name(item) in full)

    def _redirects_to_https(self, asked: Asked) -> bool:
        return any(
            server.get("tls", {}).get("httpsRedirect") and host.rpartition("/")[2] == asked.host
            for gateway in self.gateways
            for server in gateway["spec"]["servers"]
            for host in server["hosts"]
        )

    def _may_hold(self, match: Spec, asked: Asked) -> bool:
        """Is a match for this listener and this workload, whatever the request? A choice of gateways is
        "independent of sourceLabels"."""
        if match.get("port") not in (None, asked.port):
            return False
        if match.get("gateways"):
            return ("mesh" in match["gateways"]) is not asked.through_gateway
        labels = GATEWAY_LABELS if asked.through_gateway else self.labels
        return match.get("sourceLabels", {}).items() <= labels.items() and (
            match.get("sourceNamespace") in (None, self.namespace)
        )

    def fits(self, match: Spec, asked: Asked) -> bool:
        """Does a request fulfil a match, whoever sends it?"""
        query = dict(reversed(parse_qsl(asked.query, keep_blank_values=True)))
        headers = {name.lower(): value for name, value in asked.headers.items()}
        return (
            _text_fits(match.get("uri"), asked.path, ignore_case=bool(match.get("ignoreUriCase")))
            and _text_fits(match.get("method"), asked.method)
            and _text_fits(match.get("scheme"), "http")
            and _text_fits(match.get("authority"), asked.host)
            and all(_value_fits(value, headers.get(name)) for name, value in _items(match, "headers"))
            and not any(
                _value_fits(item, headers.get(name)) for name, item in _items(match, "withoutHeaders")
            )
            and all(_value_fits(value, query.get(name)) for name, value in _items(match, "queryParams"))
        )

    def _act(self, rule: Spec, match: Spec, asked: Asked) -> set[Answer]:
        if "redirect" in rule:
            return {_redirected(rule["redirect"], asked)}
        if "directResponse" in rule:
            return {Answer(rule["directResponse"]["status"])}
        abort = rule.get("fault", {}).get("abort")
        if abort and abort.get("percentage", {}).get("value", 100) == 100:
            return {Answer(abort["httpStatus"])}
        routes = rule["route"]
        chosen = [item for item in routes if len(routes) == 1 or item.get("weight", 0) > 0]
        return {
            answer
            for item in chosen
            for answer in self._forward(asked, item["destination"], rule, item, match)
        }

    def _forward(
        self, asked: Asked, destination: Spec, rule: Spec = _NONE, item: Spec = _NONE, match: Spec = _NONE
    ) -> set[Answer]:
        backends = self._chosen(destination)
        if not backends:
            return {Answer(503)}
        path = _rewritten(rule.get("rewrite", {}), match, asked)
        sent = {**_sent(rule), **_sent(item)}
        authority = sent.pop("host", None) or rule.get("rewrite", {}).get("authority") or asked.host
        return {Answer(200, name, path, authority, tuple(sorted(sent.items()))) for name in backends}

    def _chosen(self, destination: Spec) -> set[str]:
        backends = self.backends.get(destination["host"], {})
        if "subset" not in destination:
            return set(backends.values())
        wanted = next(
            (
                subset["labels"]["version"]
                for rule in self.destination_rules
                if rule["spec"]["host"] == destination["host"]
                for subset in rule["spec"].get("subsets", ())
                if subset["name"] == destination["subset"]
            ),
            None,
        )
        return {name for version, name in backends.items() if version == wanted}


def _items(match: Spec, name: str) -> Iterable[tuple[str, Spec]]:
    found: Spec = match.get(name, {})
    return found.items()


def _full_name(item: Spec) -> str:
    return f"{item['metadata']['namespace']}/{item['metadata']['name']}"


def _allows(host: str, gateway: Spec, namespace: str) -> bool:
    """`ns/host`: VirtualServices of that namespace only; `.` is the Gateway's own."""
    wanted = host.rpartition("/")[0] or "*"
    own = gateway["metadata"]["namespace"]
    return wanted == "*" or namespace == (own if wanted == "." else wanted)


def _host_fits(pattern: str, host: str) -> bool:
    return pattern == host or (pattern.startswith("*") and host.endswith(pattern[1:]))


def _host_rank(item: Spec, host: str) -> int:
    return max(len(name) for name in item["spec"]["hosts"] if _host_fits(name, host))


def _text_fits(match: Spec | None, value: str, *, ignore_case: bool = False) -> bool:
    if match is None:
        return True
    if "regex" in match:
        return re.fullmatch(match["regex"], value) is not None
    wanted = match.get("exact", match.get("prefix", ""))
    if ignore_case:
        wanted, value = wanted.lower(), value.lower()
    return value == wanted if "exact" in match else value.startswith(wanted)


def _value_fits(match: Spec, value: str | None) -> bool:
    """An empty match asks whether there is any value."""
    return value is not None and (not match or _text_fits(match, value))


def _sent(item: Spec) -> dict[str, str | None]:
    changes = item.get("headers", {}).get("request", {})
    return {
        **{name.lower(): None for name in changes.get("remove", ())},
        **{name.lower(): value for name, value in changes.get("set", {}).items()},
    }


def _rewritten(rewrite: Spec, match: Spec, asked: Asked) -> str:
    query = f"?{asked.query}" if asked.query else ""
    if "uriRegexRewrite" in rewrite:
        change = rewrite["uriRegexRewrite"]
        return re.sub(change["match"], change["rewrite"], asked.path) + query
    if "uri" not in rewrite:
        return asked.target
    prefix = match.get("uri", {}).get("prefix", "/" if "uri" not in match else None)
    if prefix is None:  # an exact match, or a regular expression that all of the path fulfils
        return str(rewrite["uri"]) + query
    return str(rewrite["uri"]) + asked.path[len(prefix) :] + query


def _redirected(redirect: Spec, asked: Asked) -> Answer:
    scheme, authority = redirect.get("scheme", "http"), redirect.get("authority", asked.host)
    port = f":{redirect['port']}" if "port" in redirect else ""
    # A new path stands without the old query only if it brings its own.
    path = redirect.get("uri", asked.path)
    query = f"?{asked.query}" if asked.query and "?" not in path else ""
    return Answer(redirect.get("redirectCode", 301), path=f"{scheme}://{authority}{port}{path}{query}")
