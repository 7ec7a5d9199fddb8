"""Generated traffic configuration: hosts with a VirtualService, a DestinationRule and a Gateway each, of
values that a user might write, some of them wrong; and requests close to what their rules ask for."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from documented_routing import Asked

PATHS = ("/", "/a", "/a/b", "/ab", "/A", "/a/", "/api/v1/items", "/api/v2")
REGEXES = ("/a.*", "/[ab]/?.*", "/api/v[0-9]+(/.*)?", ".*")
VALUES = ("jason", "ann", "jasmine", "")
NAMES = ("x-user", "x-env")
NAMESPACES = ("default", "other")
WRONG: tuple[Mapping[str, Any], ...] = (
    {"timeout": "-1s"},
    {"retries": {"attempts": -1}},
    {"match": [{"uri": {"regex": "("}}]},
    {"match": [{"uri": {"exact": "/a", "prefix": "/b"}}]},
    {"match": [{"hedaers": {}}]},
    {"redirect": {"redirectCode": 999}},
    {"headers": {"request": {"set": {"x one": "1"}}}},
    {"fault": {"abort": {"httpStatus": 99}}},
    {"route": []},
    {"route": [{"destination": {}}]},
)
LABELS = {"app": "client", "version": "v1"}


@dataclass(frozen=True)
class Combination:
    """The resources for one host, as a user would write them."""

    host: str
    virtual_service: dict[str, Any]
    destination_rule: dict[str, Any] | None
    gateway: dict[str, Any] | None


def _resource(kind: str, namespace: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "networking.istio.io/v1", "kind": kind, "metadata": metadata, "spec": spec}


class Maker:
    """The same for a seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._seed = seed

    def combination(self, number: int) -> Combination:
        name = f"c{self._seed}-{number}"
        host = f"{name}.example"
        gateway = self._gateway(name, host) if self._chance(0.5) else None
        names = (["mesh", name] if self._chance(0.7) else [name]) if gateway else self._one(([], ["mesh"]))
        namespace = self._one(NAMESPACES) if gateway and self._chance(0.3) else "default"
        spec: dict[str, Any] = {"hosts": [host], "http": self._rules(host)}
        if names:
            spec["gateways"] = [item if item == "mesh" else f"default/{item}" for item in names]
        rule = self._destination_rule(name, host) if self._chance(0.8) else None
        return Combination(host, _resource("VirtualService", namespace, name, spec), rule, gateway)

    def requests(self, combination: Combination, count: int) -> list[Asked]:
        rules = combination.virtual_service["spec"]["http"]
        through = (False, True) if combination.gateway else (False,)
        return [self._request(combination.host, rules, self._one(through)) for _ in range(count)]

    # Values

    def _one(self, choices: Any) -> Any:
        return self._random.choice(choices)

    def _chance(self, share: float) -> bool:
        return self._random.random() < share

    def _some(self, share: float, **fields: Callable[[], Any]) -> dict[str, Any]:
        return {name: make() for name, make in fields.items() if self._chance(share)}

    # Resources

    def _gateway(self, name: str, host: str) -> dict[str, Any]:
        namespace = self._one(("", "./", "*/", "default/", "other/"))
        hosts = self._one(([host], ["*"], ["*.example"], [f"{namespace}{host}"], [f"{namespace}*"]))
        server: dict[str, Any] = {"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": hosts}
        if hosts == [host] and self._chance(0.2):
            server["tls"] = {"httpsRedirect": True}
        spec = {"selector": {"istio": "ingressgateway"}, "servers": [server]}
        return _resource("Gateway", "default", name, spec)

    def _destination_rule(self, name: str, host: str) -> dict[str, Any]:
        subsets = [{"name": item, "labels": {"version": item}} for item in ("v1", "v2")]
        policies: tuple[dict[str, Any], ...] = (
            {}, {"loadBalancer": {"simple": self._one(("ROUND_ROBIN", "RANDOM", "LEAST_REQUEST"))}},
            {"loadBalancer": {"consistentHash": {"httpHeaderName": "x-user"}}},
            {"connectionPool": {"http": {"maxRequestsPerConnection": self._one((0, 1, 7))}}},
            {"outlierDetection": {"consecutive5xxErrors": 500}}, {"loadBalancer": {"simple": "FASTEST"}},
        )  # fmt: skip
        spec = {"host": host, "subsets": self._one((subsets, subsets, subsets[:1])),
                **self._some(0.4, trafficPolicy=lambda: self._one(policies))}  # fmt: skip
        return _resource("DestinationRule", "default", name, spec)

    def _rules(self, host: str) -> list[dict[str, Any]]:
        return [self._rule(host) for _ in range(self._one((1, 2, 3)))]

    def _rule(self, host: str) -> dict[str, Any]:
        made = self._some(0.8, match=lambda: [self._match() for _ in range(self._one((1, 1, 2)))])
        action = self._one(("route", "route", "route", "redirect", "directResponse"))
        made[action] = getattr(self, f"_{action}")(host)
        if action == "route":
            made |= self._some(
                0.2, rewrite=self._rewrite, headers=self._headers, fault=self._fault,
                timeout=lambda: "10s", retries=lambda: {"attempts": 2, "retryOn": "connect-failure"},
                mirror=lambda: {"host": "other.example"},
            )  # fmt: skip
        return made | dict(self._one(WRONG)) if self._chance(0.06) else made

    def _match(self) -> dict[str, Any]:
        return self._some(
            0.25, headers=self._values, withoutHeaders=self._values, method=lambda: {"exact": "POST"},
            authority=lambda: {"prefix": "c"}, scheme=lambda: {"exact": "http"},
            queryParams=lambda: {"q": self._one(({"exact": "1"}, {"regex": "[0-9]+"}, {}))},
            sourceLabels=lambda: self._one(({"version": "v1"}, {"app": "other"})),
            sourceNamespace=lambda: self._one(NAMESPACES), port=lambda: self._one((80, 81)),
        ) | self._some(0.7, uri=self._uri, ignoreUriCase=lambda: True)  # fmt: skip

    def _uri(self) -> dict[str, str]:
        kind = self._one(("exact", "prefix", "regex"))
        return {kind: self._one(REGEXES if kind == "regex" else PATHS)}

    def _values(self) -> dict[str, Any]:
        match = self._one(({"exact": "jason"}, {"prefix": "ja"}, {"regex": "(jason|ann)"}, {}))
        return {self._one(NAMES): match}

    def _route(self, host: str) -> list[dict[str, Any]]:
        count = self._one((1, 1, 1, 2, 3))
        subsets = self._random.sample(("v1", "v2", "v9", ""), count)
        return [self._destination(host, subset, count) for subset in subsets]

    def _destination(self, host: str, subset: str, count: int) -> dict[str, Any]:
        where = {"host": self._one((host, host, host, "other.example"))}
        if subset and where["host"] == host:
            where["subset"] = subset
        made: dict[str, Any] = {"destination": where}
        if count > 1:
            made["weight"] = self._one((1, 50, 100)) if subset != "v9" else self._one((0, 50))
        # Of a header that both a rule and its destination change the documentation says nothing.
        return made | self._some(0.15, headers=lambda: {"request": {"set": {"x-own": subset or "any"}}})

    def _redirect(self, host: str) -> dict[str, Any]:
        fields = self._some(
            0.5, uri=lambda: self._one(("/new", "/new?x=1")), authority=lambda: "new.example",
            scheme=lambda: "https", port=lambda: 8443, redirectCode=lambda: self._one((301, 302, 307)),
        )  # fmt: skip
        return fields or {"uri": "/elsewhere"}

    def _directResponse(self, host: str) -> dict[str, Any]:
        return {"status": self._one((200, 404, 451, 503)), **self._some(0.5, body=lambda: {"string": "x"})}

    def _rewrite(self) -> dict[str, Any]:
        regex = {"match": "/api/v([0-9]+)", "rewrite": r"/v\1"}
        both = {"uri": "/r", "authority": "r.example"}
        plain = ({"uri": "/r"}, {"uri": "/r/"}, {"authority": "r.example"})
        return dict(self._one((*plain, both, {"uriRegexRewrite": regex})))

    def _headers(self) -> dict[str, Any]:
        return {"request": self._one((
            {"set": {"x-env": "set"}}, {"remove": ["x-user"]}, {"set": {"x-new": "1"}, "remove": ["x-env"]},
        ))}  # fmt: skip

    def _fault(self) -> dict[str, Any]:
        return {"abort": {"httpStatus": 418, "percentage": {"value": self._one((0, 100))}}}

    # Requests

    def _request(self, host: str, rules: list[dict[str, Any]], through_gateway: bool) -> Asked:
        matches = [match for rule in rules for match in rule.get("match", ())] or [{}]
        wanted: dict[str, Any] = self._one(matches)
        names = {*wanted.get("headers", {}), *self._some(0.3, **{"x-user": str, "x-env": str})}
        queries = ("q=1", "q=2") if wanted.get("queryParams") else ("", "q=1", "q=22&r=1", "q=x")
        return Asked(
            host,
            self._path(wanted.get("uri", {})),
            self._one(queries),
            "POST" if "method" in wanted and self._chance(0.8) else "GET",
            {name: self._one(VALUES[:3]) for name in sorted(names)},
            through_gateway=through_gateway,
        )

    def _path(self, uri: Mapping[str, str]) -> str:
        near = uri.get("exact") or uri.get("prefix")
        if near is None or self._chance(0.3):
            return str(self._one(PATHS))
        return near if self._chance(0.6) else f"{near.rstrip('/')}{self._one(('/b', '/x', '/'))}"
