"""Real Envoys secure connections to backends as BackendTLSPolicies say, and know clients as Gateways say."""

import ssl
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from api_gateway import Edge, config_map, document, edge, gateway, route, secret, service, trusting
from routing_envoy import backend
from tls_servers import HttpsServer, WebAuthority, https_server

HTTP = "- {name: http, port: 80, protocol: HTTP}"
TO_APP = "{rules: [{backendRefs: [{name: app, port: 80}]}]}"


def policy(name: str = "app", *, target: dict[str, str] | None = None, **validation: Any) -> str:
    """For the Service `app`, with the CA in the ConfigMap `ca` unless it says otherwise."""
    if "wellKnownCACertificates" not in validation:
        validation.setdefault("caCertificateRefs", [{"group": "", "kind": "ConfigMap", "name": "ca"}])
    validation.setdefault("hostname", "app.internal")
    reference = {"group": "", "kind": "Service", "name": "app", **(target or {})}
    spec = {"targetRefs": [reference], "validation": validation}
    return document("BackendTLSPolicy", name, spec)


async def status_of(text: str) -> tuple[int, dict[str, tuple[str, str]]]:
    """The status of a request to `app`, and what the policy of its name is told."""
    async with edge(text, 80) as running:
        return (await running.send(80, "app.org")).status, ancestor(running, "app")


def aged(text: str, month: int) -> str:
    return text.replace("metadata:", f"metadata:\n  creationTimestamp: '2026-0{month}-01T00:00:00Z'")


def ancestor(running: Edge, name: str) -> dict[str, tuple[str, str]]:
    status = next(
        status for ref, status in running.told() if (ref.kind, ref.name) == ("BackendTLSPolicy", name)
    )
    (found,) = status["ancestors"]
    assert found["ancestorRef"] == {
        "group": "gateway.networking.k8s.io", "kind": "Gateway", "namespace": "default", "name": "edge",
    }  # fmt: skip
    return {item["type"]: (item["status"], item["reason"]) for item in found["conditions"]}


async def secure_app(
    stack: AsyncExitStack, directory: Path, authority: WebAuthority, clients: WebAuthority | None = None
) -> tuple[str, HttpsServer]:
    """A Service whose server speaks TLS, with a route there."""
    issued = authority.issue("app.internal", "other.internal")
    server = await stack.enter_async_context(https_server(directory, issued, clients))
    text = service("app", server.port) + gateway(HTTP) + route("HTTPRoute", "app", TO_APP)
    return text + config_map("ca", authority.certificate), server


@pytest.mark.proves(
    "gateway_api.BackendTLSPolicySpec.targetRefs",
    "gateway_api.BackendTLSPolicySpec.validation",
    "gateway_api.BackendTLSPolicyValidation.hostname",
    "gateway_api.BackendTLSPolicyValidation.caCertificateRefs",
    "gateway_api.BackendTLSPolicyValidation.subjectAltNames",
    "gateway_api.BackendTLSPolicyValidation.wellKnownCACertificates",
    "gateway_api.SubjectAltName.hostname",
    "gateway_api.SubjectAltName.type",
)
async def test_a_backend_is_called_with_tls_and_must_be_who_the_policy_says(tmp_path: Path) -> None:
    good = {"Accepted": ("True", "Accepted"), "ResolvedRefs": ("True", "ResolvedRefs")}
    async with AsyncExitStack() as stack:
        text, server = await secure_app(stack, tmp_path, WebAuthority())
        assert await status_of(text + policy()) == (200, good)
        assert server.asked_for == ["app.internal"]
        assert (await status_of(text + policy(hostname="stranger.internal")))[0] == 503
        names = [{"type": "Hostname", "hostname": "other.internal"}]
        assert await status_of(text + policy(hostname="sni.internal", subjectAltNames=names)) == (200, good)
        assert server.asked_for[-1] == "sni.internal"
        names = [{"type": "URI", "uri": "spiffe://cluster.local/ns/a/sa/b"}]
        assert (await status_of(text + policy(subjectAltNames=names)))[0] == 503
        assert await status_of(text + policy(wellKnownCACertificates="System")) == (503, good)
        other = text.replace("name: ca", "name: unused") + config_map("ca", WebAuthority().certificate)
        assert (await status_of(other + policy()))[0] == 503


@pytest.mark.proves(
    "gateway_api.BackendTLSPolicySpec.targetRefs",
    "gateway_api.PolicyTargetReference.sectionName",
    "gateway_api.PolicyTargetReference.name",
    "gateway_api.BackendTLSPolicySpec.options",
    "gateway_api.LocalObjectReference.group",
    "gateway_api.LocalObjectReference.kind",
    "gateway_api.LocalObjectReference.name",
)
async def test_what_is_wrong_with_a_policy_lets_connections_fail_and_is_told(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        text, _ = await secure_app(stack, tmp_path, WebAuthority())
        absent = [{"group": "", "kind": "ConfigMap", "name": "absent"}]
        kind = [{"group": "", "kind": "Secret", "name": "ca"}]
        group = [{"group": "example.com", "kind": "ConfigMap", "name": "ca"}]
        for references, reason in (
            (absent, "InvalidCACertificateRef"), (kind, "InvalidKind"), (group, "InvalidKind"),
        ):  # fmt: skip
            assert await status_of(text + policy(caCertificateRefs=references)) == (503, {
                "Accepted": ("False", "NoValidCACertificate"), "ResolvedRefs": ("False", reason),
            })  # fmt: skip
        status, told = await status_of(text + policy(wellKnownCACertificates="example.com/mine"))
        assert (status, told["Accepted"]) == (503, ("False", "Invalid"))
        with_option = policy().replace("  validation:", "  options: {a.b/c: d}\n  validation:")
        assert (await status_of(text + with_option))[0] == 503
        # One for a port counts before one for the Service; of two for the same the older.
        section = {"sectionName": "http"}
        young = policy("younger", target=section).replace(
            "metadata:", "metadata:\n  creationTimestamp: '2026-02-01T00:00:00Z'"
        )
        old = policy(target=section).replace(
            "metadata:", "metadata:\n  creationTimestamp: '2026-01-01T00:00:00Z'"
        )
        wide = policy("wide", hostname="stranger.internal")
        async with edge(text + young + old + wide, 80) as running:
            assert (await running.send(80, "app.org")).status == 200
            assert ancestor(running, "app")["Accepted"] == ("True", "Accepted")
            assert ancestor(running, "younger")["Accepted"] == ("False", "Conflicted")
        status, told = await status_of(text + policy(target={"sectionName": "absent"}))
        assert told["Accepted"] == ("False", "TargetNotFound")


@pytest.mark.proves(
    "gateway_api.GatewaySpec.tls",
    "gateway_api.GatewayTLSConfig.backend",
    "gateway_api.GatewayBackendTLS.clientCertificateRef",
)
async def test_a_gateway_shows_backends_its_certificate(tmp_path: Path) -> None:
    clients = WebAuthority()
    async with AsyncExitStack() as stack:
        text, server = await secure_app(stack, tmp_path, WebAuthority(), clients)
        text += policy()
        assert (await status_of(text))[0] == 503
        issued = clients.issue("edge.client")
        shown = {"backend": {"clientCertificateRef": {"name": "mine"}}}
        text = text.replace(gateway(HTTP), gateway(HTTP, tls=shown))
        async with edge(text, 80) as running:
            assert (await running.send(80, "app.org")).status == 503
            assert running.conditions("Gateway", "edge")["ResolvedRefs"] == (
                "False",
                "InvalidClientCertificateRef",
            )
        async with edge(text + secret("mine", issued.certificate, issued.key), 80) as running:
            assert (await running.send(80, "app.org")).status == 200
            assert running.conditions("Gateway", "edge")["ResolvedRefs"] == ("True", "ResolvedRefs")
        assert server.clients[-1] == "edge.client"


@pytest.mark.proves(
    "gateway_api.GatewayTLSConfig.frontend",
    "gateway_api.FrontendTLSConfig.default",
    "gateway_api.FrontendTLSConfig.perPort",
    "gateway_api.TLSPortConfig.port",
    "gateway_api.TLSPortConfig.tls",
    "gateway_api.TLSConfig.validation",
    "gateway_api.FrontendTLSValidation.caCertificateRefs",
    "gateway_api.FrontendTLSValidation.mode",
)
async def test_clients_are_verified_as_a_gateway_says(tmp_path: Path) -> None:
    servers, clients = WebAuthority(), WebAuthority()
    tls = "tls: {certificateRefs: [{name: cert}]}"
    listeners = "\n".join(
        f"- {{name: p{port}, port: {port}, protocol: HTTPS, {tls}}}" for port in (443, 444, 445, 446)
    )

    def validation(name: str, **more: str) -> dict[str, Any]:
        return {
            "validation": {"caCertificateRefs": [{"group": "", "kind": "ConfigMap", "name": name}], **more}
        }

    frontend = {
        "default": validation("ca"),
        "perPort": [
            {"port": 444, "tls": validation("ca", mode="AllowInsecureFallback")},
            {"port": 445, "tls": {}},
            {"port": 446, "tls": validation("absent")},
        ],
    }
    async with AsyncExitStack() as stack:
        app = await stack.enter_async_context(backend("app"))
        issued = servers.issue("edge.org")
        text = service("app", app.port) + gateway(listeners, tls={"frontend": frontend})
        text += route("HTTPRoute", "app", TO_APP) + config_map("ca", clients.certificate)
        text += secret("cert", issued.certificate, issued.key)
        known = trusting(servers.certificate, identity=written(tmp_path, "known", clients))
        stranger = trusting(servers.certificate, identity=written(tmp_path, "stranger", WebAuthority()))
        nobody = trusting(servers.certificate)
        running = await stack.enter_async_context(edge(text, 443, 444, 445, 446))

        async def answered(port: int, context: ssl.SSLContext) -> bool:
            try:
                return (await running.send_tls(port, "edge.org", context)).status == 200
            except (aiohttp.ClientError, ConnectionError):
                return False

        served = {
            port: [await answered(port, context) for context in (known, stranger, nobody)]
            for port in (443, 444, 445, 446)
        }
        assert served == {
            443: [True, False, False],
            444: [True, True, True],
            445: [True, True, True],
            446: [False, False, False],
        }
        told = running.conditions("Gateway", "edge")
        assert told["InsecureFrontendValidationMode"] == ("True", "ConfigurationChanged")
        status = next(status for ref, status in running.told() if ref.kind == "Gateway")
        broken = {item["type"]: item["reason"] for item in status["listeners"][3]["conditions"]}
        assert (broken["Accepted"], broken["ResolvedRefs"]) == (
            "NoValidCACertificate",
            "InvalidCACertificateRef",
        )


def written(directory: Path, name: str, authority: WebAuthority) -> tuple[str, str]:
    certificate, key = authority.issue(f"{name}.client").write(directory, name)
    return str(certificate), str(key)
