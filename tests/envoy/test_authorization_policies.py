"""How AuthorizationPolicies count together, whom they are for, and what they leave behind."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from authorized_mesh import PATIENCE, AuthorizedMesh, authorized, request_text

WEB, JOBS, FORMER = (
    "cluster.local/ns/shop/sa/web", "cluster.local/ns/other/sa/jobs", "old.example/ns/shop/sa/web",
)  # fmt: skip
OF_WEB = {"from": [{"source": {"principals": [WEB]}}]}
OF_ANYBODY = {"from": [{"source": {"principals": ["*"]}}]}
OF_NOBODY = {"from": [{"source": {"notPrincipals": ["*"]}}]}
ADMIN = {"to": [{"operation": {"paths": ["/admin"]}}]}
HCM = "envoy.filters.network.http_connection_manager"
ROOT = {"operation": {"paths": ["/root"], "ports": ["9080"]}}
HEADS = (
    ("PeerAuthentication", {"mtls": {"mode": "PERMISSIVE"}}, "shop"),
    ("AuthorizationPolicy", {"action": "DENY", "rules": [{"to": [ROOT]}]}, "istio-system"),
    ("AuthorizationPolicy", {}, "elsewhere"),
)  # fmt: skip


def policy(workload: int, action: str, *rules: dict[str, Any], name: str = "") -> dict[str, Any]:
    spec = {
        "selector": {"matchLabels": {"app": f"w{workload}"}}, "action": action, "rules": list(rules),
    }  # fmt: skip
    return resource("AuthorizationPolicy", spec, "shop", name or f"p{workload}-{action.lower()}")


def resource(kind: str, spec: dict[str, Any], namespace: str, name: str = "default") -> dict[str, Any]:
    return {
        "apiVersion": "security.istio.io/v1", "kind": kind,
        "metadata": {"name": name, "namespace": namespace}, "spec": spec,
    }  # fmt: skip


FREE, CLOSED, OPEN, DENIED, AUDITED, IDENTIFIED, NAMELESS = range(7)
POLICIES = (
    policy(CLOSED, "ALLOW"),
    policy(OPEN, "ALLOW", {}),
    policy(OPEN, "ALLOW", name="nothing"),
    policy(DENIED, "ALLOW", OF_WEB),
    policy(DENIED, "DENY", ADMIN),
    policy(AUDITED, "AUDIT", OF_WEB),
    policy(AUDITED, "DENY", ADMIN),
    policy(IDENTIFIED, "ALLOW", OF_ANYBODY),
    policy(NAMELESS, "DENY", OF_NOBODY),
)


async def status(mesh: AuthorizedMesh, workload: int, caller: str, path: str = "/") -> int:
    connection = await mesh.connect(mesh.ports[workload][0], caller, "reviews.mesh.marline")
    found, _, _ = await connection.request(request_text(path))
    connection.close()
    return found


async def echoes(mesh: AuthorizedMesh, workload: int, caller: str) -> bool:
    connection = await mesh.connect(mesh.ports[workload][1], caller, "reviews.mesh.marline")
    found = await connection.echo()
    connection.close()
    return found


async def lines(mesh: AuthorizedMesh, text: str, count: int) -> AsyncIterator[dict[str, Any]]:
    """What the proxy's log says with this text in it, once there are so many lines."""
    async with asyncio.timeout(PATIENCE):
        while len(found := _json(mesh.envoy.log, text)) < count:  # noqa: ASYNC110 (a process writes them)
            await asyncio.sleep(0.02)
    for line in found:
        yield json.loads(line)


def _json(log: str, text: str) -> list[str]:
    return [line for line in log.splitlines() if line.startswith("{") and text in line and line.endswith("}")]


@pytest.mark.proves("security.AuthorizationPolicySpec.action", "security.AuthorizationPolicySpec.rules")
async def test_policies_of_a_workload_count_together() -> None:
    config = {
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "istio", "namespace": "istio-system"},
        "data": {"mesh": "trustDomainAliases: [old.example]"},
    }  # fmt: skip
    others = [resource(kind, spec, namespace) for kind, spec, namespace in HEADS]
    async with authorized(7, POLICIES, config, *others) as mesh:
        await _requests_and_connections(mesh)
        await _identities(mesh)
        await _what_is_left_behind(mesh)


async def _requests_and_connections(mesh: AuthorizedMesh) -> None:
    assert await status(mesh, FREE, JOBS) == 200, "without policies of its own anybody may call"
    assert await status(mesh, FREE, JOBS, "/root") == 403, "the root namespace's policies are for all"
    assert await status(mesh, CLOSED, WEB) == 403, "an ALLOW policy without rules allows nothing"
    assert not await echoes(mesh, CLOSED, WEB)
    assert await status(mesh, OPEN, "") == 200, "one ALLOW policy that matches is enough"
    assert await echoes(mesh, OPEN, "")
    assert await status(mesh, DENIED, WEB) == 200
    assert await status(mesh, DENIED, WEB, "/admin") == 403, "a DENY policy comes first"
    assert await status(mesh, DENIED, JOBS) == 403
    assert not await echoes(mesh, DENIED, WEB), "of connections the path is left out of a DENY rule"


async def _identities(mesh: AuthorizedMesh) -> None:
    for caller, known in ((WEB, True), (FORMER, True), ("", False)):
        assert await status(mesh, IDENTIFIED, caller) == (200 if known else 403), caller
        assert await status(mesh, NAMELESS, caller) == (200 if known else 403), caller
        assert await echoes(mesh, IDENTIFIED, caller) is known, caller
    assert await status(mesh, DENIED, FORMER) == 200, "an alias of the trust domain is the trust domain"
    with pytest.raises((OSError, asyncio.IncompleteReadError)):
        await status(mesh, DENIED, "other.example/ns/shop/sa/web")


async def _what_is_left_behind(mesh: AuthorizedMesh) -> None:
    assert await status(mesh, AUDITED, WEB, "/a?secret=1") == 200
    assert await status(mesh, AUDITED, WEB, "/admin") == 403
    assert await status(mesh, AUDITED, JOBS) == 200
    assert not await echoes(mesh, AUDITED, WEB)
    audited = await mesh.audited(3)
    rule = "ns[shop]-policy[p4-audit]-rule[0]"
    assert {record.rule for record in audited} == {rule}
    assert [(record.path, record.status) for record in audited if record.kind == "request"] == [
        ("/a", 200), ("/admin", 403),
    ]  # fmt: skip
    assert {record.source for record in audited} == {f"spiffe://{WEB}"}
    assert [record.kind for record in audited].count("connection") == 1
    denied = "rbac_access_denied_matched_policy[ns[shop]-policy[p4-deny]-rule[0]]"
    refused = [line async for line in lines(mesh, denied, 2)]
    assert sorted(line["refused"] for line in refused) == ["connection", "request"]
    assert all(line["details"] == denied for line in refused)
    counted = await mesh.envoy.stats("audit_.*shadow_denied")
    assert sum(counted.values()) >= 2, counted


LUA = """
function envoy_on_request(handle)
  local found = handle:streamInfo():dynamicMetadata()
  found:set("envoy.filters.http.lua", "tier", "gold")
  found:set("envoy.filters.http.lua", "roles", {"reader", "writer"})
end
"""
LUA_FILTER = {
    "name": "envoy.filters.http.lua",
    "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua",
        "default_source_code": {"inline_string": LUA},
    },
}


@pytest.mark.proves("security.Condition.key", "security.Condition.values", "security.Condition.notValues")
async def test_what_other_filters_find_out_can_be_asked_for() -> None:
    match = {"context": "SIDECAR_INBOUND", "listener": {"filterChain": {"filter": {"name": HCM}}}}
    patch = {
        "applyTo": "HTTP_FILTER", "match": match,
        "patch": {"operation": "INSERT_FIRST", "value": LUA_FILTER},
    }  # fmt: skip
    marking = {
        "apiVersion": "networking.istio.io/v1alpha3", "kind": "EnvoyFilter",
        "metadata": {"name": "tiers", "namespace": "shop"}, "spec": {"configPatches": [patch]},
    }  # fmt: skip
    cases = (
        ("tier", "values", "go*", 200), ("tier", "notValues", "gold", 403), ("tier", "values", "silver", 403),
        ("roles", "values", "[writer]", 200), ("roles", "values", "[admin]", 403),
        ("none", "values", "*", 403),
    )  # fmt: skip
    policies = [
        policy(
            index, "ALLOW", {"when": [{"key": f"experimental.{LUA_FILTER['name']}[{name}]", field: [value]}]}
        )
        for index, (name, field, value, _) in enumerate(cases)
    ]
    async with authorized(len(cases), policies, marking) as mesh:
        for index, case in enumerate(cases):
            assert await status(mesh, index, WEB) == case[-1], case
