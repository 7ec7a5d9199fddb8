# ruff: noqa: E501
"""Every code: resources in which it is found, at its place, and the same ones mended, in which nothing is."""

from typing import Final, NamedTuple

import pytest
from analyzed import places

from marline.analyze.findings import INVALID, codes
from marline.mesh.model import Capture, GatewayPort, Proxy, Role, Upstream, Workload

SVC: Final = "svc a {selector: {app: a}, ports: [{name: http, port: 80}]}\n"
TWO: Final = "svc a {selector: {app: a}, ports: [{name: http, port: 80}, {name: grpc, port: 90}]}\n"
EXIT: Final = (
    "svc a {selector: {app: exit}, ports: [{name: tcp, port: 80}]}\nwe e {address: 10.0.0.9, labels: {app: exit}}\n"
    "dr d {host: a, trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}}\n"
)
"""A gateway of the mesh, called by mTLS."""
ENTRY: Final = "we a-1 {address: 10.0.0.1, labels: {app: a, version: v1, security.istio.io/tlsMode: istio}}\n"
ROUTE: Final = "route: [{destination: {host: a}}]"
SERVER: Final = "port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']"
HTTPS: Final = "port: {number: 443, name: https, protocol: HTTPS}"
PORT: Final = "port: {number: 80, protocol: HTTP}"
ALL_HOSTS: Final = "hosts: ['*/*']"
AT: Final = "defaultEndpoint: '127.0.0.1:81'"
TLS_PORT: Final = (
    "port: {number: 80, protocol: HTTPS}, tls: {mode: SIMPLE, serverCertificate: /c, privateKey: /k}"
)
GATEWAY: Final = f"gw edge {{selector: {{istio: edge}}, servers: [{{{SERVER}}}]}}\n"
EDGE: Final = Proxy(
    "edge", Role.GATEWAY, Capture.EXPLICIT, (Workload("default", "edge", labels=(("istio", "edge"),)),),
    gateway_ports=(GatewayPort(80, 8080),),
)  # fmt: skip
CLAIM: Final = "@request.auth.claims.sub"
BY_CLAIM: Final = f"{SVC}{ENTRY}{GATEWAY}vs v {{hosts: [x.org], gateways: [edge], http: [{{match: [{{headers: {{'{CLAIM}': {{exact: a}}}}}}], {ROUTE}}}]}}"
KEYED: Final = "{jwtRules: [{jwksUri: 'https://x.org/k'}]}"
FAILOVER: Final = "spec.trafficPolicy.loadBalancer.localityLbSetting"
PRIORITY: Final = "loadBalancer: {localityLbSetting: {failoverPriority: [app]}}"
PLACES: Final = "loadBalancer: {localityLbSetting: {failover: [{from: a, to: b}]}}"
DETECTION: Final = "outlierDetection: {}"
CORS: Final = "corsPolicy: {allowOrigins: [{exact: 'https://a.org'}]}"
PATCH: Final = "applyTo: CLUSTER, patch: {operation: REMOVE}"
VERSION: Final = "match: {proxy: {proxyVersion: '^1'}}"
CALLER: Final = Proxy(
    "a", Role.SIDECAR, Capture.EXPLICIT,
    (Workload("default", "a-1", labels=(("app", "a"),), upstreams=(Upstream("b", 80, 31000),)),),
)  # fmt: skip


PORTS = "selector: {app: a}, ports: [{name: http, port: 80}]"
ASKED = """ap c {action: CUSTOM, provider: {name: p}, rules: [{}]}
svc p {ports: [{name: grpc, port: 81}]}
cm istio-system/istio {} @{data: {mesh: 'extensionProviders: [{name: p, %s: {service: p.default.svc.cluster.local, port: 81}}]'}}
"""


class Case(NamedTuple):
    where: str
    """Name and path."""
    wrong: str
    mended: str
    proxies: tuple[Proxy, ...] | None = None


CASES: Final = {
    "IST0101": (
        Case("v spec.http[0].route[0].destination.host", f"{SVC}vs v {{hosts: [a], http: [{{route: [{{destination: {{host: b}}}}]}}]}}", f"{SVC}vs v {{hosts: [a], http: [{{{ROUTE}}}]}}"),
        Case("v spec.http[0].delegate", f"{SVC}vs v {{hosts: [a], http: [{{delegate: {{name: d}}}}]}}", f"{SVC}vs v {{hosts: [a], http: [{{delegate: {{name: d}}}}]}}\nvs d {{http: [{{{ROUTE}}}]}}"),
        Case("v spec.http[0].mirror.host", f"{SVC}vs v {{hosts: [a], http: [{{{ROUTE}, mirror: {{host: b}}}}]}}", f"{SVC}vs v {{hosts: [a], http: [{{{ROUTE}, mirror: {{host: a}}}}]}}"),
        Case("v spec.http[0].route[0].destination.port.number", f"{SVC}vs v {{hosts: [a], http: [{{route: [{{destination: {{host: a, port: {{number: 81}}}}}}]}}]}}", f"{SVC}vs v {{hosts: [a], http: [{{route: [{{destination: {{host: a, port: {{number: 80}}}}}}]}}]}}"),
        Case("v spec.http[0].route[0].destination.subset", f"{SVC}vs v {{hosts: [a], http: [{{route: [{{destination: {{host: a, subset: v1}}}}]}}]}}", f"{SVC}dr d {{host: a, subsets: [{{name: v1, labels: {{version: v1}}}}]}}\nvs v {{hosts: [a], http: [{{route: [{{destination: {{host: a, subset: v1}}}}]}}]}}"),
        Case("v spec.gateways[0]", f"{SVC}vs v {{hosts: [a], gateways: [edg], http: [{{{ROUTE}}}]}}", f"{SVC}{GATEWAY}vs v {{hosts: [a], gateways: [edge], http: [{{{ROUTE}}}]}}"),
        Case("g spec.servers[0].tls.credentialName", f"gw g {{selector: {{a: b}}, servers: [{{{HTTPS}, hosts: ['*'], tls: {{mode: SIMPLE, credentialName: c}}}}]}}", "gw g {selector: {a: b}, servers: []}"),
    ),
    "IST0107": (Case("d metadata.annotations[networking.istio.io/exportTo]", f"{SVC}dr d {{host: a}} @{{metadata: {{annotations: {{networking.istio.io/exportTo: '.'}}}}}}", f"{SVC}dr d {{host: a}}"),),
    "IST0108": (Case("d metadata.annotations[networking.istio.io/export]", f"{SVC}dr d {{host: a}} @{{metadata: {{annotations: {{networking.istio.io/export: '.'}}}}}}", f"{SVC}dr d {{host: a}} @{{metadata: {{annotations: {{example.com/export: '.'}}}}}}"), Case("d metadata.annotations[audit.marline.io/samples]", f"{SVC}dr d {{host: a}} @{{metadata: {{annotations: {{audit.marline.io/samples: '1'}}}}}}", f"{SVC}ap d {{action: AUDIT, rules: [{{}}]}} @{{metadata: {{annotations: {{audit.marline.io/sample: '1'}}}}}}")),
    "IST0109": (Case("w spec.hosts[0]", f"{SVC}vs v {{hosts: [a], http: [{{{ROUTE}}}]}}\nvs w {{hosts: [a.default.svc.cluster.local], http: [{{{ROUTE}}}]}}", f"{SVC}vs v {{hosts: [a], exportTo: [one], http: [{{{ROUTE}}}]}}\nvs w {{hosts: [a], exportTo: [two], http: [{{{ROUTE}}}]}}"),),
    "IST0110": (Case("t spec.workloadSelector", f"{SVC}{ENTRY}sc s {{workloadSelector: {{labels: {{app: a}}}}, egress: [{{hosts: ['./*']}}]}}\nsc t {{workloadSelector: {{labels: {{version: v1}}}}, egress: [{{hosts: ['./*']}}]}}", f"{SVC}{ENTRY}sc s {{workloadSelector: {{labels: {{app: a}}}}, egress: [{{hosts: ['./*']}}]}}"),),
    "IST0111": (Case("t spec", "sc s {egress: [{hosts: ['./*']}]}\nsc t {egress: [{hosts: ['./*']}]}", "sc s {egress: [{hosts: ['./*']}]}\nsc other/t {egress: [{hosts: ['./*']}]}"),),
    "IST0112": (Case("v spec.http[0].route[0].destination", f"{TWO}vs v {{hosts: [a], http: [{{{ROUTE}}}]}}", f"{TWO}vs v {{hosts: [a], http: [{{route: [{{destination: {{host: a, port: {{number: 90}}}}}}]}}]}}"),),
    "IST0113": (
        Case("d spec.trafficPolicy.tls.mode", f"{SVC}{ENTRY}dr d {{host: a, trafficPolicy: {{tls: {{mode: DISABLE}}}}}}", f"{SVC}{ENTRY}dr d {{host: a, trafficPolicy: {{tls: {{mode: DISABLE}}}}}}\npa p {{mtls: {{mode: PERMISSIVE}}}}"),
        Case("d spec.trafficPolicy.tls.mode", f"{SVC}{ENTRY}dr d {{host: a, trafficPolicy: {{tls: {{mode: ISTIO_MUTUAL}}}}}}\npa p {{mtls: {{mode: DISABLE}}}}", f"{SVC}{ENTRY}dr d {{host: a, trafficPolicy: {{tls: {{mode: ISTIO_MUTUAL}}}}}}"),
        Case("d spec.trafficPolicy.tls.mode", f"{EXIT}", f"{EXIT}gw g {{selector: {{app: exit}}, servers: [{{{HTTPS}, hosts: ['*'], tls: {{mode: ISTIO_MUTUAL}}}}]}}"),
    ),
    "IST0116": (Case("b spec.ports[0]", f"{SVC}{ENTRY}svc b {{selector: {{app: a}}, ports: [{{name: grpc, port: 80}}]}}", f"{SVC}{ENTRY}svc b {{selector: {{app: a}}, ports: [{{name: http, port: 80}}]}}"),),
    "IST0118": (Case("b spec.ports[0].name", "svc b {selector: {app: a}, ports: [{name: web, port: 80}]}", "svc b {selector: {app: a}, ports: [{name: http-web, port: 80}]}"),),
    "IST0127": (
        Case("p spec.selector", f"{SVC}{ENTRY}pa p {{selector: {{matchLabels: {{app: b}}}}, mtls: {{mode: STRICT}}}}", f"{SVC}{ENTRY}pa p {{selector: {{matchLabels: {{app: a}}}}, mtls: {{mode: STRICT}}}}"),
        Case("edge spec.selector", GATEWAY.replace("istio: edge", "istio: other"), GATEWAY, (EDGE,)),
    ),
    "IST0128": (Case("d spec.trafficPolicy.tls.insecureSkipVerify", f"{SVC}dr d {{host: a, trafficPolicy: {{tls: {{mode: SIMPLE, insecureSkipVerify: true}}}}}}", f"{SVC}dr d {{host: a, trafficPolicy: {{tls: {{mode: SIMPLE}}}}}}"),),
    "IST0129": (Case("d spec.trafficPolicy.portLevelSettings[0].tls.insecureSkipVerify", f"{SVC}dr d {{host: a, trafficPolicy: {{portLevelSettings: [{{port: {{number: 80}}, tls: {{mode: SIMPLE, insecureSkipVerify: true}}}}]}}}}", f"{SVC}dr d {{host: a}}"),),
    "IST0130": (Case("v spec.http[1]", f"{SVC}vs v {{hosts: [a], http: [{{{ROUTE}}}, {{match: [{{uri: {{exact: /x}}}}], {ROUTE}}}]}}", f"{SVC}vs v {{hosts: [a], http: [{{match: [{{uri: {{exact: /x}}}}], {ROUTE}}}, {{{ROUTE}}}]}}"),),
    "IST0131": (Case("v spec.http[1].match[1]", f"{SVC}vs v {{hosts: [a], http: [{{match: [{{uri: {{prefix: /x}}}}], {ROUTE}}}, {{match: [{{uri: {{exact: /y}}}}, {{uri: {{exact: /x/1}}}}], {ROUTE}}}]}}", f"{SVC}vs v {{hosts: [a], http: [{{match: [{{uri: {{prefix: /x}}}}], {ROUTE}}}, {{match: [{{uri: {{exact: /y}}}}], {ROUTE}}}]}}"),),
    "IST0132": (Case("v spec.hosts[0]", f"{SVC}{GATEWAY.replace(chr(39) + '*' + chr(39), 'x.com')}vs v {{hosts: [y.com], gateways: [edge], http: [{{{ROUTE}}}]}}", f"{SVC}{GATEWAY.replace(chr(39) + '*' + chr(39), 'x.com')}vs v {{hosts: [x.com], gateways: [edge], http: [{{{ROUTE}}}]}}"),),
    "IST0134": (Case("s spec.ports[0]", "se s {hosts: ['*.x.com'], resolution: NONE, ports: [{number: 25, name: tcp, protocol: TCP}]}", "se s {hosts: ['*.x.com'], resolution: NONE, addresses: [10.1.0.0/16], ports: [{number: 25, name: tcp, protocol: TCP}]}"),),
    "IST0137": (Case("b spec.ports[0]", f"{SVC}{ENTRY}svc b {{selector: {{app: a}}, ports: [{{name: http, port: 81, targetPort: 80}}]}}", f"{SVC}{ENTRY}svc b {{selector: {{app: a}}, ports: [{{name: http, port: 81, targetPort: 81}}]}}"),),
    "IST0138": (Case("h spec.servers[0].tls.credentialName", f"secret c {{}}\ngw g {{selector: {{a: b}}, servers: [{{{HTTPS}, hosts: [x.com], tls: {{mode: SIMPLE, credentialName: c}}}}]}}\ngw h {{selector: {{a: b}}, servers: [{{{HTTPS}, hosts: [y.com], tls: {{mode: SIMPLE, credentialName: c}}}}]}}", ""),),
    "IST0140": (Case("w spec.http[0].route[0].destination.subset", f"{SVC}{GATEWAY}dr d {{host: a, subsets: [{{name: v1, labels: {{}}}}]}}\nvs v {{hosts: ['*'], gateways: [edge], http: [{{{ROUTE}}}]}}\nvs w {{hosts: [a], http: [{{route: [{{destination: {{host: a, subset: v1}}}}]}}]}}", f"{SVC}vs w {{hosts: [a], http: [{{{ROUTE}}}]}}"),),
    "IST0145": (Case("other spec.servers[0].hosts", GATEWAY + GATEWAY.replace("gw edge", "gw other"), GATEWAY + GATEWAY.replace("gw edge", "gw other").replace("number: 80", "number: 81")),),
    "IST0149": (
        Case(f"v spec.http[0].match[0].headers[{CLAIM}]", BY_CLAIM, f"{BY_CLAIM}\nra t {KEYED}"),
        Case(f"v spec.http[0].match[0].headers[{CLAIM}]", f"{BY_CLAIM}\nra o/t {KEYED}", f"{BY_CLAIM}\nra t {KEYED}", (EDGE,)),
    ),
    "IST0151": (Case("e spec.configPatches[0].patch.operation", f"ef e {{configPatches: [{{{PATCH}}}]}}", f"ef e {{priority: 1, configPatches: [{{{PATCH}}}]}}"),),
    "IST0155": (Case("e spec.configPatches[0].patch.operation", f"ef e {{configPatches: [{{{PATCH}, {VERSION}}}]}}", f"ef e {{configPatches: [{{{PATCH}}}]}}"),),
    "IST0161": (Case("g spec.servers[0].tls.credentialName", f"secret c {{data: {{tls.crt: eA==}}}}\ngw g {{selector: {{a: b}}, servers: [{{{HTTPS}, hosts: ['*'], tls: {{mode: SIMPLE, credentialName: c}}}}]}}", ""),),
    "IST0162": (Case("edge spec.servers[0].port.number", GATEWAY.replace("number: 80", "number: 81"), GATEWAY, (EDGE,)),),
    "IST0173": (Case("d spec.subsets[0].labels", f"{SVC}{ENTRY}dr d {{host: a, subsets: [{{name: v2, labels: {{version: v2}}}}]}}", f"{SVC}{ENTRY}dr d {{host: a, subsets: [{{name: v1, labels: {{version: v1}}}}]}}"),),
    "IST0174": (Case("d spec.host", f"{SVC}dr d {{host: b}}", f"{SVC}dr d {{host: a}}\ndr e {{host: '*.svc.cluster.local'}}"),),
    "MAR0101": (Case("v spec.http[0].route", f"{SVC}vs v {{hosts: [a], http: [{{route: [{{destination: {{host: a}}, weight: 30}}, {{destination: {{host: a}}, weight: 30}}]}}]}}", f"{SVC}vs v {{hosts: [a], http: [{{route: [{{destination: {{host: a}}, weight: 30}}, {{destination: {{host: a}}, weight: 70}}]}}]}}"),),
    "MAR0102": (Case("v spec.hosts[0]", f"{SVC}vs v {{hosts: [b], http: [{{{ROUTE}}}]}}", f"{SVC}vs v {{hosts: ['*.svc.cluster.local'], http: [{{{ROUTE}}}]}}"),),
    "MAR0103": (Case("v spec.http[0].retries", f"{SVC}vs v {{hosts: [a], http: [{{{ROUTE}, timeout: 2s, retries: {{attempts: 2, perTryTimeout: 1s}}}}]}}", f"{SVC}vs v {{hosts: [a], http: [{{{ROUTE}, timeout: 3s, retries: {{attempts: 2, perTryTimeout: 1s}}}}]}}"),),
    "MAR0104": (
        Case("r spec.parentRefs[0].name", "hr r {parentRefs: [{name: g}]}", "hr r {parentRefs: []}"),
        Case("v spec.gateways", f"{SVC}{GATEWAY.replace('istio: edge', 'istio: other')}vs v {{hosts: ['*'], gateways: [edge], http: [{{{ROUTE}}}]}}", f"{SVC}{GATEWAY}vs v {{hosts: ['*'], gateways: [edge], http: [{{{ROUTE}}}]}}", (EDGE,)),
    ),
    "MAR0105": (Case("w spec.http[0]", f"{SVC}{SVC.replace('svc a', 'svc b')}vs v {{hosts: [a], http: [{{{ROUTE}, timeout: 2s}}]}}\nvs w {{hosts: [b], http: [{{{ROUTE}, retries: {{attempts: 2, perTryTimeout: 1s}}}}]}}", f"{SVC}{SVC.replace('svc a', 'svc b')}vs v {{hosts: [a], http: [{{{ROUTE}, timeout: 3s}}]}}\nvs w {{hosts: [b], http: [{{{ROUTE}, retries: {{attempts: 2, perTryTimeout: 1s}}}}]}}", (CALLER,)),),
    "MAR0106": (
        Case("r status.parents[0].conditions[0]", "hr r {parentRefs: []} @{status: {parents: [{conditions: [{type: Accepted, status: 'False', reason: NoMatchingParent}]}]}}", "hr r {parentRefs: []} @{status: {parents: [{conditions: [{type: Accepted, status: 'True'}]}]}}"),
        Case("g status.conditions[0]", "gw g {servers: []} @{status: {conditions: [{type: Conflicted, status: 'True', reason: PortConflict}]}}", "gw g {servers: []} @{status: {conditions: [{type: Conflicted, status: 'False', reason: NoConflicts}]}}"),
    ),
    "MAR0107": (Case("b spec.selector", f"{SVC}{ENTRY}svc b {{selector: {{app: b}}, ports: [{{name: http, port: 81}}]}}", f"{SVC}{ENTRY}"),),
    "MAR0108": (Case("v spec.http[0].route[0].destination.host", "svc x/a {selector: {app: a}, ports: [{name: http, port: 80}]} @{metadata: {annotations: {networking.istio.io/exportTo: '.'}}}\nvs v {hosts: ['*.x.svc.cluster.local'], http: [{route: [{destination: {host: a.x.svc.cluster.local}}]}]}", "svc x/a {selector: {app: a}, ports: [{name: http, port: 80}]}\nvs v {hosts: ['*.x.svc.cluster.local'], http: [{route: [{destination: {host: a.x.svc.cluster.local}}]}]}"),),
    "MAR0120": (Case("t spec.jwtRules[0].jwksUri", "ra t {jwtRules: [{jwksUri: 'http://x.org/k'}]}", f"ra t {KEYED}"),),
    "MAR0109": (
        Case("s spec.egress[0].captureMode", f"sc s {{egress: [{{{PORT}, captureMode: IPTABLES, {ALL_HOSTS}}}]}}", f"sc s {{egress: [{{{PORT}, captureMode: NONE, {ALL_HOSTS}}}]}}", (CALLER,)),
        Case("s spec.ingress[0].captureMode", f"sc s {{ingress: [{{{PORT}, captureMode: IPTABLES, {AT}}}]}}", f"sc s {{ingress: [{{{PORT}, {AT}}}]}}", (CALLER,)),
        Case("s spec.ingress[0].defaultEndpoint", f"sc s {{ingress: [{{{PORT}}}]}}", f"sc s {{ingress: [{{{PORT}, {AT}}}]}}", (CALLER,)),
        Case("s spec.ingress[0].tls", f"sc s {{ingress: [{{{TLS_PORT}, {AT}}}]}}", f"sc s {{ingress: [{{{TLS_PORT}, {AT}}}]}}\npa p {{mtls: {{mode: PERMISSIVE}}}}", (CALLER,)),
    ),
    "MAR0121": (
        Case("c spec.provider.name", f"{ASKED % 'envoyExtAuthzHttp'}svc a {{{PORTS.replace('http', 'tcp')}}}", f"{ASKED % 'envoyExtAuthzGrpc'}svc a {{{PORTS.replace('http', 'tcp')}}}"),
    ),
    "MAR0110": (
        Case(f"d {FAILOVER}.failoverPriority", f"{SVC}dr d {{host: a, trafficPolicy: {{{PRIORITY}}}}}", f"{SVC}dr d {{host: a, trafficPolicy: {{{PRIORITY}, {DETECTION}}}}}"),
        Case(f"d {FAILOVER}.failover", f"{SVC}dr d {{host: a, trafficPolicy: {{{PLACES}}}}}", f"{SVC}dr d {{host: a, trafficPolicy: {{{PLACES.replace('failover:', 'enabled: false, failover:')}}}}}"),
        Case("d spec.subsets[0].trafficPolicy.loadBalancer.localityLbSetting.failoverPriority", f"{SVC}dr d {{host: a, subsets: [{{name: v1, labels: {{}}, trafficPolicy: {{{PRIORITY}}}}}]}}", f"{SVC}dr d {{host: a, trafficPolicy: {{{DETECTION}}}, subsets: [{{name: v1, labels: {{}}, trafficPolicy: {{{PRIORITY}}}}}]}}"),
        Case("d spec.trafficPolicy.portLevelSettings[0].loadBalancer.localityLbSetting.failoverPriority", f"{SVC}dr d {{host: a, trafficPolicy: {{{DETECTION}, portLevelSettings: [{{port: {{number: 80}}, {PRIORITY}}}]}}}}", f"{SVC}dr d {{host: a, trafficPolicy: {{portLevelSettings: [{{port: {{number: 80}}, {PRIORITY}, {DETECTION}}}]}}}}"),
    ),
    "MAR0111": (
        Case("v spec.http[0].corsPolicy", f"{SVC}vs v {{hosts: [a], http: [{{redirect: {{uri: /b}}, {CORS}}}]}}", f"{SVC}vs v {{hosts: [a], http: [{{{ROUTE}, {CORS}}}]}}"),
        Case("v spec.http[0].corsPolicy", f"{SVC}vs v {{hosts: [a], http: [{{directResponse: {{status: 200}}, {CORS}}}]}}", f"{SVC}vs v {{hosts: [a], http: [{{directResponse: {{status: 200}}}}]}}"),
    ),
}  # fmt: skip
ALL = [
    pytest.param(code, case, id=f"{code}-{number}")
    for code, cases in CASES.items()
    for number, case in enumerate(cases)
]


@pytest.mark.parametrize(("code", "case"), ALL)
def test_a_finding_is_at_its_place_and_gone_when_it_is_mended(code: str, case: Case) -> None:
    assert f"{code} {case.where}" in places(case.wrong, case.proxies)
    assert [place for place in places(case.mended, case.proxies) if place.startswith(code)] == []


def test_every_code_has_a_case() -> None:
    assert {item.code for item in codes()} == {*CASES, INVALID.code}


def test_resources_ask_for_silence() -> None:
    silent = f"{SVC}dr d {{host: b}} @{{metadata: {{annotations: {{galley.istio.io/analyze-suppress: 'IST0174'}}}}}}"
    assert places(silent) == []
    assert places(silent.replace("IST0174", "*")) == []
    assert places(silent.replace("IST0174", "IST0101")) == ["IST0174 d spec.host"]
