"""AuthorizationPolicies that are attached to Gateways of the Gateway API."""

from typing import Any

import pytest
from api_gateway import Edge, document, edge, gateway, route, service
from routing_envoy import backend

LISTENERS = """
- {name: one, port: 80, protocol: HTTP}
- {name: two, port: 81, protocol: HTTP}
"""
TARGET = {"group": "gateway.networking.k8s.io", "kind": "Gateway"}


def deny(name: str, operation: dict[str, Any], namespace: str = "default", **where: Any) -> str:
    spec = {"action": "DENY", "rules": [{"to": [{"operation": operation}]}], **where}
    return document("AuthorizationPolicy", name, spec, namespace, "security.istio.io")


POLICIES = (
    deny("refs", {"paths": ["/refs"]}, targetRefs=[{**TARGET, "name": "edge"}]),
    deny("ref", {"paths": ["/ref"]}, targetRef={**TARGET, "name": "edge"}),
    deny("other", {"paths": ["/other"]}, targetRefs=[{**TARGET, "name": "other"}]),
    deny("elsewhere", {"paths": ["/elsewhere"]}, "shop", targetRefs=[{**TARGET, "name": "edge"}]),
    deny("labels", {"paths": ["/labels"]}, "istio-system",
         selector={"matchLabels": {"istio": "ingressgateway"}}),
    deny("port", {"paths": ["/port"], "ports": ["81"]}, targetRefs=[{**TARGET, "name": "edge"}]),
)  # fmt: skip


@pytest.mark.proves(
    "security.AuthorizationPolicySpec.targetRef",
    "security.AuthorizationPolicySpec.targetRefs",
    "security.AuthorizationPolicySpec.selector",
    "security.Operation.ports",
)
async def test_a_policy_is_for_the_gateways_that_it_is_attached_to() -> None:
    async with backend("app") as app:
        text = service("app", app.port) + gateway(LISTENERS) + "".join(POLICIES)
        text += route("HTTPRoute", "app", "{rules: [{backendRefs: [{name: app, port: 80}]}]}")
        async with edge(text, 80, 81) as running:
            assert await refused(running, 80) == {"/refs", "/ref", "/labels"}
            assert await refused(running, 81) == {"/refs", "/ref", "/labels", "/port"}


async def refused(running: Edge, port: int) -> set[str]:
    found: set[str] = set()
    for path in ("/", "/refs", "/ref", "/other", "/elsewhere", "/labels", "/port"):
        reply = await running.send(port, "shop.example.com", path)
        assert reply.status in (200, 403), (path, reply)
        if reply.status == 403:
            assert reply.text == "RBAC: access denied"
            found.add(path)
    return found
