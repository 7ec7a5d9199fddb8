"""UDP from a gateway to an application, in both ways of capturing traffic."""

import json
import socket

import pytest
from running_mesh import MODES, eventually, running_mesh

SHOP = """
services:
  data:
    ports: [tcp-data:7000, udp-data:7000]
    command: "{python} {apps}/datagrams.py"
gateways:
  ingressgateway: {bind: 127.0.0.9, ports: [{port: 7000}]}
"""
ROUTES = """
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge, namespace: default}
spec:
  gatewayClassName: istio
  listeners: [{name: tcp, port: 7000, protocol: TCP}, {name: udp, port: 7000, protocol: UDP}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: UDPRoute
metadata: {name: data}
spec:
  parentRefs: [{name: edge}]
  rules: [{backendRefs: [{name: data, port: 7000}]}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: TCPRoute
metadata: {name: data}
spec:
  parentRefs: [{name: edge}]
  rules: [{backendRefs: [{name: data, port: 7000}]}]
"""


def asked(address: str, port: int) -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(1)
        try:
            client.sendto(b"hello", (address, port))
            return client.recv(100).decode()
        except (TimeoutError, ConnectionRefusedError):
            return ""


def connected(address: str, port: int) -> str:
    try:
        with socket.create_connection((address, port), timeout=5) as client:
            return client.recv(100).decode()
    except OSError:
        return ""


@pytest.mark.parametrize("capture", MODES)
def test_datagrams_and_connections_reach_an_application_through_a_gateway(capture: str) -> None:
    with running_mesh(capture, SHOP) as mesh:
        mesh.apply(ROUTES)
        eventually(lambda: asked("127.0.0.9", 7000) == "answered:hello", "UDP is answered", mesh.home)
        eventually(lambda: connected("127.0.0.9", 7000) == "connected", "TCP is answered", mesh.home)
        (entry,) = json.loads(mesh.marline("get", "services", "data", "-o", "json"))["spec"]["ports"][1:]
        assert (entry["name"], entry["port"], entry["protocol"]) == ("udp-data", 7000, "UDP")
