"""Endpoints come from selected workloads, from slices and from ServiceEntries; readiness decides."""

from typing import Any

import pytest
from mesh_resources import changed, mesh, resource, service, workload

from marline.api.resource import Resource
from marline.mesh.model import ChangeSet, Endpoint, Impact, Resolution
from marline.mesh.snapshot import MeshSnapshot, advance

REVIEWS = "reviews.default.svc.cluster.local"


def reached(snapshot: MeshSnapshot, hostname: str = REVIEWS) -> list[tuple[str, int]]:
    return [(item.address, item.port) for item in snapshot.endpoints(snapshot.services[hostname])]


def healthy(status: str) -> dict[str, Any]:
    return {"conditions": [{"type": "Healthy", "status": status}]}


def test_a_selected_workload_is_an_endpoint_of_each_port() -> None:
    snapshot = mesh(service("reviews", "http:9080 grpc:9090"), workload("reviews", ports={"http": 31000}))
    assert reached(snapshot) == [("10.0.0.1", 31000), ("10.0.0.1", 9090)]


def test_an_endpoint_carries_its_identity_and_labels() -> None:
    snapshot = mesh(service("reviews"), workload("reviews", locality="eu/a/1", weight=3))
    (endpoint,) = snapshot.endpoints(snapshot.services[REVIEWS])
    assert endpoint == Endpoint(
        service_port="http",
        address="10.0.0.1",
        port=9080,
        labels=(("app", "reviews"), ("security.istio.io/tlsMode", "istio"), ("version", "v1")),
        spiffe_id="spiffe://cluster.local/ns/default/sa/reviews",
        mtls=True,
        locality=endpoint.locality,
        weight=3,
        workload="reviews-1",
        namespace="default",
    )
    assert (endpoint.locality.region, endpoint.locality.sub_zone) == ("eu", "1")


@pytest.mark.parametrize(
    ("probed", "status", "ready"),
    [
        (False, {}, True),
        (False, healthy("False"), False),
        (True, {}, False),
        (True, healthy("True"), True),
        (True, healthy("False"), False),
        (False, {"conditions": "nonsense"}, True),
    ],
)
def test_a_probed_workload_waits_for_its_first_success(
    probed: bool, status: dict[str, Any], ready: bool
) -> None:
    annotations = {"marline.io/readiness-probed": "true"} if probed else {}
    snapshot = mesh(service("reviews"), workload("reviews", status=status, annotations=annotations))
    assert bool(reached(snapshot)) is ready


def test_readiness_changes_only_the_endpoints() -> None:
    snapshot = mesh(service("reviews"), workload("reviews"), workload("reviews", 2))
    after, impact = changed(snapshot, workload("reviews", 2, status=healthy("False")))
    assert reached(after) == [("10.0.0.1", 9080)]
    assert impact == Impact(endpoints=frozenset({REVIEWS}))


def test_a_workload_with_a_new_identity_changes_the_clusters() -> None:
    snapshot = mesh(service("reviews"), workload("reviews"))
    _, impact = changed(snapshot, workload("reviews", 2, serviceAccount="another"))
    assert impact.hosts == {REVIEWS}


def test_a_workload_that_goes_is_no_endpoint_any_more() -> None:
    entry = workload("reviews")
    snapshot = mesh(service("reviews"), entry)
    after, _ = advance(snapshot, ChangeSet((), (entry.ref,), "2"))
    assert reached(after) == []


def test_workloads_of_other_namespaces_and_labels_are_not_selected() -> None:
    snapshot = mesh(
        service("reviews", selector={"app": "reviews", "version": "v1"}),
        workload("reviews", 1),
        workload("reviews", 2),
        workload("reviews", 3, "other"),
    )
    assert reached(snapshot) == [("10.0.0.1", 9080)]


def test_a_target_port_may_be_a_name_of_the_workload() -> None:
    named = resource("Service", "reviews", ports=[{"name": "http", "port": 80, "targetPort": "web"}],
                     selector={"app": "reviews"}, clusterIP="10.96.0.1")  # fmt: skip
    assert reached(mesh(named, workload("reviews", ports={"web": 8123}))) == [("10.0.0.1", 8123)]
    assert reached(mesh(named, workload("reviews"))) == []


def test_slices_add_their_ready_endpoints() -> None:
    made = resource(
        "EndpointSlice",
        "reviews-x",
        labels={"kubernetes.io/service-name": "reviews"},
        addressType="IPv4",
        ports=[{"name": "http", "port": 8080}],
        endpoints=[
            {"addresses": ["10.1.0.1"]},
            {"addresses": ["10.1.0.2"], "conditions": {"ready": False}},
        ],
    )
    snapshot = mesh(service("reviews"))
    after, impact = changed(snapshot, made)
    assert (reached(after), impact.endpoints) == ([("10.1.0.1", 8080)], {REVIEWS})


def dns() -> Resource[Any]:
    ports = [{"name": "tcp", "port": 53}, {"name": "udp", "port": 53, "protocol": "UDP"}]
    return resource("Service", "reviews", ports=ports, selector={"app": "reviews"})


def test_a_udp_port_has_endpoints_without_identity() -> None:
    snapshot = mesh(dns(), workload("reviews", ports={"tcp": 31000, "udp": 31001}))
    tcp, udp = snapshot.endpoints(snapshot.services[REVIEWS])
    assert (tcp.service_port, tcp.port, tcp.mtls, bool(tcp.spiffe_id)) == ("tcp", 31000, True, True)
    assert (udp.service_port, udp.port, udp.mtls, bool(udp.spiffe_id)) == ("udp", 31001, False, False)


def test_a_slice_serves_ports_of_its_own_transport_only() -> None:
    made = resource(
        "EndpointSlice",
        "reviews-x",
        labels={"kubernetes.io/service-name": "reviews"},
        addressType="IPv4",
        ports=[
            {"name": "udp", "port": 5353, "protocol": "UDP"},
            {"name": "tcp", "port": 1, "protocol": "UDP"},
        ],
        endpoints=[{"addresses": ["10.1.0.1"]}],
    )
    assert reached(mesh(dns(), made)) == [("10.1.0.1", 5353)]


def test_a_service_entry_with_dns_and_no_endpoint_is_its_host() -> None:
    entry = resource("ServiceEntry", "x", hosts=["a.com", "b.com"], resolution="DNS",
                     ports=[{"number": 443, "name": "tls", "targetPort": 8443}])  # fmt: skip
    snapshot = mesh(entry)
    assert reached(snapshot, "b.com") == [("b.com", 8443)]
    assert snapshot.services["a.com"].resolution is Resolution.DNS


def test_a_service_entry_selects_workloads() -> None:
    entry = resource("ServiceEntry", "x", hosts=["a.com"], resolution="STATIC", location="MESH_INTERNAL",
                     workloadSelector={"labels": {"app": "reviews"}},
                     ports=[{"number": 80, "name": "http"}])  # fmt: skip
    snapshot, impact = changed(mesh(entry), workload("reviews"))
    assert (reached(snapshot, "a.com"), impact.hosts) == ([("10.0.0.1", 80)], {"a.com"})


def test_outside_the_mesh_there_is_no_mtls() -> None:
    entry = resource("ServiceEntry", "x", hosts=["a.com"], resolution="STATIC",
                     ports=[{"number": 80, "name": "http"}],
                     endpoints=[{"address": "1.2.3.4", "labels": {"security.istio.io/tlsMode": "istio"}}],
                     )  # fmt: skip
    snapshot = mesh(entry)
    assert [item.mtls for item in snapshot.endpoints(snapshot.services["a.com"])] == [False]
