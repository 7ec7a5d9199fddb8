"""What follows from a description: names, ports, environment, registration; in both capture modes."""

from collections.abc import Iterator

import msgspec
import pytest

from marline.mesh.model import Capture, GatewayPort, InboundPort, Locality, Protocol, Role, Upstream
from marline.node.plan import Place, Plan, plan_gateway, plan_workload, workload_name
from marline.node.workload import GatewayPortSpec, GatewaySpec, PortSpec, UpstreamSpec, WorkloadSpec

SPEC = WorkloadSpec(
    service="reviews",
    command=("serve",),
    namespace="books",
    version="v2",
    service_account="bookinfo-reviews",
    labels={"team": "a"},
    ports=(PortSpec("http", 9080), PortSpec("grpc-api", 9090, 5000), PortSpec("raw", 7000, 0, "tcp")),
    upstreams=(UpstreamSpec("ratings", 9080), UpstreamSpec("my-db.prod", 5432, "DB")),
    locality="eu/one/a",
    weight=3,
)
TRANSPARENT = Place(Capture.TRANSPARENT, "10.255.0.2", "/proc/1/fd/9", "/run/resolv.conf")


def planned(place: Place, spec: WorkloadSpec = SPEC) -> Plan:
    """Free ports are 20000 and those after it."""
    ports: Iterator[int] = iter(range(20000, 20100))
    return plan_workload(spec, "reviews-v2-abcde", "laptop", "cluster.local", place, lambda: next(ports))


@pytest.mark.parametrize("place", [Place(Capture.EXPLICIT), TRANSPARENT])
def test_who_it_is_does_not_depend_on_where(place: Place) -> None:
    plan = planned(place)
    assert plan.spiffe_id == "spiffe://cluster.local/ns/books/sa/bookinfo-reviews"
    assert plan.proxy.node_id == "sidecar~books~reviews-v2-abcde~laptop"
    assert (plan.proxy.role, plan.proxy.capture) == (Role.SIDECAR, place.capture)
    assert plan.cluster == "reviews.books"
    (workload,) = plan.proxy.workloads
    assert dict(workload.labels) == {"app": "reviews", "team": "a", "version": "v2"}
    assert workload.locality == Locality("eu", "one", "a")


def test_explicit_ports_are_free_ones_but_where_the_application_says_its_own() -> None:
    (workload,) = planned(Place(Capture.EXPLICIT)).proxy.workloads
    assert workload.inbound == (
        InboundPort("http", 20000, "127.0.0.1", 20001, Protocol.HTTP),
        InboundPort("grpc-api", 20002, "127.0.0.1", 5000, Protocol.GRPC),
        InboundPort("raw", 20003, "127.0.0.1", 20004, Protocol.TCP),
    )
    assert workload.upstreams == (Upstream("ratings", 9080, 20005), Upstream("my-db.prod", 5432, 20006))
    assert workload.http_proxy_port == 20007


@pytest.mark.parametrize(
    ("place", "listening", "told"),
    [(Place(Capture.EXPLICIT), [20000, 20002], "20002"), (TRANSPARENT, [53, 53], "53")],
)
def test_no_proxy_stands_before_a_udp_port(place: Place, listening: list[int], told: str) -> None:
    spec = msgspec.structs.replace(
        SPEC, ports=(PortSpec("tcp-dns", 53), PortSpec("udp-dns", 53)), upstreams=()
    )
    plan = planned(place, spec)
    assert [port.listen for port in plan.proxy.workloads[0].inbound] == listening
    assert plan.environment["PORT_UDP_DNS"] == told
    assert plan.listen["udp-dns"] == int(told)
    assert list(plan.app_ports) == [53]
    assert plan.service is not None
    assert plan.service["spec"]["ports"] == [
        {"name": "tcp-dns", "port": 53, "protocol": "TCP"},
        {"name": "udp-dns", "port": 53, "protocol": "UDP"},
    ]


def test_transparent_ports_are_the_applications() -> None:
    (workload,) = planned(TRANSPARENT).proxy.workloads
    assert [(port.listen, port.app_port) for port in workload.inbound] == [
        (9080, 9080),
        (5000, 5000),
        (7000, 7000),
    ]
    assert (workload.upstreams, workload.http_proxy_port) == ((), 0)


def test_an_application_is_told_loopback_ports_under_explicit_capture() -> None:
    assert planned(Place(Capture.EXPLICIT)).environment == {
        "MARLINE_WORKLOAD": "reviews-v2-abcde",
        "MARLINE_NAMESPACE": "books",
        "PORT": "20001",
        "PORT_HTTP": "20001",
        "PORT_GRPC_API": "5000",
        "PORT_RAW": "20004",
        "RATINGS_URL": "http://127.0.0.1:20005",
        "RATINGS_HOST": "127.0.0.1",
        "RATINGS_PORT": "20005",
        "DB_URL": "http://127.0.0.1:20006",
        "DB_HOST": "127.0.0.1",
        "DB_PORT": "20006",
        "HTTP_PROXY": "http://127.0.0.1:20007",
        "http_proxy": "http://127.0.0.1:20007",
        "HTTPS_PROXY": "http://127.0.0.1:20007",
        "https_proxy": "http://127.0.0.1:20007",
        "NO_PROXY": "localhost,127.0.0.1,::1",
        "no_proxy": "localhost,127.0.0.1,::1",
    }


def test_an_application_is_told_services_names_under_transparent_capture() -> None:
    told = planned(TRANSPARENT).environment
    assert (told["PORT"], told["PORT_GRPC_API"]) == ("9080", "5000")
    assert (told["RATINGS_URL"], told["DB_HOST"]) == ("http://ratings:9080", "my-db.prod")
    assert "HTTP_PROXY" not in told


@pytest.mark.parametrize(
    ("place", "address", "ports"),
    [
        (Place(Capture.EXPLICIT), "127.0.0.1", {"http": 20000, "grpc-api": 20002, "raw": 20003}),
        (TRANSPARENT, "10.255.0.2", {"http": 9080, "grpc-api": 5000, "raw": 7000}),
    ],
)
def test_its_entry_says_where_peers_connect(place: Place, address: str, ports: dict[str, int]) -> None:
    assert planned(place).entry == {
        "apiVersion": "networking.istio.io/v1",
        "kind": "WorkloadEntry",
        "metadata": {
            "name": "reviews-v2-abcde",
            "namespace": "books",
            "annotations": {"marline.io/managed-by": "laptop", "marline.io/readiness-probed": "true"},
        },
        "spec": {
            "address": address,
            "ports": ports,
            "labels": {
                "app": "reviews",
                "team": "a",
                "version": "v2",
                "security.istio.io/tlsMode": "istio",
            },
            "serviceAccount": "bookinfo-reviews",
            "weight": 3,
            "locality": "eu/one/a",
        },
    }


def test_its_service_selects_all_versions() -> None:
    service = planned(TRANSPARENT).service
    assert service is not None
    assert service["spec"] == {
        "selector": {"app": "reviews"},
        "ports": [
            {"name": "http", "port": 9080, "protocol": "TCP"},
            {"name": "grpc-api", "port": 9090, "protocol": "TCP", "targetPort": 5000},
            {"name": "raw", "port": 7000, "protocol": "TCP", "appProtocol": "tcp"},
        ],
    }


def test_what_serves_nothing_has_no_service() -> None:
    plan = planned(TRANSPARENT, msgspec.structs.replace(SPEC, ports=()))
    assert plan.service is None
    assert "PORT" not in plan.environment


@pytest.mark.parametrize(
    ("service", "version", "name"),
    [
        ("reviews", "", "reviews-abcde"),
        ("reviews", "v1", "reviews-v1-abcde"),
        ("reviews", "1.2.3", "reviews-1-2-3-abcde"),
        ("reviews", "V1_beta.", "reviews-v1-beta-abcde"),
        ("reviews", "__", "reviews-abcde"),
    ],
)
def test_an_instances_name_is_a_dns_name_whatever_its_version(service: str, version: str, name: str) -> None:
    assert workload_name(service, version, "abcde") == name


def test_a_gateway_listens_where_it_is_told() -> None:
    ports = (GatewayPortSpec(80, 8080), GatewayPortSpec(443))
    plan = plan_gateway(
        GatewaySpec("ingress", ports, labels={"zone": "dmz"}), "laptop", "cluster.local", is_root=False
    )
    assert plan.name == "ingress-laptop"
    assert plan.proxy.node_id == "gateway~istio-system~ingress-laptop~laptop"
    assert plan.proxy.gateway_ports == (GatewayPort(80, 8080), GatewayPort(443, 443))
    assert dict(plan.proxy.workloads[0].labels) == {"app": "ingress", "istio": "ingress", "zone": "dmz"}
    assert plan.spiffe_id == "spiffe://cluster.local/ns/istio-system/sa/ingress"
    assert plan.listen == {"80": 8080, "443": 443}
    free = plan_gateway(GatewaySpec("ingress"), "laptop", "cluster.local", is_root=False)
    assert (free.listen, free.service) == ({}, None)
    assert free.entry is not None and free.entry["spec"]["ports"] == {}


@pytest.mark.parametrize(
    ("bind", "mesh_address", "reached", "listens"),
    [
        ("127.0.0.1", "", "127.0.0.1", ""),
        ("127.0.0.1", "10.255.0.7", "10.255.0.7", "10.255.0.7"),
        ("0.0.0.0", "10.255.0.7", "10.255.0.7", ""),  # noqa: S104 (one of its own is among all)
        ("0.0.0.0", "", "127.0.0.1", ""),  # noqa: S104
    ],
)
def test_a_gateway_has_a_service_at_an_address_that_workloads_reach(
    bind: str, mesh_address: str, reached: str, listens: str
) -> None:
    ports = (GatewayPortSpec(80, 8080), GatewayPortSpec(443, name="tls-own"), GatewayPortSpec(9000))
    spec = GatewaySpec("egress", ports, bind=bind)
    plan = plan_gateway(spec, "laptop", "cluster.local", is_root=False, mesh_address=mesh_address)
    assert plan.entry is not None
    assert plan.service is not None
    assert plan.entry["metadata"]["name"] == plan.proxy.workloads[0].name
    assert plan.entry["spec"]["address"] == reached
    assert plan.entry["spec"]["ports"] == {"http2": 8080, "tls-own": 443, "tcp-9000": 9000}
    assert "security.istio.io/tlsMode" not in plan.entry["spec"]["labels"]
    assert [port["port"] for port in plan.service["spec"]["ports"]] == [80, 443, 9000]
    assert plan.service["spec"]["selector"].items() <= plan.entry["spec"]["labels"].items()
    assert plan.proxy.mesh_address == listens


@pytest.mark.parametrize(
    ("listen", "is_root", "may"), [(80, True, True), (80, False, False), (8080, True, False)]
)
def test_only_roots_gateway_may_bind_low_ports_and_only_if_it_has_some(
    listen: int, is_root: bool, may: bool
) -> None:
    spec = GatewaySpec("ingress", (GatewayPortSpec(80, listen),))
    assert plan_gateway(spec, "laptop", "cluster.local", is_root=is_root).proxy.privileged_ports is may
