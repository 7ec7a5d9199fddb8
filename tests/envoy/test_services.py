"""What a Kubernetes Service says about how it is called."""

import pytest
from called_service import called, rule
from captured_client import captured_client
from routing_envoy import backend
from test_service_entries import asked, at, document

THREE: dict[str, dict[str, object]] = {"a": {}, "b": {}, "c": {}}
AFFINITY = "{sessionAffinity: ClientIP, sessionAffinityConfig: {clientIP: {timeoutSeconds: 60}}}"
PROBED = {"annotations": {"marline.io/readiness-probed": "true"}}


@pytest.mark.proves("core.ServiceSpec.sessionAffinity")
async def test_a_client_stays_with_one_endpoint_where_a_service_wants_that() -> None:
    async with called(THREE, service=AFFINITY) as mesh:
        assert len(await mesh.answers()) == 1


async def test_a_rule_that_balances_a_service_counts_before_its_affinity() -> None:
    async with called(THREE, rule("{loadBalancer: {simple: ROUND_ROBIN}}"), service=AFFINITY) as mesh:
        assert len(await mesh.answers()) == 3


async def test_a_rule_about_something_else_leaves_the_affinity() -> None:
    async with called(THREE, rule("{connectionPool: {tcp: {maxConnections: 9}}}"), service=AFFINITY) as mesh:
        assert len(await mesh.answers()) == 1


@pytest.mark.proves("core.ServiceSpec.publishNotReadyAddresses")
@pytest.mark.parametrize(("published", "answering"), [("true", {"ready", "not-yet"}), ("false", {"ready"})])
async def test_endpoints_that_are_not_ready_are_called_only_where_a_service_wants_that(
    published: str, answering: set[str]
) -> None:
    service = f"{{publishNotReadyAddresses: {published}}}"
    async with called({"ready": {}, "not-yet": PROBED}, service=service) as mesh:
        assert set(await mesh.answers(40)) == answering


@pytest.mark.proves("core.ServiceSpec.type", "core.ServiceSpec.selector", "core.ServiceSpec.ports")
@pytest.mark.parametrize("kind", ["ClusterIP", "NodePort", "LoadBalancer"])
async def test_a_service_of_any_type_is_called_inside_the_mesh(kind: str) -> None:
    backends = {"a": {}, "other": {"labels": {"app": "other"}}}
    async with called(backends, service=f"{{type: {kind}}}") as mesh:
        assert set(await mesh.answers(20)) == {"a"}


@pytest.mark.proves(
    "core.ServicePort.port",
    "core.ServicePort.name",
    "core.ServicePort.targetPort",
    "core.ServicePort.appProtocol",
)
@pytest.mark.parametrize(
    ("port", "ports"),
    [
        ("{name: http, port: 9080, targetPort: %d}", ()),
        ("{name: http, port: 9080, targetPort: web}", ("web",)),
        ("{name: odd, port: 9080, appProtocol: http}", ("odd",)),
    ],
)
async def test_a_port_leads_to_the_target_that_it_names(port: str, ports: tuple[str, ...]) -> None:
    async with backend("app") as app:
        named = dict.fromkeys(ports, app.port)
        described = port % app.port if "%" in port else port
        async with called({"a": {"ports": named}}, service=f"{{ports: [{described}]}}") as mesh:
            assert await mesh.get() == (200, "app")


@pytest.mark.proves(
    "core.ServiceSpec.clusterIP",
    "core.ServiceSpec.clusterIPs",
    "core.ServiceSpec.ipFamilies",
    "core.ServiceSpec.ipFamilyPolicy",
)
@pytest.mark.parametrize(
    "address",
    [
        "clusterIP: 10.96.0.7",
        "clusterIPs: [10.96.0.7], ipFamilies: [IPv4], ipFamilyPolicy: SingleStack",
        "clusterIP: 10.96.0.7, clusterIPs: [10.96.0.7], ipFamilyPolicy: PreferDualStack",
    ],
)
async def test_the_virtual_address_is_a_name_of_the_service(address: str) -> None:
    service = f"""
apiVersion: v1
kind: Service
metadata: {{name: web, namespace: default}}
spec: {{{address}, selector: {{app: web}}, ports: [{{name: http, port: 80}}]}}
"""
    async with backend("web") as app:
        entry = document("WorkloadEntry", "web", **at(app.port, labels={"app": "web"}))
        async with captured_client(f"{service}{entry}", "0.0.0.0_80") as (_, ports):
            assert await asked(ports["0.0.0.0_80"], "10.96.0.7") == (200, "web")
            assert await asked(ports["0.0.0.0_80"], "web.default") == (200, "web")
