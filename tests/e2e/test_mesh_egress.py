"""Leaving a running mesh through a gateway of an application file."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from running_mesh import MODES, eventually, free_port, running_mesh

APPLICATION = """
services:
  client:
    command: "{python} {apps}/caller.py {home}/client.sock"
    upstreams: [AWAY=away.test:80]
gateways:
  egressgateway:
    ports: [{port: 80, listen: %d}]
"""
THROUGH_GATEWAY = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: away}
spec:
  hosts: [away.test]
  addresses: [240.0.0.80]
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: STATIC
  endpoints: [{address: 127.0.0.1, ports: {http: %d}}]
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: leaving}
spec:
  selector: {istio: egressgateway}
  servers: [{port: {number: 80, name: https, protocol: HTTPS}, hosts: [away.test], tls: {mode: ISTIO_MUTUAL}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: leaving}
spec:
  host: egressgateway.istio-system.svc.cluster.local
  trafficPolicy: {tls: {mode: ISTIO_MUTUAL, sni: away.test}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: away}
spec:
  hosts: [away.test]
  gateways: [mesh, leaving]
  http:
  - match: [{gateways: [mesh]}]
    route: [{destination: {host: egressgateway.istio-system.svc.cluster.local, port: {number: 80}}}]
  - match: [{gateways: [leaving]}]
    route: [{destination: {host: away.test}}]
"""


class _Server(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        """Say for whom it was called."""
        body = self.headers.get("x-forwarded-client-cert", "nobody").encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        """Tests are quiet."""


@contextmanager
def outside() -> Iterator[int]:
    """A server at the machine's loopback, where workloads in namespaces of their own do not get."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Server)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("capture", MODES)
def test_a_workload_leaves_through_the_gateways_service_with_its_identity(capture: str) -> None:
    with outside() as port, running_mesh(capture, APPLICATION % free_port()) as mesh:
        mesh.apply(THROUGH_GATEWAY % port)
        client = mesh.caller("client")

        def answered() -> str:
            (result,) = client.fetch("{AWAY_URL}/")
            return str(result["said"]) if result["status"] == 200 else ""

        said = eventually(answered, "the client is answered from outside", mesh.home)
        assert "URI=spiffe://cluster.local/ns/default/sa/client" in said
        entry = mesh.marline("get", "workloadentries", "-n", "istio-system")
        assert "egressgateway" in entry
