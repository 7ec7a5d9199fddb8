"""Policies that are tried: evaluated and counted, and without effect."""

from policy_mesh import protected_service

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
        text = await caller.proxies["server"].admin("/stats?filter=rbac.*policy")
    counts = dict(line.rpartition(".rbac.")[2].rsplit(": ", 1) for line in text.splitlines())
    assert {name: int(count) for name, count in counts.items() if count != "0"} == {
        "istio_dry_run_deny_.policy.ns[default]-policy[not]-rule[0].shadow_denied": 2,
        "istio_dry_run_allow_.policy.ns[default]-policy[only]-rule[0].shadow_allowed": 3,
        "policy.ns[default]-policy[really]-rule[0].denied": 1,
    }
