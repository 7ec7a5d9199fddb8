"""Istio's rules for its kinds beyond the shape of their models, and fields that would have no effect."""

from typing import Any

import pytest

from marline.api.decode import admit, warnings
from marline.api.errors import InvalidResource

A = {"destination": {"host": "a"}}
ROUTE = {"route": [A]}
POLICY = "trafficPolicy."


def faults(kind: str, spec: dict[str, Any], group: str = "networking.istio.io") -> list[str]:
    api_version = f"{group}/v1" if group else "v1"
    obj = {"apiVersion": api_version, "kind": kind, "metadata": {"name": "a", "namespace": "b"}, "spec": spec}
    try:
        admit(obj)
    except InvalidResource as error:
        return [fault.path.removeprefix("spec.") for fault in error.errors]
    return []


def rule(**fields: Any) -> list[str]:
    found = faults("VirtualService", {"hosts": ["a"], "http": [fields]})
    return [path.removeprefix("http[0]").lstrip(".") for path in found]


def policy(**fields: Any) -> list[str]:
    found = faults("DestinationRule", {"host": "a", "trafficPolicy": fields})
    return [path.removeprefix(POLICY) for path in found]


PLAIN = {"port": {"number": 80, "name": "http", "protocol": "HTTP"}}


def server(**fields: Any) -> list[str]:
    made = {"port": {"number": 443, "name": "https", "protocol": "HTTPS"}, "hosts": ["*"], **fields}
    found = faults("Gateway", {"servers": [made]})
    return [path.removeprefix("servers[0].") for path in found]


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({}, ""),
        ({**ROUTE, "redirect": {"uri": "/"}}, ""),
        ({"redirect": {}}, "redirect"),
        ({"redirect": {"redirectCode": 300}}, "redirect.redirectCode"),
        ({"redirect": {"port": 1, "derivePort": "FROM_REQUEST_PORT"}}, "redirect.derivePort"),
        ({"redirect": {"uri": "/"}, "timeout": "1s"}, "timeout"),
        ({"directResponse": {"status": 200}, "retries": {"attempts": 1}}, "retries"),
        ({"directResponse": {"status": 200, "body": {"bytes": "?"}}}, "directResponse.body.bytes"),
        ({"directResponse": {"status": 200, "body": {"string": "x" * 1048577}}}, "directResponse.body"),
        ({**ROUTE, "match": [{"uri": {"prefix": "a"}}]}, "match[0].uri.prefix"),
        ({**ROUTE, "match": [{"uri": {"exact": "/", "prefix": "/"}}]}, "match[0].uri"),
        ({**ROUTE, "match": [{"uri": {"regex": "(?=a)"}}]}, "match[0].uri.regex"),
        ({**ROUTE, "match": [{"headers": {"a b": {"exact": "c"}}}]}, "match[0].headers[a b]"),
        ({**ROUTE, "match": [{"gateways": ["a/b/c"]}]}, "match[0].gateways[0]"),
        ({"route": [{"destination": {"host": "*.a"}}]}, "route[0].destination.host"),
        ({"route": [A, A]}, "route"),
        ({**ROUTE, "headers": {"request": {"set": {":path": "/"}}}}, "headers.request.set[:path]"),
        ({**ROUTE, "headers": {"request": {"remove": ["host"]}}}, "headers.request.remove[0]"),
        ({**ROUTE, "headers": {"response": {"set": {"Host": "a"}}}}, "headers.response.set[Host]"),
        ({**ROUTE, "rewrite": {}}, "rewrite"),
        ({**ROUTE, "rewrite": {"uri": "x"}}, "rewrite.uri"),
        ({**ROUTE, "retries": {"attempts": 1, "retryOn": "5xxx"}}, "retries.retryOn"),
        ({**ROUTE, "retries": {"attempts": 0, "retryOn": "5xx"}}, "retries.attempts"),
        ({**ROUTE, "fault": {"delay": {"percentage": {"value": 1}}}}, "fault.delay.fixedDelay"),
        ({**ROUTE, "fault": {"abort": {"httpStatus": 500, "grpcStatus": "OK"}}}, "fault.abort"),
        ({**ROUTE, "fault": {"abort": {"grpcStatus": "NOPE"}}}, "fault.abort.grpcStatus"),
        ({**ROUTE, "mirrorPercentage": {"value": 1}}, "mirrorPercentage"),
        ({**ROUTE, "corsPolicy": {"allowMethods": ["get"]}}, "corsPolicy.allowMethods[0]"),
        ({**ROUTE, "timeout": "-1s"}, "timeout"),
    ],
)
def test_rules_of_virtual_services(fields: dict[str, Any], path: str) -> None:
    assert rule(**fields) == [path]


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        ({"tcp": [ROUTE]}, "tcp"),
        ({"gateways": ["edge"], "http": [ROUTE]}, "gateways"),
        ({"http": [{"delegate": {"name": "other"}}]}, "http[0].delegate"),
        ({"hosts": ["a"], "http": [{"delegate": {"name": ""}}]}, "http[0].delegate.name"),
        (
            {"hosts": ["a"], "http": [{"delegate": {"name": "b", "namespace": "B"}}]},
            "http[0].delegate.namespace",
        ),
        ({"hosts": ["*"], "http": [ROUTE]}, "hosts"),
        ({"hosts": ["a", "a"], "http": [ROUTE]}, "hosts[1]"),
        ({"hosts": ["a.*"], "http": [ROUTE]}, "hosts[0]"),
        ({"hosts": ["a"]}, ""),
        ({"hosts": ["a"], "http": [ROUTE], "exportTo": ["*", "b"]}, "exportTo"),
        (
            {"hosts": ["a"], "tcp": [{"match": [{"sourceSubnet": "10/8"}], **ROUTE}]},
            "tcp[0].match[0].sourceSubnet",
        ),
        ({"hosts": ["a"], "tls": [{"match": [{"sniHosts": ["b"]}], **ROUTE}]}, "tls[0].match[0].sniHosts[0]"),
        ({"hosts": ["a"], "tls": [ROUTE]}, "tls[0].match"),
    ],
)
def test_hosts_and_connections_of_virtual_services(spec: dict[str, Any], path: str) -> None:
    assert [item.removeprefix("spec") for item in faults("VirtualService", spec)] == [path]


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"loadBalancer": {"consistentHash": {}}}, "loadBalancer.consistentHash"),
        (
            {"loadBalancer": {"consistentHash": {"useSourceIp": True, "maglev": {"tableSize": 4}}}},
            "loadBalancer.consistentHash.maglev.tableSize",
        ),
        (
            {"loadBalancer": {"consistentHash": {"useSourceIp": True, "maglev": {}, "minimumRingSize": 5}}},
            "loadBalancer.consistentHash.minimumRingSize",
        ),
        (
            {"outlierDetection": {"consecutiveLocalOriginFailures": 3}},
            "outlierDetection.consecutiveLocalOriginFailures",
        ),
        ({"outlierDetection": {"interval": "0s"}}, "outlierDetection.interval"),
        ({"outlierDetection": {"consecutiveErrors": 3}}, "outlierDetection.consecutiveErrors"),
        ({"loadBalancer": {"warmupDurationSecs": "1s", "warmup": {"duration": "1s"}}}, "loadBalancer"),
        (
            {"loadBalancer": {"simple": "RANDOM", "warmup": {"duration": "1s"}}},
            "loadBalancer.warmup",
        ),
        ({"loadBalancer": {"warmup": {"duration": "0s"}}}, "loadBalancer.warmup.duration"),
        ({"tunnel": {"targetHost": "a", "targetPort": 1, "protocol": "GET"}}, "tunnel.protocol"),
        ({"tunnel": {"targetHost": "*.a", "targetPort": 1}}, "tunnel.targetHost"),
        (
            {"tunnel": {"targetHost": "a", "targetPort": 1}, "proxyProtocol": {"version": "V2"}},
            "proxyProtocol",
        ),
        ({"retryBudget": {"budgetInterval": "1s"}}, "retryBudget.budgetInterval"),
        ({"connectionPool": {"tcp": {"connectTimeout": "1us"}}}, "connectionPool.tcp.connectTimeout"),
        (
            {"connectionPool": {"http": {"h2UpgradePolicy": "UPGRADE", "useClientProtocol": True}}},
            "connectionPool.http.useClientProtocol",
        ),
        ({"tls": {"mode": "MUTUAL", "privateKey": "/k"}}, "tls.clientCertificate"),
        ({"tls": {"mode": "SIMPLE", "privateKey": "/k"}}, "tls.privateKey"),
        ({"tls": {"mode": "SIMPLE", "credentialName": "a", "caCrl": "/c"}}, "tls.caCrl"),
        (
            {"tls": {"mode": "MUTUAL", "credentialName": "a", "clientCertificate": "/c"}},
            "tls.clientCertificate",
        ),
        ({"tls": {"mode": "SIMPLE", "insecureSkipVerify": True, "caCrl": "/c"}}, "tls.caCrl"),
        ({"tls": {"mode": "ISTIO_MUTUAL", "credentialName": "a"}}, "tls.credentialName"),
        ({"tls": {"mode": "ISTIO_MUTUAL", "insecureSkipVerify": True}}, "tls.insecureSkipVerify"),
        ({"tls": {"mode": "DISABLE", "sni": "a"}}, "tls.sni"),
        (
            {"tls": {"mode": "SIMPLE", "insecureSkipVerify": True, "caCertificates": "/c"}},
            "tls.insecureSkipVerify",
        ),
        ({"portLevelSettings": [{"tls": {"mode": "DISABLE"}}]}, "portLevelSettings[0].port.number"),
        ({"portLevelSettings": [{"port": {"number": 1}}] * 2}, "portLevelSettings[1]"),
    ],
)
def test_rules_of_destination_rules(fields: dict[str, Any], path: str) -> None:
    assert policy(**fields) == [path]


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({}, "tls"),
        ({"tls": {"mode": "SIMPLE"}}, "tls.credentialName"),
        ({"tls": {"mode": "SIMPLE", "credentialName": "a", "subjectAltNames": ["b"]}}, "tls.subjectAltNames"),
        ({"tls": {"mode": "PASSTHROUGH", "credentialName": "a"}}, "tls.credentialName"),
        ({"tls": {"mode": "PASSTHROUGH", "minProtocolVersion": "TLSV1_3"}}, "tls.minProtocolVersion"),
        ({"tls": {"mode": "SIMPLE", "credentialName": "a", "cipherSuites": ["NULL"]}}, "tls.cipherSuites[0]"),
        (
            {"tls": {"mode": "SIMPLE", "credentialName": "a", "httpsRedirect": True}},
            "tls.httpsRedirect",
        ),
        ({"tls": {"mode": "PASSTHROUGH"}, "hosts": ["a/b/c"]}, "hosts[0]"),
        ({"port": {"number": 80, "name": "http", "protocol": "HTTPP"}}, "port.protocol"),
        ({"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "tls": {"mode": "SIMPLE"}}, "tls"),
        ({"port": {"number": 0, "name": "http", "protocol": "HTTP"}}, "port.number"),
        ({**PLAIN, "bind": "edge.example"}, "bind"),
        ({**PLAIN, "bind": "unix:///run/sock"}, "port.number"),
        ({"port": {"number": 0, "name": "http", "protocol": "HTTP"}, "bind": "unix://run/sock"}, "bind"),
        ({"port": {"number": 80, "name": "tcp", "protocol": "MONGO"}, "tls": {}}, "tls"),
    ],
)
def test_rules_of_gateways(fields: dict[str, Any], path: str) -> None:
    assert server(**fields) == [path]


FILES = {"serverCertificate": "/c", "privateKey": "/k"}


@pytest.mark.parametrize(
    ("mode", "fields", "path"),
    [
        ("SIMPLE", {"serverCertificate": "/c"}, "privateKey"),
        ("SIMPLE", {"tlsCertificates": [{"serverCertificate": "/c"}]}, "tlsCertificates[0].privateKey"),
        ("SIMPLE", {**FILES, "serverCertificate": "c"}, "serverCertificate"),
        ("SIMPLE", {**FILES, "credentialName": "a"}, "serverCertificate"),
        ("SIMPLE", {"credentialName": "a", "credentialNames": ["b"]}, "credentialNames"),
        ("SIMPLE", {"credentialNames": ["a", "b", "c"]}, "credentialNames"),
        ("SIMPLE", {"credentialNames": ["a", "a"]}, "credentialNames[1]"),
        ("SIMPLE", {**FILES, "caCrl": "/r"}, "caCrl"),
        ("SIMPLE", {**FILES, "caCertCredentialName": "a"}, "caCertCredentialName"),
        ("MUTUAL", FILES, "caCertificates"),
        ("OPTIONAL_MUTUAL", FILES, "caCertificates"),
        ("MUTUAL", {"credentialName": "a", "caCertificates": "/a"}, "caCertificates"),
        ("MUTUAL", {"credentialName": "a", "caCrl": "/r"}, "caCrl"),
        ("ISTIO_MUTUAL", {"credentialName": "a"}, "credentialName"),
        ("ISTIO_MUTUAL", {"minProtocolVersion": "TLSV1_3"}, "minProtocolVersion"),
        ("AUTO_PASSTHROUGH", {"subjectAltNames": ["a"]}, "subjectAltNames"),
        ("SIMPLE", {**FILES, "maxProtocolVersion": "TLSV1_1"}, "minProtocolVersion"),
        ("SIMPLE", {**FILES, "minProtocolVersion": "TLSV1_1"}, "minProtocolVersion"),
        (
            "SIMPLE",
            {**FILES, "minProtocolVersion": "TLSV1_3", "cipherSuites": ["AES128-SHA"]},
            "cipherSuites",
        ),
    ],
)
def test_rules_of_a_servers_tls(mode: str, fields: dict[str, Any], path: str) -> None:
    assert server(tls={"mode": mode, **fields}) == [f"tls.{path}"]


@pytest.mark.parametrize(
    ("mode", "fields"),
    [
        ("MUTUAL", {**FILES, "caCertCredentialName": "clients"}),
        ("MUTUAL", {"credentialNames": ["rsa", "ecdsa"]}),
        ("ISTIO_MUTUAL", {"subjectAltNames": ["spiffe://cluster.local/ns/a/sa/b"]}),
        ("AUTO_PASSTHROUGH", {}),
        ("SIMPLE", {**FILES, "minProtocolVersion": "TLSV1_0", "cipherSuites": ["ECDHE-RSA-AES128-SHA"]}),
    ],
)
def test_what_a_servers_tls_may_say(mode: str, fields: dict[str, Any]) -> None:
    assert server(tls={"mode": mode, **fields}) == []


def test_servers_of_a_gateway_have_names_of_their_own() -> None:
    one = {**PLAIN, "hosts": ["a"]}
    assert faults("Gateway", {"servers": [one, {**one, "hosts": ["b"]}]}) == ["servers[1].port.name"]
    other = {**one, "port": {"number": 81, "name": "other", "protocol": "HTTP"}}
    named = [{**item, "name": "web"} for item in (one, other)]
    assert faults("Gateway", {"servers": named}) == ["servers[1].name"]


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        ({"hosts": ["*"]}, "hosts[0]"),
        ({"hosts": ["*.a"], "resolution": "DNS"}, "hosts[0]"),
        ({"hosts": ["10.0.0.1"]}, "hosts[0]"),
        ({"addresses": ["10.0.0.0/40"]}, "addresses[0]"),
        ({"ports": []}, "ports"),
        ({"ports": [{"number": 80, "name": "a", "protocol": "UDP"}]}, "ports[0].protocol"),
        ({"ports": [{"number": 80, "name": "a"}, {"number": 80, "name": "b"}]}, "ports[1]"),
        ({"resolution": "STATIC"}, "endpoints"),
        ({"resolution": "STATIC", "endpoints": [{"address": "a.example.com"}]}, "endpoints[0].address"),
        (
            {"resolution": "DNS", "endpoints": [{"address": "a", "ports": {"htp": 1}}]},
            "endpoints[0].ports[htp]",
        ),
        ({"endpoints": [{"address": "10.0.0.1"}]}, "endpoints"),
    ],
)
def test_rules_of_service_entries(spec: dict[str, Any], path: str) -> None:
    base = {"hosts": ["a.example.com"], "ports": [{"number": 80, "name": "http"}]}
    assert faults("ServiceEntry", {**base, **spec}) == [path]


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({}, ""),
        ({"hosts": ["a.example.com"]}, "hosts[0]"),
        ({"ports": [{"number": 80, "name": "tcp", "protocol": "TCP"}]}, "ports[0].protocol"),
        ({"ports": [{"number": 80, "name": "web"}]}, "ports[0].protocol"),
        ({"ports": [{"number": 80, "name": "http", "targetPort": 81}]}, "ports[0].targetPort"),
        ({"endpoints": [{"address": "10.0.0.1"}]}, "resolution"),
        ({"workloadSelector": {"labels": {"a": "b"}}}, "resolution"),
        ({"location": "MESH_INTERNAL"}, "location"),
    ],
)
def test_hosts_are_resolved_when_called_only_where_a_call_names_them(
    fields: dict[str, Any], path: str
) -> None:
    spec = {"hosts": ["*.example.com"], "ports": [{"number": 80, "name": "http"}], **fields}
    found = faults("ServiceEntry", {**spec, "resolution": "DYNAMIC_DNS"})
    assert found == ([path] if path else [])


def test_rules_of_other_kinds() -> None:
    assert faults("WorkloadEntry", {"address": "unix://relative"}) == ["address"]
    assert faults("WorkloadEntry", {"address": "unix:///a", "ports": {"http": 1}}) == ["ports"]
    assert faults("Sidecar", {"egress": [{"hosts": ["reviews"]}]}) == ["egress[0].hosts[0]"]
    assert faults("Sidecar", {"egress": [{"hosts": ["./*"]}, {"hosts": ["./*"]}]}) == ["egress[0]"]
    ports = {"portLevelMtls": {"80": {"mode": "DISABLE"}}}
    assert faults("PeerAuthentication", ports, "security.istio.io") == ["portLevelMtls"]
    selected = {"selector": {"matchLabels": {"a": "b"}}, "portLevelMtls": {"70000": {}}}
    assert faults("PeerAuthentication", selected, "security.istio.io") == ["portLevelMtls[70000]"]


def test_rules_of_services() -> None:
    port = {"port": 80}
    assert faults("Service", {"ports": [port, {"port": 81}]}, "") == [
        "ports[1]",
        "ports[0].name",
        "ports[1].name",
    ]
    assert faults("Service", {"ports": []}, "") == ["ports"]
    assert faults("Service", {"ports": [{**port, "targetPort": 0}]}, "") == ["ports[0].targetPort"]
    assert faults("Service", {"ports": [port], "clusterIP": "x"}, "") == ["clusterIP"]
    assert faults("Service", {"ports": [{**port, "protocol": "SCTP"}]}, "") == ["ports[0].protocol"]
    unasked = {"ports": [port], "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 60}}}
    assert faults("Service", unasked, "") == ["sessionAffinityConfig"]


def test_what_a_service_says_of_the_world_outside_is_taken_with_a_warning() -> None:
    spec = {"type": "NodePort", "ports": [{"port": 80, "nodePort": 30080}], "externalTrafficPolicy": "Local"}
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "a", "namespace": "b"},
        "spec": spec,
    }
    assert faults("Service", spec, "") == []
    assert [text.partition(" has no effect: ")[0] for text in warnings(service)] == [
        "spec.type: NodePort",
        "spec.externalTrafficPolicy: it",
        "spec.ports[0].nodePort: it",
    ]
    assert warnings({**service, "spec": {"ports": [{"port": 80}]}}) == ()


@pytest.mark.parametrize(
    ("kind", "body", "path"),
    [
        ("Secret", {"data": {"a": "%"}}, "data[a]"),
        ("Secret", {"stringData": {"a b": "c"}}, "stringData[a b]"),
        ("Secret", {"type": "kubernetes.io/tls", "stringData": {"tls.crt": "c"}}, "data[tls.key]"),
        ("ConfigMap", {"data": {"": "b"}}, "data[]"),
        ("ConfigMap", {"data": {"a": "b"}, "binaryData": {"a": "Yg=="}}, "binaryData[a]"),
        ("ConfigMap", {"binaryData": {"a": "b"}}, "binaryData[a]"),
    ],
)
def test_rules_of_secrets_and_config_maps(kind: str, body: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidResource) as caught:
        admit({"apiVersion": "v1", "kind": kind, "metadata": {"name": "a"}, **body})
    assert [error.path for error in caught.value.errors] == [path]
