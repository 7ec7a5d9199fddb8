"""Policies that are tried: evaluated and counted, and without effect."""

from policy_mesh import protected_service

from marline.telemetry.policy_hits import PATH, RuleId, policy_hits

POLICY = """
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: %s, namespace: default, annotations: {istio.io/dry-run: "%s"}}
spec: {action: %s, rules: [{to: [{operation: {paths: ["/%s*"]}}]}]}
"""


async def test_what_is_tried_is_counted_and_refuses_nothing() -> None:
    tried = POLICY % ("not", "true", "DENY", "secret") + POLICY % ("only", "true", "ALLOW", "open")
    async with protected_service(tried, POLICY % ("really", "false", "DENY", "never")) as caller:
        assert await caller.statuses(2, "/secret/a") == [200, 200]
        assert await caller.statuses(3, "/open") == [200, 200, 200]
        assert await caller.statuses(1, "/never") == [403]
        text = await caller.proxies["server"].admin(PATH)
    assert policy_hits([text]) == {
        RuleId("default", "not", 0): 2,
        RuleId("default", "only", 0): 3,
        RuleId("default", "really", 0): 1,
    }
