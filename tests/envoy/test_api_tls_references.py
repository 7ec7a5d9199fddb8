"""Real Envoys trust whom policies and Gateways refer to, in the places where they may."""

import ssl
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest
import yaml
from api_gateway import GROUP, config_map, document, edge, gateway, route, secret, service, trusting
from routing_envoy import backend
from test_api_tls_policies import HTTP, TO_APP, policy, written
from tls_servers import WebAuthority, https_server

WORKLOAD = "spiffe://example.org/ns/team/sa/app"


@pytest.mark.proves(
    "gateway_api.SubjectAltName.uri",
    "gateway_api.SubjectAltName.type",
    "gateway_api.PolicyTargetReference.group",
    "gateway_api.PolicyTargetReference.kind",
)
async def test_a_backend_may_be_known_by_a_uri_and_is_a_service(tmp_path: Path) -> None:
    authority = WebAuthority()
    named = {"subjectAltNames": [{"type": "URI", "uri": WORKLOAD}]}
    policies = {
        "known": policy(target={"name": "known"}, **named),
        "other": policy(target={"name": "other"}, subjectAltNames=[{"type": "URI", "uri": f"{WORKLOAD}2"}]),
        "kind": policy(target={"name": "kind", "kind": "ServiceEntry"}, **named),
        "group": policy(target={"name": "group", "group": "example.com"}, **named),
    }
    async with AsyncExitStack() as stack:
        issued = authority.issue("app.internal", uri=WORKLOAD)
        server = await stack.enter_async_context(https_server(tmp_path, issued))
        text = gateway(HTTP) + config_map("ca", authority.certificate)
        for name, secured in policies.items():
            rules = f"rules: [{{backendRefs: [{{name: {name}, port: 80}}]}}]"
            text += service(name, server.port) + secured.replace("name: app\n", f"name: {name}\n", 1)
            text += route("HTTPRoute", name, f"{{hostnames: [{name}.org], {rules}}}")
        running = await stack.enter_async_context(edge(text, 80))
        replies = {name: (await running.send(80, f"{name}.org")).status for name in policies}
        # Without a policy that is about it, the server is called in plain text, which it does not speak.
        assert replies == {"known": 200, "other": 503, "kind": 503, "group": 503}
        assert set(server.asked_for) == {"app.internal"}
        found = {ref.name: status for ref, status in running.told() if ref.kind == "BackendTLSPolicy"}
        told = {name: status["ancestors"][0]["conditions"][0]["reason"] for name, status in found.items()}
        assert told == {
            "known": "Accepted", "other": "Accepted", "kind": "TargetNotFound", "group": "TargetNotFound",
        }  # fmt: skip


@pytest.mark.proves(
    "gateway_api.ObjectReference.group",
    "gateway_api.ObjectReference.kind",
    "gateway_api.ObjectReference.name",
    "gateway_api.ObjectReference.namespace",
)
async def test_clients_are_vouched_for_by_the_ca_that_a_gateway_refers_to(tmp_path: Path) -> None:
    references = {
        443: ({"name": "ca"}, "ResolvedRefs"),
        444: ({"name": "strangers"}, "ResolvedRefs"),
        445: ({"name": "ca", "namespace": "granted"}, "ResolvedRefs"),
        446: ({"name": "ca", "namespace": "closed"}, "RefNotPermitted"),
        447: ({"name": "ca", "kind": "Secret"}, "InvalidCACertificateKind"),
        448: ({"name": "ca", "group": "example.com"}, "InvalidCACertificateKind"),
    }
    tls = {"certificateRefs": [{"name": "cert"}]}
    listeners = [{"name": f"p{port}", "port": port, "protocol": "HTTPS", "tls": tls} for port in references]
    per_port = [
        {"port": port, "tls": {"validation": {"caCertificateRefs": [_config_map(**reference)]}}}
        for port, (reference, _) in references.items()
    ]
    grant = {
        "from": [{"group": GROUP, "kind": "Gateway", "namespace": "default"}],
        "to": [{"group": "", "kind": "ConfigMap"}],
    }
    servers, clients = WebAuthority(), WebAuthority()
    async with AsyncExitStack() as stack:
        app = await stack.enter_async_context(backend("app"))
        issued = servers.issue("edge.org")
        text = service("app", app.port) + route("HTTPRoute", "app", TO_APP)
        frontend = {"default": {}, "perPort": per_port}
        text += gateway(yaml.safe_dump(listeners), tls={"frontend": frontend})
        text += secret("cert", issued.certificate, issued.key) + document(
            "ReferenceGrant", "g", grant, "granted"
        )
        text += config_map("strangers", WebAuthority().certificate)
        for namespace in ("default", "granted", "closed"):
            text += config_map("ca", clients.certificate, namespace)
        known = trusting(servers.certificate, identity=written(tmp_path, "known", clients))
        running = await stack.enter_async_context(edge(text, *references))

        async def answered(port: int, context: ssl.SSLContext) -> bool:
            try:
                return (await running.send_tls(port, "edge.org", context)).status == 200
            except (aiohttp.ClientError, ConnectionError):
                return False

        served = [port for port in references if await answered(port, known)]
        assert served == [443, 445]
        status = next(status for ref, status in running.told() if ref.kind == "Gateway")
        reasons = [
            {told["type"]: told["reason"] for told in item["conditions"]}["ResolvedRefs"]
            for item in status["listeners"]
        ]
        assert reasons == [reason for _, reason in references.values()]


def _config_map(**reference: str) -> dict[str, str]:
    return {"group": "", "kind": "ConfigMap", **reference}
