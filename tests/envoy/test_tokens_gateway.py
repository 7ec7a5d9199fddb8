"""Tokens of end users at a gateway: requests are routed and limited by what verified tokens say."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
import pytest_asyncio
from edge_mesh import Answer, Edge, app, ask, edge, gateway
from end_user_tokens import SigningKey, key_set
from routing_envoy import backend
from test_tokens_sidecar import bearer, policy

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


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running() -> AsyncIterator[Edge]:
    async with AsyncExitStack() as stack:
        one, two = [await stack.enter_async_context(backend(name)) for name in ("one", "two")]
        text = app("one", one.port) + app("two", two.port) + gateway(SERVERS) + ROUTES
        text += policy([RULE], namespace="istio-system", **AT_EDGE)
        yield await stack.enter_async_context(edge(text, 80, 81))


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def asked(
    running: Edge, host: str, claims: dict[str, Any] | None, target: str = "/", **headers: str
) -> Answer:
    """With a token that has these claims; None: without a token."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    token = {} if claims is None else bearer(KEY.token(claims))
    return await ask(running[80], f"{host}.example.com", target=target, headers={**named, **token})


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
async def test_requests_are_routed_by_claims(running: Edge, claims: dict[str, Any] | None, rule: str) -> None:
    answer = await asked(running, "claims", claims)
    assert (answer.status, answer.headers.get("rule", "")) == ((200, rule) if rule else (404, ""))


async def test_absence_is_asked_for_too(running: Edge) -> None:
    for claims, expected in (({}, "one"), ({"sub": "eve"}, "two"), (None, "two")):
        assert (await asked(running, "claims", claims, "/in")).backend == expected, claims


async def test_what_no_token_says_is_not_believed(running: Edge) -> None:
    spoofed = {"x_plan": "gold"}
    assert (await asked(running, "claims", None, **spoofed)).status == 404
    assert (await asked(running, "claims", {}, **spoofed)).status == 404
    forged = bearer(STRANGER.token({"groups": "staff"}))
    assert (await ask(running[80], "claims.example.com", headers=forged)).status == 401


async def test_what_a_route_says_holds_also_when_a_token_leads_to_it(running: Edge) -> None:
    assert (await asked(running, "acts", {"sub": "fault"})).status == 418
    statuses = [(await asked(running, "acts", {"sub": "busy"})).status for _ in range(3)]
    assert statuses == [200, 200, 429]
    others = [await asked(running, "acts", {"sub": "ann"}) for _ in range(3)]
    assert [(item.backend, "x-ratelimit-limit" in item.headers) for item in others] == [("two", False)] * 3


@pytest.mark.proves("policy.LimitKey.type", "policy.LimitKey.name")
async def test_each_value_of_a_claim_has_a_count_of_its_own(running: Edge) -> None:
    users = ({"sub": "ann"}, {"sub": "bob"}, {"sub": "bob", "org": {"name": "x"}}, None)
    for claims in users:
        statuses = [(await asked(running, "users", claims)).status for _ in range(3)]
        assert statuses == [200, 200, 429], claims
    assert (await asked(running, "users", {"sub": "ann", "org": "text"})).status == 429


@pytest.mark.proves(
    "security.RequestAuthenticationSpec.targetRefs",
    "security.RequestAuthenticationSpec.targetRef",
    "model.PolicyTargetReference.group",
)
async def test_a_policy_is_for_the_gateways_that_it_is_attached_to(running: Edge) -> None:
    own = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "own"}
    other, token = SigningKey.new("ES256", "other"), bearer(KEY.token({"iss": "other"}))
    rule = {"issuer": "other", "jwks": key_set(other)}
    for spec in ({"targetRefs": [own]}, {"targetRef": own}):
        assert (await ask(running[81], "own", headers=bearer(other.token({"iss": "other"})))).status == 401
        await running.put(policy([rule], **spec))
        assert (await ask(running[81], "own", headers=bearer(other.token({"iss": "other"})))).status == 200
        assert (await ask(running[81], "own", headers=token)).status == 401
        elsewhere = {**own, "name": "elsewhere"}
        await running.put(policy([rule], targetRefs=[elsewhere]))
