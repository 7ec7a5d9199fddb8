"""What Istio's Gateways are told: who serves them, what they lost to others, what they miss."""

from typing import Any

import yaml
from routing_mesh import ingress, mesh

from marline.api.resource import Ref
from marline.compile.gateway_status import istio_statuses
from marline.mesh.model import Proxy

NOW = "2026-02-01T00:00:00Z"


def gateway(name: str, *servers: str, selector: str = "{istio: ingressgateway}") -> str:
    listed = "".join(f"  - {server}\n" for server in servers)
    return f"""
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: {name}}}
spec:
  selector: {selector}
  servers:
{listed}"""


def server(port: int, name: str, protocol: str, host: str = "'*'", tls: str = "") -> str:
    more = f", tls: {{{tls}}}" if tls else ""
    return f"{{port: {{number: {port}, name: {name}, protocol: {protocol}}}, hosts: [{host}]{more}}}"


def told(text: str, *proxies: Proxy, rejected: str = "") -> dict[str, dict[str, dict[str, Any]]]:
    """By the Gateway's name: its conditions by their types."""
    snapshot = mesh(text)
    found = istio_statuses(snapshot, NOW, proxies, lambda ref: rejected if ref.name == "bad" else "")
    return {ref.name: {item["type"]: item for item in status["conditions"]} for ref, status in found}


def reasons(conditions: dict[str, dict[str, Any]]) -> dict[str, tuple[str, str]]:
    return {kind: (item["status"], item["reason"]) for kind, item in conditions.items()}


def test_a_gateway_that_is_served_is_told_by_whom() -> None:
    found = told(gateway("one", server(80, "http", "HTTP")), ingress())["one"]
    assert reasons(found) == {
        "Accepted": ("True", "Accepted"),
        "Conflicted": ("False", "NoConflicts"),
        "ResolvedRefs": ("True", "ResolvedRefs"),
        "Programmed": ("True", "Programmed"),
    }
    assert found["Accepted"]["message"] == "served by ingress"


def test_a_gateway_that_selects_nobody_is_told_so() -> None:
    text = gateway("one", server(80, "http", "HTTP"), selector="{istio: egress, zone: a}")
    found = told(text, ingress())["one"]["Accepted"]
    assert (found["status"], found["reason"]) == ("False", "NoMatchingProxy")
    assert "istio=egress, zone=a" in found["message"]


def test_the_younger_of_two_gateways_is_told_what_it_lost() -> None:
    passing = "mode: PASSTHROUGH"
    text = gateway(
        "old",
        server(443, "a", "HTTPS", "a.example, b.example", "mode: ISTIO_MUTUAL"),
        server(80, "http", "HTTP"),
    ) + gateway(
        "young",
        server(443, "b", "HTTPS", "b.example, c.example", "mode: ISTIO_MUTUAL"),
        server(80, "tcp", "TCP"),
        server(9443, "tls", "TLS", tls=passing),
    )
    found = told(text, ingress())
    assert reasons(found["old"])["Conflicted"] == ("False", "NoConflicts")
    lost = found["young"]["Conflicted"]
    assert lost["status"] == "True"
    assert "port 443: b.example belongs to Gateway default/old (server 'a')" in lost["message"]
    assert "port 80 is HTTP of Gateway default/old (server 'http')" in lost["message"]


def test_servers_at_addresses_of_their_own_do_not_conflict() -> None:
    own = server(80, "tcp", "TCP").removesuffix("}") + ", bind: 127.0.0.2}"
    text = gateway("old", server(80, "http", "HTTP")) + gateway("young", own)
    assert reasons(told(text, ingress())["young"])["Conflicted"] == ("False", "NoConflicts")


def test_a_gateway_is_told_which_credential_is_of_no_use_and_why() -> None:
    tls = "mode: MUTUAL, credentialName: shop, caCertCredentialName: clients"
    found = told(gateway("one", server(443, "shop", "HTTPS", "a.example", tls)), ingress())["one"][
        "ResolvedRefs"
    ]
    assert (found["status"], found["reason"]) == ("False", "InvalidCertificateRef")
    assert "there is no Secret 'shop' in namespace istio-system or default" in found["message"]
    assert "'clients'" in found["message"]


def test_what_a_proxy_rejects_is_told_to_its_gateway() -> None:
    found = told(gateway("bad", server(80, "http", "HTTP")), ingress(), rejected="it says no")
    assert (found["bad"]["Programmed"]["status"], found["bad"]["Programmed"]["message"]) == (
        "False",
        "it says no",
    )


def test_who_knows_all_of_it_already_is_told_nothing() -> None:
    text = gateway("one", server(80, "http", "HTTP"))
    ((ref, status),) = istio_statuses(mesh(text), NOW, (ingress(),))
    assert ref == Ref("networking.istio.io", "Gateway", "default", "one")

    (document,) = (item for item in yaml.safe_load_all(text) if item)
    told_already = yaml.safe_dump({**document, "status": status})
    assert istio_statuses(mesh(told_already), "2027-01-01T00:00:00Z", (ingress(),)) == ()
