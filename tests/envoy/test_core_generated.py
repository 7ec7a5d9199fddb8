"""Whatever DestinationRules and ServiceEntries are accepted, Envoy takes what is made of them."""

import random
import re
from typing import Any

import pytest
from routing_envoy import run_envoy
from static_mesh import free_port, mesh_authority, static_config

from marline.api.decode import admit
from marline.api.errors import InvalidResource
from marline.api.resource import Resource
from marline.mesh.model import Capture, ChangeSet, MeshSettings, Proxy, Role, Workload
from marline.mesh.snapshot import advance, empty

SERVICES = 120
COUNTS = (0, 1, 2, 127, 1024, 2**31 - 1)
SPANS = ("1ms", "1s", "1.5s", "90s", "24h", "9000h")
PROTOCOLS = ("HTTP", "HTTP2", "GRPC", "TCP", "TLS", "HTTPS", "")


class Draw:
    """Random specs, mostly of what a user might write."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def some(self, **fields: Any) -> dict[str, Any]:
        return {name: make() for name, make in fields.items() if self._random.random() < 0.5}

    def of(self, values: tuple[Any, ...]) -> Any:
        return self._random.choice(values)

    def count(self) -> int:
        found: int = self.of(COUNTS)
        return found

    def span(self) -> str:
        return str(self.of(SPANS))

    def settings(self) -> dict[str, Any]:
        return self.some(
            loadBalancer=self.balancer, connectionPool=self.pool, outlierDetection=self.outliers, tls=self.tls
        )

    def balancer(self) -> dict[str, Any]:
        if self._random.random() < 0.5:
            return {
                "simple": self.of(("ROUND_ROBIN", "LEAST_CONN", "LEAST_REQUEST", "RANDOM", "PASSTHROUGH"))
            }
        key = self.of(({"useSourceIp": True}, {"httpHeaderName": "x"}, {"httpCookie": {"name": "c"}}))
        size = self.of((
            {}, {"minimumRingSize": self.of((1, 2000, 50_000))},
            {"ringHash": {"minimumRingSize": 5}}, {"maglev": {"tableSize": self.of((2, 101, 65537))}},
        ))  # fmt: skip
        return {"consistentHash": {**key, **size}}

    def pool(self) -> dict[str, Any]:
        keepalive = self.some(probes=self.count, time=self.span, interval=self.span)
        return self.some(
            tcp=lambda: self.some(
                maxConnections=self.count,
                connectTimeout=self.span,
                tcpKeepalive=lambda: keepalive,
                maxConnectionDuration=self.span,
                idleTimeout=self.span,
            ),
            http=lambda: self.some(
                http1MaxPendingRequests=self.count,
                http2MaxRequests=self.count,
                maxRequestsPerConnection=self.count,
                maxRetries=self.count,
                idleTimeout=self.span,
                h2UpgradePolicy=lambda: self.of(("UPGRADE", "DO_NOT_UPGRADE", "DEFAULT")),
                useClientProtocol=lambda: self.of((True, False)),
                maxConcurrentStreams=self.count,
            ),
        )

    def outliers(self) -> dict[str, Any]:
        return self.some(
            consecutive5xxErrors=self.count,
            consecutiveGatewayErrors=self.count,
            splitExternalLocalOriginErrors=lambda: True,
            consecutiveLocalOriginFailures=self.count,
            interval=self.span,
            baseEjectionTime=self.span,
            maxEjectionPercent=lambda: self.of((0, 1, 100)),
            minHealthPercent=lambda: self.of((0, 50, 100)),
        )

    def tls(self) -> dict[str, Any]:
        mode = self.of(("DISABLE", "SIMPLE", "ISTIO_MUTUAL"))
        if mode != "SIMPLE":
            return {"mode": mode}
        more = self.of(({}, {"insecureSkipVerify": True}, {"subjectAltNames": ["a.com", "spiffe://a/b"]}))
        return {"mode": mode, **more, **self.some(sni=lambda: "sni.example.com")}

    def service(self, number: int) -> dict[str, Any]:
        host = self.of((f"s{number}.localhost", f"*.s{number}.localhost"))
        resolution = "NONE" if host.startswith("*") else self.of(("NONE", "STATIC", "DNS", "DNS_ROUND_ROBIN"))
        endpoint = {"address": self.of(("1.2.3.4", "2001:db8::1")), "labels": {"version": "v1"}}
        ports = [
            {"number": 1000 + number * 2 + index, "name": f"p{index}", "protocol": self.of(PROTOCOLS)}
            for index in range(2)
        ]
        return {
            "hosts": [host],
            "resolution": resolution,
            "location": self.of(("MESH_INTERNAL", "MESH_EXTERNAL")),
            "ports": ports,
            **({"endpoints": [endpoint]} if resolution == "STATIC" else {}),
            **self.some(addresses=lambda: [self.of((f"240.0.1.{number}", f"10.{number}.0.0/16"))]),
        }

    def rule(self, entry: dict[str, Any]) -> dict[str, Any]:
        port = {"port": {"number": entry["ports"][0]["number"]}, **self.settings()}
        policy = {**self.settings(), **self.some(portLevelSettings=lambda: [port])}
        subset = {"name": "v1", "labels": {"version": "v1"}, "trafficPolicy": self.settings()}
        return {"host": entry["hosts"][0], "trafficPolicy": policy, "subsets": self.of(([], [subset]))}


def admitted(kind: str, name: str, spec: dict[str, Any]) -> Resource[Any] | None:
    """None when it is refused."""
    metadata = {"name": name, "namespace": "default"}
    head = {"apiVersion": "networking.istio.io/v1", "kind": kind, "metadata": metadata}
    try:
        return admit({**head, "spec": spec})
    except InvalidResource:
        return None


@pytest.mark.parametrize("capture", list(Capture))
@pytest.mark.parametrize("seed", [1, 2])
async def test_nothing_that_is_accepted_is_refused_by_envoy(seed: int, capture: Capture) -> None:
    draw = Draw(seed)
    found: list[Resource[Any]] = []
    for number in range(SERVICES):
        spec = draw.service(number)
        entry = admitted("ServiceEntry", f"s{number}", spec)
        rule = admitted("DestinationRule", f"s{number}", draw.rule(spec))
        found += [item for item in (entry, rule) if item is not None]
    assert len(found) > SERVICES
    snapshot, _ = advance(empty(MeshSettings()), ChangeSet(tuple(found), (), "1"))
    proxy = Proxy("p", Role.SIDECAR, capture, (Workload("default", "client", http_proxy_port=free_port()),))
    identity = mesh_authority().svid("spiffe://cluster.local/ns/default/sa/default")
    static = static_config(snapshot, proxy, identity, mesh_authority().pem)
    expected = {item["name"] for item in static["clusters"]}
    if capture is Capture.TRANSPARENT:
        static["listeners"] = [item for item in static["listeners"] if not _binds(item)]
    async with run_envoy(static) as envoy:
        text = await envoy.admin("/clusters")
        assert {re.split("::", line)[0] for line in text.splitlines()} >= expected


def _binds(listener: dict[str, Any]) -> bool:
    """Without root and a network of its own, capture ports may be taken by another test."""
    return listener.get("bindToPort") is not False
