"""Tokens of end users at a service behind its sidecar: which are accepted, from where, and what goes on."""

import base64
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio
from end_user_tokens import ALGORITHMS, SigningKey, base64url, bearer, key_set, token_policy
from multidict import CIMultiDict
from policy_mesh import Caller, protected_service

KEYS = {algorithm: SigningKey.new(algorithm, f"key-{algorithm}") for algorithm in ALGORITHMS}
MAIN, STRANGER, OTHER = KEYS["ES256"], SigningKey.new("ES256", "key-ES256"), SigningKey.new("RS256", "other")
RULES: list[dict[str, Any]] = [
    {
        "issuer": "issuer",
        "jwks": key_set(*KEYS.values()),
        "outputPayloadToHeader": "x-payload",
        "outputClaimToHeaders": [
            {"header": "x-user", "claim": "sub"},
            {"header": "x-country", "claim": "address.country"},
        ],
        "forwardOriginalToken": True,
    },
    {
        "issuer": "elsewhere",
        "jwks": key_set(OTHER),
        "audiences": ["shop", "till"],
        "fromHeaders": [{"name": "x-token", "prefix": "Token "}, {"name": "x-bare"}],
        "fromParams": ["token"],
        "fromCookies": ["session"],
        "outputClaimToHeaders": [{"header": "x-other-user", "claim": "sub"}],
    },
]
NONE, HS256 = b'{"alg":"none"}', b'{"alg":"HS256","kid":"key-ES256"}'
AUDIENCE = {"iss": "elsewhere", "aud": "till"}


@dataclass(frozen=True)
class Seen:
    """What became of a request: the status, what was said, and what the application saw."""

    status: int
    text: str
    path: str
    headers: dict[str, str]


async def ask(caller: Caller, path: str = "/", method: str = "GET", **headers: str) -> Seen:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with caller.session.request(method, caller.base + path, headers=named) as response:
        text = await response.text()
        body = json.loads(text) if response.headers.get("x-from-app") else {}
        return Seen(response.status, text, body.get("path", ""), body.get("headers", {}))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def caller() -> AsyncIterator[Caller]:
    """One policy of the service's namespace, one of the whole mesh: all their rules count."""
    text = token_policy(RULES[:1]) + token_policy(RULES[1:], "mesh", "istio-system")
    async with protected_service(text) as made:
        yield made


pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.mark.proves(
    "security.RequestAuthenticationSpec.jwtRules", "security.JWTRule.issuer", "security.JWTRule.jwks"
)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_a_token_is_verified_with_every_algorithm(caller: Caller, algorithm: str) -> None:
    token = KEYS[algorithm].token()
    seen = await ask(caller, **bearer(token))
    assert (seen.status, seen.headers.get("x-user")) == (200, "ann")
    head, body, signature = token.split(".")
    flipped = base64url(bytes([255 - byte for byte in base64.urlsafe_b64decode(signature + "==")]))
    assert (await ask(caller, **bearer(f"{head}.{body}.{flipped}"))).status == 401


async def test_a_request_without_a_token_passes(caller: Caller) -> None:
    assert (await ask(caller)).status == 200


UNSIGNED = base64url(b'{"iss":"issuer","sub":"ann"}')
INVALID = {
    "by a stranger's key": (STRANGER.token(), "verification fails"),
    "of an unknown issuer": (MAIN.token({"iss": "nobody"}), "issuer is not configured"),
    "expired": (MAIN.token({"exp": int(time.time()) - 120}), "expired"),
    "too early": (MAIN.token({"nbf": int(time.time()) + 120}), "not yet valid"),
    "by an unknown key": (SigningKey.new("ES256", "unknown").token(), "match kid"),
    "with another algorithm than its key's": (MAIN.token(alg="ES384"), "verification fails"),
    "with none": (f"{base64url(b'{}')}.{UNSIGNED}.", ""),
    "with the algorithm none": (f"{base64url(NONE)}.{UNSIGNED}.", ""),
    "by a public key as a secret": (f"{base64url(HS256)}.{UNSIGNED}.eA", ""),
    "no token at all": ("nonsense", "Header.Payload.Signature"),
    "cut off": (MAIN.token()[:-8], ""),
    "of one issuer by the key of another": (OTHER.token({"iss": "issuer"}), ""),
}


@pytest.mark.parametrize("kind", INVALID)
async def test_a_token_that_is_not_valid_is_refused(caller: Caller, kind: str) -> None:
    token, said = INVALID[kind]
    seen = await ask(caller, **bearer(token))
    assert seen.status == 401
    assert said in seen.text
    assert not seen.headers


async def test_clocks_may_differ_by_a_minute(caller: Caller) -> None:
    now = int(time.time())
    for claims in ({"exp": now - 30}, {"nbf": now + 30}):
        assert (await ask(caller, **bearer(MAIN.token(claims)))).status == 200


@pytest.mark.proves(
    "security.JWTRule.fromHeaders",
    "security.JWTHeader.name",
    "security.JWTHeader.prefix",
    "security.JWTRule.fromParams",
    "security.JWTRule.fromCookies",
)
async def test_a_token_is_found_where_the_rule_says_and_does_not_go_on(caller: Caller) -> None:
    good, bad = OTHER.token(AUDIENCE), STRANGER.token(AUDIENCE)
    for token, status in ((good, 200), (bad, 401)):
        places: tuple[tuple[str, dict[str, str]], ...] = (
            ("/", {"x_token": f"Token {token}"}),
            ("/", {"x_bare": token}),
            (f"/a?token={token}&b=c", {}),
            ("/", {"cookie": f"a=b; session={token}; c=d"}),
        )
        for path, headers in places:
            seen = await ask(caller, path, **headers)
            assert seen.status == status, (path, headers)
            if token == good:
                assert seen.headers["x-other-user"] == "ann"
                assert token not in json.dumps(seen.headers) + seen.path
    kept = await ask(caller, cookie=f"a=b; session={good};c=d")
    assert kept.headers["cookie"] == "a=b; c=d"
    pairs = CIMultiDict([("cookie", "a=b"), ("cookie", f"session={good}"), ("cookie", "session; d=e")])
    async with caller.session.get(caller.base, headers=pairs) as response:
        assert (await response.json())["headers"]["cookie"].split("; ") == ["a=b", "session", "d=e"]
    assert (await ask(caller, **bearer(good))).status == 401


async def test_every_token_of_a_request_must_be_valid(caller: Caller) -> None:
    theirs, ours = OTHER.token(AUDIENCE), bearer(MAIN.token({"sub": "bob"}))
    both = await ask(caller, x_bare=theirs, **ours)
    assert (both.status, both.headers["x-user"], both.headers["x-other-user"]) == (200, "bob", "ann")
    assert (await ask(caller, x_bare=STRANGER.token(AUDIENCE), **ours)).status == 401
    assert (await ask(caller, x_bare=theirs, **bearer(STRANGER.token()))).status == 401


async def test_rules_may_look_for_their_tokens_at_the_same_place() -> None:
    keys = {issuer: SigningKey.new("ES256", issuer) for issuer in ("a", "b", "c")}
    rules: list[dict[str, Any]] = [
        {"issuer": issuer, "jwks": key_set(key), "outputClaimToHeaders": [{"header": issuer, "claim": "sub"}]}
        for issuer, key in keys.items()
    ]
    rules[2]["fromHeaders"] = [{"name": "x-token"}, {"name": "authorization", "prefix": "Bearer "}]
    async with protected_service(token_policy(rules[:1]) + token_policy(rules[1:], "more")) as caller:
        assert (await ask(caller)).status == 200
        for issuer, key in keys.items():
            seen = await ask(caller, a="root", b="root", c="root", **bearer(key.token({"iss": issuer})))
            written = {name: seen.headers[name] for name in keys if name in seen.headers}
            assert (seen.status, written) == (200, {issuer: "ann"})
            assert (await ask(caller, **bearer(key.token({"iss": "d"})))).status == 401
        assert (await ask(caller, **bearer(keys["a"].token({"iss": "b"})))).status == 401
        assert (await ask(caller, x_token=keys["c"].token({"iss": "c"}))).status == 200
        assert (await ask(caller, x_token=keys["a"].token({"iss": "a"}))).status == 401


async def test_a_token_is_also_a_parameter_where_a_rule_names_no_place(caller: Caller) -> None:
    seen = await ask(caller, f"/?access_token={MAIN.token()}")
    assert (seen.status, seen.headers["x-user"]) == (200, "ann")
    assert (await ask(caller, f"/?access_token={STRANGER.token()}")).status == 401


@pytest.mark.proves("security.JWTRule.audiences")
async def test_a_token_is_for_one_of_the_audiences(caller: Caller) -> None:
    for audience, status in (("shop", 200), (["x", "till"], 200), ("bank", 403), ([], 403)):
        token = OTHER.token({"iss": "elsewhere", "aud": audience})
        assert (await ask(caller, x_bare=token)).status == status, audience
    assert (await ask(caller, x_bare=OTHER.token({"iss": "elsewhere"}))).status == 403


@pytest.mark.proves(
    "security.JWTRule.outputPayloadToHeader",
    "security.JWTRule.outputClaimToHeaders",
    "security.ClaimToHeader.header",
    "security.ClaimToHeader.claim",
    "security.JWTRule.forwardOriginalToken",
)
async def test_the_application_is_told_what_the_token_says(caller: Caller) -> None:
    token = MAIN.token({"address": {"country": "de"}, "groups": ["a"]})
    seen = await ask(caller, **bearer(token))
    said = json.loads(base64.urlsafe_b64decode(seen.headers["x-payload"] + "=="))
    assert (said["sub"], said["groups"]) == ("ann", ["a"])
    assert (seen.headers["x-user"], seen.headers["x-country"]) == ("ann", "de")
    assert seen.headers["authorization"] == f"Bearer {token}"


async def test_nobody_else_writes_the_headers_that_tokens_write(caller: Caller) -> None:
    forged = {"x_user": "root", "x_payload": "e30", "x_country": "xx", "x_other_user": "root"}
    names = {name.replace("_", "-") for name in forged}
    for headers in ({}, {"origin": "http://a", "access_control_request_method": "GET"}):
        seen = await ask(caller, "/", "OPTIONS", **forged, **headers)
        assert (seen.status, names & seen.headers.keys()) == (200, set())
    known = await ask(caller, **forged, **bearer(MAIN.token()))
    assert names & known.headers.keys() == {"x-user", "x-payload"}
    assert known.headers["x-user"] == "ann"


async def test_a_claim_cannot_add_a_header_of_its_own(caller: Caller) -> None:
    seen = await ask(caller, **bearer(MAIN.token({"sub": "a\r\nx-admin: yes"})))
    assert seen.status >= 400


@pytest.mark.proves("security.RequestAuthenticationSpec.selector", "model.Selector.matchLabels")
async def test_a_policy_is_for_the_workloads_that_it_selects() -> None:
    selectors = ({"app": "reviews"}, {"app": "ratings"})
    texts = [token_policy(RULES[:1], selector={"matchLabels": labels}) for labels in selectors]
    elsewhere = token_policy(RULES[:1], namespace="elsewhere")
    for text, status in ((texts[0], 401), (texts[1] + elsewhere, 200)):
        async with protected_service(text) as caller:
            assert (await ask(caller, **bearer("nonsense"))).status == status


ALLOWED = """
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: users, namespace: default}
spec:
  rules:
  - from: [{source: {requestPrincipals: [issuer/ann]}}]
  - when: [{key: "request.auth.claims[org][teams]", values: [till]}]
  - when:
    - {key: "request.auth.claims[scope]", values: ["read*"]}
    - {key: request.auth.audiences, values: [shop]}
"""


async def test_access_is_given_by_what_tokens_say() -> None:
    async with protected_service(token_policy(RULES[:1]), ALLOWED) as caller:
        for claims, status in (
            ({}, 200),
            ({"sub": "eve"}, 403),
            ({"sub": "eve", "org": {"teams": ["till", "bank"]}}, 200),
            ({"sub": "eve", "org": {"teams": ["bank"]}}, 403),
            ({"sub": "eve", "scope": "write reading", "aud": ["shop"]}, 200),
            ({"sub": "eve", "scope": "write reading", "aud": ["bank"]}, 403),
        ):
            assert (await ask(caller, **bearer(MAIN.token(claims)))).status == status, claims
        assert (await ask(caller)).status == 403
        assert (await ask(caller, **bearer(STRANGER.token()))).status == 401
