"""What a RequestAuthentication must fulfil; claims in VirtualServices and rate limits."""

from typing import Any

import pytest
import yaml

from marline.api.decode import admit
from marline.api.errors import InvalidResource
from marline.api.security.claims import claim_names, routing_claim

GATEWAY = "{group: gateway.networking.k8s.io, kind: Gateway, name: edge}"
KEYS = '{"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}'


def faults(spec: str, kind: str = "security.istio.io/v1 RequestAuthentication") -> dict[str, str]:
    version, name = kind.split()
    obj: dict[str, Any] = {"apiVersion": version, "kind": name, "spec": yaml.safe_load(spec)}
    obj["metadata"] = {"name": "own", "namespace": "default"}
    try:
        admit(obj)
    except InvalidResource as error:
        return {item.path: item.message for item in error.errors}
    return {}


@pytest.mark.parametrize(
    ("rule", "path", "said"),
    [
        ("{}", "issuer", "required"),
        (f"{{jwks: '{KEYS}'}}", "issuer", "required"),
        ("{issuer: a, audiences: ['']}", "audiences[0]", "empty"),
        ("{issuer: a, jwks: '{}'}", "jwks", "no JSON Web Key Set"),
        ("{issuer: a, jwks: 'nonsense'}", "jwks", "not JSON"),
        (f"{{issuer: a, jwks: '{KEYS}', jwksUri: 'https://a/k'}}", "jwks", "found both"),
        ("{jwksUri: 'ftp://a/k'}", "jwksUri", "http or https"),
        ("{jwksUri: 'https://'}", "jwksUri", "http or https"),
        ("{jwksUri: 'https://a:99999/k'}", "jwksUri", "http or https"),
        ('{jwksUri: "https://a/k\\n"}', "jwksUri", "http or https"),
        ("{jwksUri: 'https://user:word@a/k'}", "jwksUri", "password"),
        ("{issuer: somebody}", "issuer", "jwksUri"),
        ("{issuer: 'http://issuer.example.com'}", "issuer", "without encryption"),
        ("{jwksUri: 'https://a/k', timeout: 0s}", "timeout", "too short"),
        ("{jwksUri: 'https://a/k', fromHeaders: [{name: 'a b'}]}", "fromHeaders[0].name", "header name"),
        ("{jwksUri: 'https://a/k', fromParams: ['']}", "fromParams[0]", "empty"),
        ("{jwksUri: 'https://a/k', fromCookies: ['a;b']}", "fromCookies[0]", "cookie"),
        ("{jwksUri: 'https://a/k', outputPayloadToHeader: ':path'}", "outputPayloadToHeader", "cannot be"),
        ("{jwksUri: 'https://a/k', outputPayloadToHeader: Host}", "outputPayloadToHeader", "cannot be"),
        (
            "{jwksUri: 'https://a', outputClaimToHeaders: [{header: A, claim: a}, {header: a, claim: b}]}",
            "outputClaimToHeaders",
            "already",
        ),
        ("{jwksUri: 'https://a/k', spaceDelimitedClaims: ['']}", "spaceDelimitedClaims[0]", "empty"),
    ],
    ids=range(21),
)
def test_a_rule_says_what_can_be_done(rule: str, path: str, said: str) -> None:
    assert said in faults(f"{{jwtRules: [{rule}]}}")[f"spec.jwtRules[0].{path}"]


@pytest.mark.parametrize(
    "rule",
    [
        "{issuer: 'https://issuer.example.com/'}",
        "{issuer: 'http://127.0.0.1:8080'}",
        "{jwksUri: 'http://keys.example.com/keys'}",
        f"{{issuer: somebody, jwks: '{KEYS}'}}",
    ],
)
def test_keys_come_from_where_the_rule_says_or_the_issuer(rule: str) -> None:
    assert faults(f"{{jwtRules: [{rule}]}}") == {}


@pytest.mark.parametrize(
    ("spec", "path", "said"),
    [
        (f"{{selector: {{matchLabels: {{a: b}}}}, targetRefs: [{GATEWAY}]}}", "spec", "at most one"),
        (f"{{targetRef: {GATEWAY}, targetRefs: [{GATEWAY}]}}", "spec", "at most one"),
        ("{targetRefs: [{kind: Service, name: a}]}", "spec.targetRefs[0]", "waypoints"),
        ("{targetRef: {group: networking.istio.io, kind: Gateway, name: a}}", "spec.targetRef", "waypoints"),
        ("{selector: {matchLabels: {'': b}}}", "spec.selector.matchLabels[]", "label key"),
    ],
    ids=range(5),
)
def test_a_policy_is_for_workloads_or_gateways(spec: str, path: str, said: str) -> None:
    assert said in faults(spec)[path]


def test_claims_are_named_with_dots_or_brackets() -> None:
    assert claim_names("a.b") == claim_names("[a][b]") == ("a", "b")
    assert claim_names("[https://a.b/c]") == ("https://a.b/c",)
    for text in ("", "a..b", ".a", "[]", "[a]b", "a[b]", "[a", "[[a]]"):
        assert claim_names(text) is None, text
    assert routing_claim("@Request.Auth.Claims.Sub") == ("Sub",)
    assert routing_claim("@request.auth.claims[a][b]") == ("a", "b")
    for text in ("x", "@request.auth.claims", "@request.auth.claims.", "@request.auth.claims-a"):
        assert routing_claim(text) is None, text


def test_only_gateways_route_by_claims() -> None:
    route = "route: [{destination: {host: a}}]"
    for field in ("headers", "withoutHeaders"):
        rule = f"http: [{{match: [{{{field}: {{'@request.auth.claims.sub': {{exact: a}}}}}}], {route}}}]"
        path = f"spec.http[0].match[0].{field}[@request.auth.claims.sub]"
        virtual_service = "networking.istio.io/v1 VirtualService"
        assert "only at gateways" in faults(f"{{hosts: [a], {rule}}}", virtual_service)[path]
        assert faults(f"{{hosts: [a], gateways: [edge, mesh], {rule}}}", virtual_service) == {}
        assert faults(f"{{{rule}}}", virtual_service) == {}
    wrong = f"http: [{{match: [{{headers: {{'@request.auth.claim': {{exact: a}}}}}}], {route}}}]"
    found = faults(f"{{hosts: [a], gateways: [edge], {wrong}}}", "networking.istio.io/v1 VirtualService")
    assert "nor a claim" in found["spec.http[0].match[0].headers[@request.auth.claim]"]
