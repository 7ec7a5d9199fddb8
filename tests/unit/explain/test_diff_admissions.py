"""Who loses or gains access when policies change is told by name, with the requests that are concerned."""

from explained import REVIEWS, mesh, resources, server, sidecar

from marline.api.resource import Ref
from marline.explain.changes import Forecast, forecast
from marline.mesh.model import ChangeSet

HOST = "reviews.default.svc.cluster.local:9080"
CLIENTS = (
    sidecar(),
    server("reviews-v1", "10.0.0.1", app="reviews"),
    server("reviews-v3", "10.0.0.3", app="reviews"),
)
POLICY = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: reviews, namespace: default}
spec:
  selector: {matchLabels: {app: reviews}}
  action: %s
  rules: %s
"""
REF = Ref("security.istio.io", "AuthorizationPolicy", "default", "reviews")


def foretell(before: str, change: str, *removed: Ref) -> Forecast:
    made = ChangeSet(resources(change), removed, "2")
    return forecast(mesh(before), made, CLIENTS)


def told(found: Forecast, kind: str) -> dict[str, set[str]]:
    return {item.text: set(item.proxies) for item in found.consequences if item.kind == kind}


def test_a_policy_that_allows_nothing_locks_everybody_out_of_all_replicas() -> None:
    found = foretell(REVIEWS, POLICY % ("ALLOW", "[]"))
    text = f"{HOST}: policies say what is allowed, and none of them allows it"
    assert told(found, "lost") == {text: {"default/client", "default/reviews-v1", "default/reviews-v3"}}
    assert told(found, "gained") == {}


def test_the_requests_that_a_rule_names_are_named() -> None:
    rule = '[{to: [{operation: {methods: [DELETE], paths: ["/reviews/*"]}}]}]'
    found = foretell(REVIEWS, POLICY % ("DENY", rule))
    text = (
        f"{HOST}: DELETE /reviews/any: a policy denies it (AuthorizationPolicy default/reviews spec.rules[0])"
    )
    assert list(told(found, "lost")) == [text]


def test_a_policy_that_goes_gives_access() -> None:
    found = foretell(REVIEWS + "---" + POLICY % ("ALLOW", "[]"), "", REF)
    assert list(told(found, "gained")) == [f"{HOST}: no policy is about it"]
    assert told(found, "lost") == {}


def test_a_policy_that_decides_nothing_anew_has_no_consequence() -> None:
    rule = '[{from: [{source: {principals: ["nobody.example/*"]}}]}]'
    found = foretell(REVIEWS, POLICY % ("DENY", rule))
    assert found.proxies and not found.consequences
