"""Whatever VirtualService is admitted, Envoy takes the routes made of it."""

import random
from typing import Any

import pytest
from google.protobuf import json_format
from routing_envoy import cluster, route_listener, rule_set, validate

from marline.api.decode import admit
from marline.api.errors import InvalidResource
from marline.compile.routes_hosts import build_virtual_host

TEXTS = ("a", "", " ", "/", "*", "%", "100%", "%REQ(:path)%", "\\1", "ünï", "a b", "x" * 300, "?#", '"', "{}")
PATHS = ("/", "/a", "/a/", "/a?b", "/a#b", "/ä", "/a//b", "/%41", "", "a", "/*")
REGEXES = (".*", "*", "", "[0-9]+", "/a(b|c)", "(", "^/x$", "(?i)x", "(?=x)", "a{1001}")
DURATIONS = ("0s", "1ms", "0.5s", "1h", "-1s", "1us", "100000h")
NAMES = ("x-one", "X-Two", "host", ":authority", ":path", "x one", "", "x-ünï", "content-length")
PERCENTS = (0, 0.0001, 0.1, 50, 100)


class Maker:
    """Makes rules of awkward values; the same for a seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def one(self, choices: tuple[Any, ...]) -> Any:
        return self._random.choice(choices)

    def some(self, **fields: Any) -> dict[str, Any]:
        """A few of the fields, each made when it is chosen."""
        chosen = self._random.sample(sorted(fields), self._random.randint(1, min(3, len(fields))))
        return {name: fields[name]() for name in chosen}

    def text(self) -> Any:
        return self.one(TEXTS)

    def match(self) -> dict[str, Any]:
        kind = self.one(("exact", "prefix", "regex"))
        return {kind: self.one(REGEXES if kind == "regex" else TEXTS)}

    def uri(self) -> dict[str, Any]:
        kind = self.one(("exact", "prefix", "regex"))
        return {kind: self.one(REGEXES if kind == "regex" else PATHS)}

    def named(self) -> dict[str, Any]:
        return {self.one(NAMES): self.match()}

    def percent(self) -> dict[str, Any]:
        return {"value": self.one(PERCENTS)}

    def operations(self) -> dict[str, Any]:
        return self.some(
            set=lambda: {self.one(NAMES): self.text()},
            add=lambda: {self.one(NAMES): self.text()},
            remove=lambda: [self.one(NAMES)],
        )

    def headers(self) -> dict[str, Any]:
        return self.some(request=self.operations, response=self.operations)

    def condition(self) -> dict[str, Any]:
        return self.some(
            uri=self.uri, scheme=self.match, method=self.match, authority=self.match, headers=self.named,
            withoutHeaders=self.named, queryParams=self.named, ignoreUriCase=lambda: True,
            statPrefix=self.text,
        )  # fmt: skip

    def destination(self) -> dict[str, Any]:
        made: dict[str, Any] = {"destination": {"host": self.one(("app", "app.default", "other.example"))}}
        return made | {"weight": self.one((0, 1, 50, 100))}

    def rule(self) -> dict[str, Any]:
        made: dict[str, Any] = {"match": [self.condition()]}
        action = self.one(("route", "route", "redirect", "directResponse"))
        made[action] = {"route": self.route, "redirect": self.redirect, "directResponse": self.answer}[
            action
        ]()
        extra = self.some(
            headers=self.headers, corsPolicy=self.cors, fault=self.fault, timeout=lambda: self.one(DURATIONS)
        )
        if action == "route":
            extra |= self.some(rewrite=self.rewrite, retries=self.retries, mirrors=self.mirrors)
        return made | extra

    def route(self) -> list[Any]:
        return [self.destination() for _ in range(self.one((1, 2, 3)))]

    def redirect(self) -> dict[str, Any]:
        return self.some(
            uri=lambda: self.one(PATHS), authority=self.text, scheme=lambda: self.one(("https", "ftp", "")),
            port=lambda: self.one((0, 80, 65535)), redirectCode=lambda: self.one((301, 302, 307, 304, 200)),
        )  # fmt: skip

    def answer(self) -> dict[str, Any]:
        bodies = ({"string": "x" * 5000}, {"string": ""}, {"bytes": "AAAA"}, {"bytes": "!"})
        return {"status": self.one((200, 404, 599, 600, 100)), "body": self.one(bodies)}

    def rewrite(self) -> dict[str, Any]:
        return self.some(
            uri=lambda: self.one(PATHS), authority=self.text,
            uriRegexRewrite=lambda: {"match": self.one(REGEXES), "rewrite": self.text()},
        )  # fmt: skip

    def retries(self) -> dict[str, Any]:
        on = ("5xx", "503,connect-failure", "nonsense", "", "999", "gateway-error,reset", "5xx,,4xx")
        return {"attempts": self.one((0, 1, 100))} | self.some(
            perTryTimeout=lambda: self.one(DURATIONS), retryOn=lambda: self.one(on),
            backoff=lambda: self.one(DURATIONS), retryRemoteLocalities=lambda: True,
        )  # fmt: skip

    def mirrors(self) -> list[Any]:
        return [{"destination": {"host": "shadow"}, "percentage": self.percent()}]

    def fault(self) -> dict[str, Any]:
        status = (
            {"grpcStatus": "UNAVAILABLE"} if self.one((True, False)) else {"httpStatus": self.one((200, 555))}
        )
        return self.some(
            delay=lambda: {"fixedDelay": self.one(DURATIONS), "percentage": self.percent()},
            abort=lambda: {**status, "percentage": self.percent()},
        )

    def cors(self) -> dict[str, Any]:
        return self.some(
            allowOrigins=lambda: [self.match()], allowMethods=lambda: [self.one(("GET", "*", "")), "PUT"],
            allowHeaders=lambda: [self.one(NAMES)], exposeHeaders=lambda: [self.one(NAMES)],
            maxAge=lambda: self.one(DURATIONS), allowCredentials=lambda: True,
        )  # fmt: skip


def admitted(seed: int, count: int) -> list[Any]:
    maker = Maker(seed)
    found: list[Any] = []
    for _ in range(count):
        head = {"apiVersion": "networking.istio.io/v1", "kind": "VirtualService"}
        spec = {"hosts": ["reviews"], "http": [maker.rule()]}
        try:
            found.append(admit({**head, "metadata": {"name": "it", "namespace": "default"}, "spec": spec}))
        except InvalidResource:
            continue
    return found


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
async def test_envoy_takes_all_that_is_admitted(seed: int) -> None:
    resources = admitted(seed, 1500)
    assert len(resources) > 20
    hosts = []
    for index, resource in enumerate(resources):
        name = f"host-{index}.example"
        hosts.append(build_virtual_host(f"9080/{name}", (name,), rule_set(resource), None, ""))
    assert await faults(hosts, [json_format.MessageToDict(host) for host in hosts]) == []


async def faults(hosts: list[Any], plain: list[Any]) -> list[str]:
    """What Envoy says against any of the virtual hosts; they are tried one by one if it refuses all."""
    if await _refusal(hosts) == "":
        return []
    if len(hosts) == 1:
        return [f"{await _refusal(hosts)}: {plain[0]['routes']}"]
    middle = len(hosts) // 2
    return [
        *await faults(hosts[:middle], plain[:middle]),
        *await faults(hosts[middle:], plain[middle:]),
    ]


async def _refusal(hosts: list[Any]) -> str:
    listener = route_listener(hosts)
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    manager["route_config"]["max_direct_response_body_size_bytes"] = 1048576
    return await validate({"static_resources": {"listeners": [listener], "clusters": [cluster("app", [1])]}})
