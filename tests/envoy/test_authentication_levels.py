"""PeerAuthentication at every level against DestinationRules: what `marline authn` says is what happens."""

from typing import Any

import aiohttp
import pytest
import yaml
from routing_envoy import backend
from static_mesh import envoy_for, free_port, snapshot_of
from test_core_mtls import client_proxy, get, plain_text_is_refused, server_proxy

from marline.explain.authentication import links

MESH = """
apiVersion: v1
kind: Service
metadata: {{name: reviews, namespace: default}}
spec:
  clusterIP: 10.96.0.1
  selector: {{app: reviews}}
  ports: [{{name: http, port: 9080, targetPort: {app}}}]
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {{name: reviews-1, namespace: default}}
spec:
  address: 127.0.0.1
  ports: {{http: {listen}}}
  labels: {{app: reviews, security.istio.io/tlsMode: istio}}
  serviceAccount: reviews
---
"""
ROOT, OWN, WORKLOAD, PORT = "mesh", "default", "reviews", "port"


def peer_authentication(level: str, mode: str, app_port: int) -> dict[str, Any]:
    spec: dict[str, Any] = {"mtls": {"mode": mode}}
    if level in (WORKLOAD, PORT):
        spec["selector"] = {"matchLabels": {"app": "reviews"}}
    if level == PORT:
        spec = {"selector": spec["selector"], "portLevelMtls": {app_port: {"mode": mode}}}
    return {
        "apiVersion": "security.istio.io/v1",
        "kind": "PeerAuthentication",
        "metadata": {"name": level, "namespace": "istio-system" if level == ROOT else "default"},
        "spec": spec,
    }


def destination_rule(mode: str) -> dict[str, Any]:
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "DestinationRule",
        "metadata": {"name": "reviews", "namespace": "default"},
        "spec": {"host": "reviews", "trafficPolicy": {"tls": {"mode": mode}}},
    }


@pytest.mark.proves("security.MutualTLS.mode")
@pytest.mark.parametrize(
    ("policies", "rule", "mode", "decided_by", "sent", "accepted"),
    [
        ([(ROOT, "PERMISSIVE")], "", "PERMISSIVE", ROOT, "mtls", True),
        ([(ROOT, "DISABLE"), (OWN, "UNSET")], "", "DISABLE", ROOT, "plain", True),
        ([(ROOT, "DISABLE"), (OWN, "STRICT")], "DISABLE", "STRICT", OWN, "plain", False),
        ([(OWN, "DISABLE"), (WORKLOAD, "STRICT")], "", "STRICT", WORKLOAD, "mtls", True),
        ([(OWN, "DISABLE"), (WORKLOAD, "PERMISSIVE")], "DISABLE", "PERMISSIVE", WORKLOAD, "plain", True),
        ([(OWN, "STRICT"), (PORT, "DISABLE")], "", "DISABLE", PORT, "plain", True),
        ([(OWN, "STRICT"), (PORT, "DISABLE")], "ISTIO_MUTUAL", "DISABLE", PORT, "mtls", False),
        ([(OWN, "PERMISSIVE"), (PORT, "UNSET")], "DISABLE", "PERMISSIVE", OWN, "plain", True),
    ],
)
async def test_the_narrowest_level_counts_at_both_ends(
    policies: list[tuple[str, str]], rule: str, mode: str, decided_by: str, sent: str, accepted: bool
) -> None:
    listen, outbound = free_port(), free_port()
    async with backend("reviews") as app:
        rules = [peer_authentication(level, each, app.port) for level, each in policies]
        rules += [destination_rule(rule)] if rule else []
        text = MESH.format(listen=listen, app=app.port) + yaml.dump_all(rules)
        snapshot = snapshot_of(text)
        client, server = client_proxy(outbound), server_proxy("http", listen, app.port)
        (found,) = links(snapshot, (client, server), (client,))
        decided = found.mode_by.name if found.mode_by else ""
        assert (found.mode, decided, found.sent) == (mode, decided_by, sent)
        assert found.accepted is accepted, found.text
        assert (found.sent_by is not None) is bool(rule)

        async with envoy_for(snapshot, server), envoy_for(snapshot, client):
            status, body = await get(f"http://127.0.0.1:{outbound}")
            assert (status == 200) is found.accepted
            if accepted:
                headers = body["headers"]
                assert isinstance(headers, dict)
                assert ("x-forwarded-client-cert" in headers) is (sent == "mtls")
            refused = await plain_text_is_refused(f"http://127.0.0.1:{listen}")
            assert refused is (mode == "STRICT")


async def test_with_mtls_turned_off_nobody_answers_a_handshake() -> None:
    listen = free_port()
    async with backend("reviews") as app:
        rules = yaml.dump(peer_authentication(ROOT, "DISABLE", app.port))
        snapshot = snapshot_of(MESH.format(listen=listen, app=app.port) + rules)
        server = server_proxy("http", listen, app.port)
        async with envoy_for(snapshot, server), aiohttp.ClientSession() as session:
            with pytest.raises(aiohttp.ClientError):
                await session.get(f"https://127.0.0.1:{listen}", ssl=False)
