"""Whatever HTTPRoute or GRPCRoute is admitted, Envoy takes the routes made of it."""

import random
from typing import Any

import pytest
from google.protobuf import json_format
from routing_envoy import cluster, http_route_host, route_listener, validate

from marline.api.decode import admit
from marline.api.errors import InvalidResource
from marline.compile.gateway_api_grpc import as_http
from marline.compile.gateway_api_rules import RouteSet, backend_key, references
from marline.compile.routes_targets import Target

PATHS = ("/", "/a", "/a/", "/a/b.c", "/%41", "/a?b", "/ä", "a", "", "//", "/a+(b)", "/\\1", "/a'b", "/a;b=c")
REGEXES = ("/.*", "/[0-9]+", "(", "/(?=a)", "a{1001}", "/(?i)x", "", "*", "/ü", "/a|/b", "/[^/]*")
TEXTS = ("a", "", "100%", "%REQ(:path)%", "\\1", "ünï", "a b", "x" * 5000, '"', "{}", "\n", "\x7f")
NAMES = ("x-a", "X-B", "host", ":path", "a b", "", "content-length", "x" * 300)
HOSTS = ("a.example.com", "*.example.com", "A.com", "10.0.0.1", "a", "")
ORIGINS = ("*", "https://*", "http://a.b", "https://*.a.b:8443", "a.b", "https://a_b", "ftp://a")
DURATIONS = ("0s", "1ms", "10s", "1h30m", "-1s", "0.5s")
SERVICES = ("a.B", "demo.Greeter", ".a", "a..b", "a/b", "", "ä")
HEADERS = ("RequestHeaderModifier", "ResponseHeaderModifier")
METHODS = ("Hello", "hello_1", "1a", "a.b", "")


class Maker:
    """Makes rules of awkward values; the same for a seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def one(self, choices: tuple[Any, ...]) -> Any:
        return self._random.choice(choices)

    def some(self, **fields: Any) -> dict[str, Any]:
        chosen = self._random.sample(sorted(fields), self._random.randint(1, min(3, len(fields))))
        return {name: fields[name]() for name in chosen}

    def named(self) -> list[dict[str, Any]]:
        kind = self.one(("Exact", "RegularExpression"))
        value = self.one(TEXTS if kind == "Exact" else REGEXES)
        return [{"name": self.one(NAMES), "type": kind, "value": value}]

    def http_match(self) -> dict[str, Any]:
        return self.some(
            path=self.path, headers=self.named, queryParams=self.named,
            method=lambda: self.one(("GET", "CONNECT", "get")),
        )  # fmt: skip

    def path(self) -> dict[str, Any]:
        kind = self.one(("Exact", "PathPrefix", "RegularExpression"))
        return {"type": kind, "value": self.one(REGEXES if kind == "RegularExpression" else PATHS)}

    def grpc_match(self) -> dict[str, Any]:
        kind = self.one(("Exact", "RegularExpression"))
        names, methods = (SERVICES, METHODS) if kind == "Exact" else (REGEXES, REGEXES)
        method = self.some(service=lambda: self.one(names), method=lambda: self.one(methods))
        return self.some(method=lambda: {"type": kind, **method}, headers=self.named)

    def modifier(self) -> dict[str, Any]:
        return self.some(
            set=lambda: [{"name": self.one(NAMES), "value": self.one(TEXTS)}],
            add=lambda: [{"name": self.one(NAMES), "value": self.one(TEXTS)}],
            remove=lambda: [self.one(NAMES)],
        )

    def change(self) -> dict[str, Any]:
        kind, name = self.one(
            (("ReplaceFullPath", "replaceFullPath"), ("ReplacePrefixMatch", "replacePrefixMatch"))
        )
        return {"type": kind, name: self.one(PATHS)}

    def http_filter(self) -> dict[str, Any]:
        kind = self.one(
            (
                "RequestHeaderModifier",
                "ResponseHeaderModifier",
                "RequestMirror",
                "URLRewrite",
                "CORS",
                "ExtensionRef",
            )
        )
        if kind == "URLRewrite":
            return {"type": kind, "urlRewrite": self.some(hostname=lambda: self.one(HOSTS), path=self.change)}
        if kind == "CORS":
            return {"type": kind, "cors": self.cors()}
        if kind == "ExtensionRef":
            return {"type": kind, "extensionRef": {"group": "a.b", "kind": "C", "name": "d"}}
        return self.grpc_filter(kind)

    def cors(self) -> dict[str, Any]:
        return self.some(
            allowOrigins=lambda: [self.one(ORIGINS)],
            allowMethods=lambda: [self.one(("GET", "*", "get"))],
            allowHeaders=lambda: [self.one(NAMES)],
            exposeHeaders=lambda: [self.one((*NAMES, "*"))],
            allowCredentials=lambda: self.one((True, False)),
            maxAge=lambda: self.one((1, 0, 86400)),
        )

    def retry(self) -> dict[str, Any]:
        return self.some(
            codes=lambda: [self.one((400, 503, 599, 200))],
            attempts=lambda: self.one((1, 5, 0)),
            backoff=lambda: self.one(DURATIONS),
        )

    def session(self) -> dict[str, Any]:
        lifetime = {"lifetimeType": self.one(("Permanent", "Session"))}
        return self.some(
            sessionName=lambda: self.one((*NAMES, "kept")),
            absoluteTimeout=lambda: self.one(DURATIONS),
            type=lambda: self.one(("Cookie", "Header")),
            cookieConfig=lambda: lifetime,
        )

    def grpc_filter(self, kind: str) -> dict[str, Any]:
        if kind == "RequestMirror":
            share = self.one(({}, {"percent": 0}, {"fraction": {"numerator": 1, "denominator": 3}}))
            return {"type": kind, "requestMirror": {"backendRef": {"name": "app", "port": 1}, **share}}
        return {"type": kind, kind[0].lower() + kind[1:]: self.modifier()}

    def redirect(self) -> dict[str, Any]:
        return self.some(
            scheme=lambda: self.one(("http", "https", "ftp")),
            hostname=lambda: self.one(HOSTS),
            path=self.change,
            port=lambda: self.one((1, 443, 0)),
            statusCode=lambda: self.one((301, 308, 200)),
        )

    def backends(self, *, http: bool = False) -> list[dict[str, Any]]:
        kind = self.one(("RequestHeaderModifier", "ResponseHeaderModifier", "RequestMirror"))
        names = self.one((("app",), ("app", "missing"), ("missing",)))
        filters = self.one(([], [self.grpc_filter(kind)], [self.http_filter()] if http else []))
        return [
            {"name": name, "port": 1, "weight": self.one((0, 1, 9)), "filters": filters} for name in names
        ]

    def http_rule(self) -> dict[str, Any]:
        rule: dict[str, Any] = {"matches": [self.http_match()]}
        if self.one((True, False, False)):
            return rule | {"filters": [{"type": "RequestRedirect", "requestRedirect": self.redirect()}]}
        timeouts = self.some(request=lambda: self.one(DURATIONS), backendRequest=lambda: self.one(DURATIONS))
        more = self.one(({}, {"retry": self.retry()}, {"sessionPersistence": self.session()}))
        backends = self.backends(http=True)
        return rule | {"filters": [self.http_filter()], "backendRefs": backends, "timeouts": timeouts} | more

    def grpc_rule(self) -> dict[str, Any]:
        kind = self.one(("RequestHeaderModifier", "ResponseHeaderModifier", "RequestMirror"))
        filters = [self.grpc_filter(kind)]
        more = self.one(({}, {"sessionPersistence": self.session()}))
        return {"matches": [self.grpc_match()], "filters": filters, "backendRefs": self.backends()} | more


def admitted(seed: int, count: int) -> list[RouteSet]:
    maker, found = Maker(seed), []
    for _ in range(count):
        kind = maker.one(("HTTPRoute", "GRPCRoute"))
        rule = maker.http_rule() if kind == "HTTPRoute" else maker.grpc_rule()
        obj = {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": kind,
            "metadata": {"name": "it", "namespace": "default"},
            "spec": {"parentRefs": [{"name": "gateway"}], "rules": [rule]},
        }
        try:
            made = admit(obj)
        except InvalidResource:
            continue
        made = as_http(made) if kind == "GRPCRoute" else made
        backends = {
            backend_key(item): Target(item.name) if item.name == "app" else None
            for item in references(made.spec)
        }
        found.append(RouteSet(made, "http", 8080, tuple(backends.items())))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
async def test_envoy_takes_all_api_routes_that_are_admitted(seed: int) -> None:
    found = admitted(seed, 3000)
    assert {routes.resource.kind for routes in found} == {"HTTPRoute", "GRPCRoute"}
    assert len(found) > 100
    assert await refused(found) == []


async def refused(found: list[RouteSet]) -> list[str]:
    """What Envoy says against any of the routes; they are tried by halves if it refuses all."""
    host = http_route_host(*found)
    static = {"listeners": [route_listener([host])], "clusters": [cluster("app", [1])]}
    said = await validate({"static_resources": static})
    if said == "":
        return []
    if len(found) == 1:
        return [f"{said}: {json_format.MessageToDict(host)}"]
    middle = len(found) // 2
    return [*await refused(found[:middle]), *await refused(found[middle:])]
