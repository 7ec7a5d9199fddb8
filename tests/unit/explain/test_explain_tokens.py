"""Where tokens of end users decide: of a request without one all is told, of others what is not known."""

from explained import REVIEWS, ask, decided_by, ingress, mesh

from marline.explain.steps import Fate

KEYS = '{"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}'
EDGE = f"""
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: web}}
spec: {{selector: {{istio: ingressgateway}},
  servers: [{{port: {{number: 80, name: http, protocol: HTTP}}, hosts: [shop.example]}}]}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: shop}}
spec: {{hosts: [shop.example], gateways: [web], http: [
  {{match: [{{headers: {{"@request.auth.claims.groups": {{exact: staff}}}}}}],
   route: [{{destination: {{host: reviews, subset: v3}}}}]}},
  {{match: [{{headers: {{x-user: {{exact: ann}}}}}}],
   route: [{{destination: {{host: reviews, subset: v3}}}}]}},
  {{match: [{{uri: {{prefix: /in}}, withoutHeaders: {{"@request.auth.claims.sub": {{}}}}}}],
   route: [{{destination: {{host: reviews, subset: v1}}}}]}}]}}
---
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {{name: edge, namespace: istio-system}}
spec: {{jwtRules: [{{issuer: a, jwks: '{KEYS}', outputClaimToHeaders: [{{header: x-user, claim: sub}}]}}]}}
"""


def test_a_request_without_a_token_has_no_claims_and_writes_no_headers_of_tokens() -> None:
    snapshot = mesh(REVIEWS + EDGE)
    found = ask(snapshot, "http://shop.example/in", ingress(), x_user="ann")
    assert decided_by(found, "route") == "VirtualService default/shop spec.http[2].match[0]"
    said = " ".join(f"{item.text} {' '.join(each.text for each in item.details)}" for item in found.steps)
    assert "there is no token, wanted one with the claim groups" in said
    assert not found.doubts
    assert ask(snapshot, "http://shop.example/", ingress(), x_user="ann").endings[0].status == 404


def test_of_a_request_with_a_token_it_is_said_that_it_is_not_verified() -> None:
    snapshot = mesh(REVIEWS + EDGE)
    for path, headers in (("/in", {"authorization": "Bearer x"}), ("/in?access_token=x", {})):
        found = ask(snapshot, f"http://shop.example{path}", ingress(), **headers)
        assert found.fate is Fate.UNKNOWN
        assert "tokens are not verified here" in found.endings[0].text
