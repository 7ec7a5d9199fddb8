"""A call that leaves the mesh: the gateway is where it arrives, and says no or sends it on."""

from dataclasses import replace

from explained import ask, ingress, mesh, step

from marline.explain.steps import Fate
from marline.mesh.model import GatewayPort, Proxy, labels_of

LEAVING = """
apiVersion: v1
kind: Service
metadata: {name: egress, namespace: istio-system}
spec: {clusterIP: 10.96.0.9, selector: {istio: egress}, ports: [{name: tcp, port: 80, targetPort: 8080}]}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: ingress, namespace: istio-system}
spec: {address: 127.0.0.1, serviceAccount: default,
  labels: {istio: egress, security.istio.io/tlsMode: istio}}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: away}
spec: {hosts: [away.test], addresses: [240.0.0.80], resolution: STATIC, endpoints: [{address: 192.0.2.1}],
  ports: [{number: 80, name: http, protocol: HTTP}]}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: leaving}
spec: {selector: {istio: egress}, servers: [
  {port: {number: 80, name: https, protocol: HTTPS}, hosts: [HOST], tls: {mode: ISTIO_MUTUAL}}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: leaving}
spec: {host: egress.istio-system.svc.cluster.local,
  trafficPolicy: {tls: {mode: ISTIO_MUTUAL, sni: away.test}}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: away}
spec: {hosts: [away.test], gateways: [mesh, leaving], http: [
  {match: [{gateways: [mesh]}], route: [{destination: {host: egress.istio-system.svc.cluster.local}}]},
  {match: [{gateways: [leaving]}], route: [{destination: {host: away.test}}]}]}
"""


def egress() -> Proxy:
    made = ingress(istio="egress")
    workload = replace(made.workloads[0], labels=labels_of({"istio": "egress"}), address="127.0.0.1")
    return replace(made, workloads=(workload,), gateway_ports=(GatewayPort(80, 8080),))


def test_the_gateway_takes_it_and_is_named_for_the_rest_of_the_way() -> None:
    found = ask(mesh(LEAVING.replace("HOST", "away.test")), "away.test", None, egress())
    assert step(found, "cluster").text.startswith("egress.istio-system")
    assert found.fate is Fate.ANSWERED
    (endpoint,) = step(found, "endpoints").details
    assert "`marline explain ingress` tells where it is sent on" in endpoint.text


def test_a_gateway_without_a_server_for_it_takes_nothing() -> None:
    found = ask(mesh(LEAVING.replace("HOST", "other.test")), "away.test", None, egress())
    assert found.fate is Fate.REFUSED
