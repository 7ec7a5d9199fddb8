"""What a Sidecar must fulfil."""

from typing import Any

import pytest

from marline.api.decode import admit
from marline.api.errors import InvalidResource


def faults(**spec: Any) -> list[str]:
    head = {"apiVersion": "networking.istio.io/v1", "kind": "Sidecar"}
    try:
        admit({**head, "metadata": {"name": "it", "namespace": "default"}, "spec": spec})
    except InvalidResource as error:
        return [item.path.removeprefix("spec.") for item in error.errors]
    return []


def ingress(**fields: Any) -> Any:
    return {"ingress": [{"port": {"number": 80, "protocol": "HTTP"}, **fields}]}


PLAIN_FILES = {"serverCertificate": "/c", "privateKey": "/k"}


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        (ingress(port={"number": 0, "protocol": "HTTP"}), "ingress[0].port.number"),
        (ingress(port={"number": 80}), "ingress[0].port.protocol"),
        (ingress(port={"number": 80, "protocol": "HTPP"}), "ingress[0].port.protocol"),
        (ingress(port={"number": 80, "protocol": "HTTP", "targetPort": 1}), "ingress[0].port.targetPort"),
        (ingress(bind="unix:///run/x"), "ingress[0].bind"),
        (ingress(captureMode="NONE"), "ingress[0].defaultEndpoint"),
        (ingress(defaultEndpoint="10.0.0.1:80"), "ingress[0].defaultEndpoint"),
        (ingress(defaultEndpoint="127.0.0.1:0"), "ingress[0].defaultEndpoint"),
        (ingress(defaultEndpoint="unix://relative"), "ingress[0].defaultEndpoint"),
        (ingress(tls={"mode": "SIMPLE", **PLAIN_FILES}), "ingress[0].tls"),
        (
            ingress(port={"number": 80, "protocol": "HTTPS"}, tls={"mode": "ISTIO_MUTUAL"}),
            "ingress[0].tls.mode",
        ),
        (
            ingress(port={"number": 80, "protocol": "HTTPS"}, tls={"mode": "SIMPLE", "credentialName": "a"}),
            "ingress[0].tls.credentialName",
        ),
        (ingress(connectionPool={"http": {"h2UpgradePolicy": "UPGRADE"}}),
         "ingress[0].connectionPool.http.h2UpgradePolicy"),
        ({"inboundConnectionPool": {"tcp": {"connectTimeout": "0s"}}},
         "inboundConnectionPool.tcp.connectTimeout"),
        ({"ingress": [*ingress()["ingress"], *ingress()["ingress"]]}, "ingress[1]"),
    ],
)  # fmt: skip
def test_a_listener_that_could_not_work_is_refused(spec: Any, path: str) -> None:
    assert faults(**spec) == [path]


HOSTS = {"hosts": ["./*"]}
HTTP = {"number": 80, "protocol": "HTTP"}
PROXY = {"host": "a.b.svc.cluster.local", "port": {"number": 1}}
UNIX = {**HOSTS, "bind": "unix:///a"}


def outbound(**policy: Any) -> Any:
    return {"outboundTrafficPolicy": policy}


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        ({"egress": [HOSTS, HOSTS]}, "egress[0]"),
        ({"egress": [HOSTS, {**HOSTS, "port": HTTP}]}, "egress[0]"),
        ({"egress": [{**HOSTS, "port": HTTP}, {**HOSTS, "port": HTTP}]}, "egress[1]"),
        ({"egress": [{**HOSTS, "bind": "127.0.0.1"}]}, "egress[0].bind"),
        ({"egress": [{**HOSTS, "captureMode": "NONE"}]}, "egress[0].captureMode"),
        ({"egress": [{**HOSTS, "port": {"protocol": "HTTP"}}]}, "egress[0].port.number"),
        ({"egress": [{**UNIX, "port": HTTP}]}, "egress[0].port.number"),
        ({"egress": [{**UNIX, "port": {"protocol": "TCP"}}]}, "egress[0].port.protocol"),
        ({"egress": [{**UNIX, "port": {"protocol": "HTTP"}, "bind": "unix://a"}]}, "egress[0].bind"),
        ({"egress": [{**HOSTS, "port": HTTP, "bind": "localhost"}]}, "egress[0].bind"),
        ({"egress": [{"port": HTTP, "hosts": []}]}, "egress[0].hosts"),
        ({"egress": [{"hosts": ["reviews"]}]}, "egress[0].hosts[0]"),
        (outbound(egressProxy=PROXY), "outboundTrafficPolicy.egressProxy"),
        (
            outbound(mode="ALLOW_ANY", egressProxy={"host": PROXY["host"]}),
            "outboundTrafficPolicy.egressProxy.port",
        ),
    ],
)
def test_an_egress_listener_that_could_not_work_is_refused(spec: Any, path: str) -> None:
    assert faults(**spec) == [path]


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"defaultEndpoint": "127.0.0.1:8080"},
        {"defaultEndpoint": "0.0.0.0:8080", "captureMode": "NONE", "bind": "10.0.0.1"},
        {"defaultEndpoint": "[::1]:8080"},
        {"defaultEndpoint": "unix:///run/app.sock"},
        {"defaultEndpoint": "unix://@app"},
        {"port": {"number": 443, "protocol": "https"}, "tls": {"mode": "SIMPLE", **PLAIN_FILES}},
        {"connectionPool": {"tcp": {"maxConnections": 1}}},
    ],
)
def test_listeners_of_every_form_are_accepted(fields: dict[str, Any]) -> None:
    assert faults(**ingress(**fields)) == []
