"""What a MeshConfig says of the whole mesh shows in proxies that have nothing said to them."""

import asyncio
import socket

import called_service
import pytest
import yaml
from captured_client import captured_client
from dns_server import dns_server
from mesh_client import called
from policy_mesh import gateway, protected_service
from routing_envoy import backend
from test_service_entries import WEB, asked, entry
from yarl import URL

from marline.api.decode import admit

MESH_CONFIG = """
---
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: '%s'}
"""


@pytest.mark.proves("mesh_config.MeshConfig.outboundTrafficPolicy", "mesh_config.OutboundTrafficPolicy.mode")
@pytest.mark.parametrize(("mode", "status"), [("REGISTRY_ONLY", 502), ("ALLOW_ANY", 200)])
async def test_what_the_mesh_does_not_know_is_refused_or_let_through(mode: str, status: int) -> None:
    async with called(MESH_CONFIG % f"outboundTrafficPolicy: {{mode: {mode}}}", "app") as mesh:
        assert (await mesh.send("app")).status == 200
        assert (await mesh.proxied(f"http://127.0.0.1:{mesh.backends['app'].port}/")).status == status


@pytest.mark.proves("mesh_config.MeshConfig.defaultHttpRetryPolicy")
@pytest.mark.parametrize(("attempts", "status"), [(2, 200), (1, 500)])
async def test_requests_are_repeated_as_the_mesh_says(attempts: int, status: int) -> None:
    said = f'defaultHttpRetryPolicy: {{attempts: {attempts}, retryOn: "500"}}'
    async with called(MESH_CONFIG % said, "app") as mesh:
        mesh.backends["app"].failures, mesh.backends["app"].failure = 2, 500
        assert (await mesh.send("app")).status == status


@pytest.mark.proves("mesh_config.MeshConfig.connectTimeout")
async def test_whoever_does_not_accept_in_time_is_given_up_after_the_time_that_the_mesh_says() -> None:
    with socket.socket() as deaf, socket.socket() as first, socket.socket() as second:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        for filler in (first, second):
            filler.setblocking(False)
            filler.connect_ex(deaf.getsockname())
        backends = {"a": {"ports": {"http": deaf.getsockname()[1]}}}
        async with called_service.called(backends, MESH_CONFIG % "connectTimeout: 0.2s") as mesh:
            assert (await mesh.get())[0] == 503
            assert await mesh.stat("upstream_cx_connect_timeout") >= 1


@pytest.mark.proves("mesh_config.MeshConfig.dnsRefreshRate")
async def test_names_are_asked_for_again_as_often_as_the_mesh_says() -> None:
    names: dict[str, tuple[str, ...]] = {}
    async with backend("web") as made, dns_server(names) as resolver:
        documents = entry(port={"targetPort": made.port}, resolution="DNS")
        documents += MESH_CONFIG % "dnsRefreshRate: 0.1s"
        async with captured_client(documents, "0.0.0.0_80", typed_dns_resolver_config=resolver) as (_, ports):
            assert (await asked(ports["0.0.0.0_80"], WEB))[0] == 503
            names[WEB] = ("127.0.0.1",)
            async with asyncio.timeout(20):
                while (await asked(ports["0.0.0.0_80"], WEB))[0] != 200:
                    pass


@pytest.mark.proves(
    "mesh_config.MeshConfig.pathNormalization", "mesh_config.ProxyPathNormalization.normalization"
)
@pytest.mark.parametrize(
    ("mode", "seen"),
    [
        ("NONE", ["/a/../b", "/a//b", "/a%2Fb"]),
        ("BASE", ["/b", "/a//b", "/a%2Fb"]),
        ("MERGE_SLASHES", ["/b", "/a/b", "/a%2Fb"]),
        ("DECODE_AND_MERGE_SLASHES", ["/b", "/a/b", "/a/b"]),
    ],
)
async def test_paths_are_made_normal_before_anything_looks_at_them(mode: str, seen: list[str]) -> None:
    """What policies at the server's proxy match is what the application gets."""
    config = MESH_CONFIG % f"pathNormalization: {{normalization: {mode}}}"
    async with protected_service(config) as service, gateway(config) as (edge, ports):
        for caller, base in ((service, service.base), (edge, ports.classic)):
            for path in ("/a/../b", "/a//b", "/a%2Fb"):
                async with caller.session.get(URL(base + path, encoded=True)) as response:
                    assert response.status == 200
            assert [request.raw_path for request in caller.app.seen] == seen


BY_OLD_NAME = """
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: callers, namespace: default}
spec: {action: ALLOW, rules: [{from: [{source: {principals: [old.example/ns/default/sa/productpage]}}]}]}
"""


@pytest.mark.proves("mesh_config.MeshConfig.trustDomainAliases")
@pytest.mark.parametrize(("alias", "status"), [("old.example", 200), ("other.example", 403)])
async def test_policies_mean_callers_by_other_names_of_the_trust_domain(alias: str, status: int) -> None:
    config = MESH_CONFIG % f"trustDomainAliases: [{alias}]"
    async with (
        protected_service(BY_OLD_NAME, config) as service,
        service.session.get(service.base) as response,
    ):
        assert response.status == status


SO_ANYWAY = """
accessLogEncoding: TEXT
defaultConfig: {discoveryAddress: istiod.istio-system.svc:15012}
defaultDestinationRuleExportTo: ["*"]
defaultProviders: {metrics: [prometheus]}
defaultServiceExportTo: ["*"]
defaultVirtualServiceExportTo: ["*"]
disableEnvoyListenerLog: true
enableAutoMtls: true
enablePrometheusMerge: false
extensionProviders: [{name: prometheus, prometheus: {}}]
h2UpgradePolicy: DO_NOT_UPGRADE
inboundTrafficPolicy: {mode: PASSTHROUGH}
ingressControllerMode: "OFF"
localityLbSetting: {enabled: true}
rootNamespace: istio-system
trustDomain: cluster.local
"""


@pytest.mark.proves(
    "mesh_config.DefaultProviders.metrics",
    "mesh_config.ExtensionProvider.prometheus",
    "mesh_config.MeshConfig.defaultConfig",
    "mesh_config.MeshConfig.enablePrometheusMerge",
    "mesh_config.MeshConfig.ingressControllerMode",
    "mesh_config.MeshConfig.localityLbSetting",
)
async def test_what_holds_anyway_may_be_said() -> None:
    """As the files of Istio's installations do."""
    said = yaml.safe_dump(
        {
            "apiVersion": "v1", "kind": "ConfigMap", "data": {"mesh": SO_ANYWAY},
            "metadata": {"name": "istio", "namespace": "istio-system"},
        }
    )  # fmt: skip
    admit(yaml.safe_load(said))
    async with protected_service("---\n" + said) as service:
        async with service.session.get(service.base) as response:
            assert response.status == 200
        assert "x-forwarded-client-cert" in service.app.seen[0].headers
        metrics = await service.proxies["server"].admin("/stats/prometheus?filter=requests_total")
        assert "requests_total{" in metrics
