"""Tokens of end users at a gateway: requests are routed and limited by what verified tokens say."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from edge_mesh import Edge, app, edge, eventually, gateway
from end_user_tokens import SigningKey, bearer, key_set, token_policy
from routing_envoy import backend

KEY, STRANGER = SigningKey.new("ES256", "one"), SigningKey.new("ES256", "one")
RULE: dict[str, Any] = {
    "issuer": "issuer",
    "jwks": key_set(KEY),
    "spaceDelimitedClaims": ["roles"],
    "outputClaimToHeaders": [{"header": "x-plan", "claim": "plan"}],
}
ROUTES = """
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: claims}
spec:
  hosts: [claims.example.com]
  gateways: [edge]
  http:
  - {match: [{headers: {"@request.auth.claims.groups": {exact: staff}}}],
     route: [{destination: {host: one}}], headers: {response: {set: {rule: groups}}}}
  - {match: [{headers: {"@request.auth.claims[https://example.com/org][name]": {prefix: north}}}],
     route: [{destination: {host: one}}], headers: {response: {set: {rule: nested}}}}
  - {match: [{headers: {"@request.auth.claims.address.country": {regex: "d.|fr"}}}],
     route: [{destination: {host: one}}], headers: {response: {set: {rule: regex}}}}
  - {match: [{headers: {"@request.auth.claims.roles": {exact: admin}}}],
     route: [{destination: {host: one}}], headers: {response: {set: {rule: roles}}}}
  - {match: [{headers: {"@request.auth.claims.scope": {exact: write}}}],
     route: [{destination: {host: one}}], headers: {response: {set: {rule: scope}}}}
  - {match: [{headers: {x-plan: {exact: gold}}}],
     route: [{destination: {host: one}}], headers: {response: {set: {rule: header}}}}
  - {match: [{uri: {prefix: /in}, withoutHeaders: {"@request.auth.claims.sub": {exact: eve}},
       headers: {"@request.auth.claims.sub": {}}}],
     route: [{destination: {host: one}}], headers: {response: {set: {rule: known}}}}
  - {match: [{uri: {prefix: /in}}], route: [{destination: {host: two}}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: acts}
spec:
  hosts: [acts.example.com]
  gateways: [edge]
  http:
  - {name: fault, match: [{headers: {"@request.auth.claims.sub": {exact: fault}}}],
     fault: {abort: {httpStatus: 418, percentage: {value: 100}}}, route: [{destination: {host: one}}]}
  - {name: limited, match: [{headers: {"@request.auth.claims.sub": {exact: busy}}}],
     route: [{destination: {host: one}}]}
  - {name: rest, route: [{destination: {host: two}}]}
---
apiVersion: policy.marline.io/v1alpha1
kind: RateLimitPolicy
metadata: {name: acts}
spec:
  targetRefs: [{group: networking.istio.io, kind: VirtualService, name: acts, sectionName: limited}]
  limits: [{name: all, requests: 2, unit: Hour}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: first}
spec:
  hosts: [shared.example.com]
  gateways: [edge]
  http:
  - {match: [{headers: {"@request.auth.claims.sub": {exact: ann}}}], route: [{destination: {host: one}}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: second}
spec:
  hosts: [shared.example.com]
  gateways: [edge]
  http: [{match: [{uri: {prefix: /x}}], route: [{destination: {host: two}}]}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: users}
spec: {hosts: [users.example.com], gateways: [edge], http: [{name: all, route: [{destination: {host: one}}]}]}
---
apiVersion: policy.marline.io/v1alpha1
kind: RateLimitPolicy
metadata: {name: users}
spec:
  targetRefs: [{group: networking.istio.io, kind: VirtualService, name: users}]
  limits:
  - {name: users, requests: 2, unit: Hour,
     by: [{type: JWTClaim, name: sub}, {type: JWTClaim, name: org.name}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: own}
spec: {gatewayClassName: marline, listeners: [{name: web, port: 81, protocol: HTTP}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: all}
spec: {parentRefs: [{name: own}], rules: [{backendRefs: [{name: one, port: 80}]}]}
"""
SERVERS = '  - {port: {number: 80, name: http, protocol: HTTP}, hosts: ["*"]}\n'
AT_EDGE = {"selector": {"matchLabels": {"istio": "ingressgateway"}}}


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    backend: str


@dataclass
class Running:
    """The gateway, and a client of it."""

    edge: Edge
    session: aiohttp.ClientSession

    async def ask(self, port: int, host: str, target: str = "/", **headers: str) -> Answer:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        url = f"http://127.0.0.1:{self.edge[port]}{target}"
        async with self.session.get(url, headers={"host": host, **named}) as response:
            text = await response.text()
            backend = json.loads(text)["backend"] if text.startswith("{") else ""
            return Answer(
                response.status, {name.lower(): it for name, it in response.headers.items()}, backend
            )

    async def with_claims(
        self, host: str, claims: dict[str, Any] | None, target: str = "/", **headers: str
    ) -> Answer:
        """With a token that has these claims; None: without a token."""
        token = {} if claims is None else bearer(KEY.token(claims))
        return await self.ask(80, f"{host}.example.com", target, **headers, **token)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running() -> AsyncIterator[Running]:
    async with AsyncExitStack() as stack:
        one, two = [await stack.enter_async_context(backend(name)) for name in ("one", "two")]
        text = app("one", one.port) + app("two", two.port) + gateway(SERVERS) + ROUTES
        text += token_policy([RULE], namespace="istio-system", **AT_EDGE)
        session = await stack.enter_async_context(aiohttp.ClientSession())
        yield Running(await stack.enter_async_context(edge(text, 80, 81)), session)


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.proves(
    "networking.HTTPMatchRequest.headers",
    "networking.HTTPMatchRequest.withoutHeaders",
    "security.JWTRule.spaceDelimitedClaims",
)
@pytest.mark.parametrize(
    ("claims", "rule"),
    [
        ({"groups": ["guests", "staff"]}, "groups"),
        ({"groups": "staff"}, "groups"),
        ({"groups": ["staffing"]}, ""),
        ({"groups": {"staff": "staff"}}, ""),
        ({"https://example.com/org": {"name": "northwind"}}, "nested"),
        ({"https://example.com/org": "northwind"}, ""),
        ({"address": {"country": "de"}}, "regex"),
        ({"address": {"country": "den"}}, ""),
        ({"roles": "user admin"}, "roles"),
        ({"scope": "read write"}, "scope"),
        ({"plan": "gold"}, "header"),
        ({}, ""),
        (None, ""),
    ],
    ids=range(13),
)
async def test_requests_are_routed_by_claims(
    running: Running, claims: dict[str, Any] | None, rule: str
) -> None:
    answer = await running.with_claims("claims", claims)
    assert (answer.status, answer.headers.get("rule", "")) == ((200, rule) if rule else (404, ""))


async def test_absence_is_asked_for_too(running: Running) -> None:
    for claims, expected in (({}, "one"), ({"sub": "eve"}, "two"), (None, "two")):
        assert (await running.with_claims("claims", claims, "/in")).backend == expected, claims


async def test_a_claim_is_a_condition_like_others_where_resources_share_a_host(running: Running) -> None:
    for claims, expected in (({"sub": "ann"}, "one"), ({"sub": "bob"}, "two")):
        assert (await running.with_claims("shared", claims, "/x")).backend == expected


async def test_what_no_token_says_is_not_believed(running: Running) -> None:
    spoofed = {"x_plan": "gold"}
    assert (await running.with_claims("claims", None, **spoofed)).status == 404
    assert (await running.with_claims("claims", {}, **spoofed)).status == 404
    forged = bearer(STRANGER.token({"groups": "staff"}))
    assert (await running.ask(80, "claims.example.com", **forged)).status == 401


@pytest.mark.parametrize(
    "line", ["GET http://users.example.com/", "OPTIONS *", "CONNECT users.example.com:80", "GET //", "PRI /"]
)
async def test_no_form_of_a_request_gets_around_verification(running: Running, line: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", running.edge[80])
    token = STRANGER.token()
    head = f"Host: users.example.com\r\nAuthorization: Bearer {token}\r\nConnection: close"
    writer.write(f"{line} HTTP/1.1\r\n{head}\r\n\r\n".encode())
    first = await asyncio.wait_for(reader.readline(), 10)
    writer.close()
    assert int(first.split()[1]) >= 400


async def test_what_a_route_says_holds_also_when_a_token_leads_to_it(running: Running) -> None:
    assert (await running.with_claims("acts", {"sub": "fault"})).status == 418
    statuses = [(await running.with_claims("acts", {"sub": "busy"})).status for _ in range(3)]
    assert statuses == [200, 200, 429]
    others = [await running.with_claims("acts", {"sub": "ann"}) for _ in range(3)]
    assert [(item.backend, "x-ratelimit-limit" in item.headers) for item in others] == [("two", False)] * 3


@pytest.mark.proves("policy.LimitKey.type", "policy.LimitKey.name")
async def test_each_value_of_a_claim_has_a_count_of_its_own(running: Running) -> None:
    users = ({"sub": "ann"}, {"sub": "bob"}, {"sub": "bob", "org": {"name": "x"}}, None)
    for claims in users:
        statuses = [(await running.with_claims("users", claims)).status for _ in range(3)]
        assert statuses == [200, 200, 429], claims
    assert (await running.with_claims("users", {"sub": "ann", "org": "text"})).status == 429


@pytest.mark.proves(
    "security.RequestAuthenticationSpec.targetRefs",
    "security.RequestAuthenticationSpec.targetRef",
    "model.PolicyTargetReference.group",
)
async def test_a_policy_is_for_the_gateways_that_it_is_attached_to(running: Running) -> None:
    own = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "own"}
    other = SigningKey.new("ES256", "other")
    ours, theirs = (bearer(key.token({"iss": "other"})) for key in (KEY, other))
    rule = {"issuer": "other", "jwks": key_set(other)}

    async def status() -> int:
        """On a connection of its own: others stay with what the listener was."""
        return (await running.ask(81, "own", connection="close", **theirs)).status

    for spec in ({"targetRefs": [own]}, {"targetRef": own}):
        await eventually(status, 401)
        await running.edge.put(token_policy([rule], **spec))
        await eventually(status, 200)
        assert (await running.ask(81, "own", **ours)).status == 401
        elsewhere = {**own, "name": "elsewhere"}
        await running.edge.put(token_policy([rule], targetRefs=[elsewhere]))
