"""What a proxy should have, put together unit by unit, and how it goes over the wire."""

from conversations import blob
from envoy.config.cluster.v3 import cluster_pb2
from envoy.service.discovery.v3 import discovery_pb2

from marline.compile.passthrough import BLACK_HOLE, passthrough_recipes
from marline.compile.resource import CLUSTER, VIRTUAL_HOST
from marline.compile.units import HostUnit
from marline.mesh.model import Capture
from marline.xds.messages import Request, Response, decode, encode
from marline.xds.view import View

A, B = HostUnit("a"), HostUnit("b")


def test_only_what_differs_is_named() -> None:
    view = View()
    assert view.replace({A: [blob("CDS", "a@1"), blob("CDS", "c@1")]}) == ((CLUSTER, "a"), (CLUSTER, "c"))
    assert view.replace({A: [blob("CDS", "a@1"), blob("CDS", "c@2")]}) == ((CLUSTER, "c"),)
    assert view.replace({A: [blob("CDS", "a@1"), blob("CDS", "c@2")]}) == ()


def test_a_unit_of_nothing_is_gone() -> None:
    view = View()
    view.replace({A: [blob("CDS", "a@1")], B: [blob("CDS", "b@1")]})
    assert view.replace({A: ()}) == ((CLUSTER, "a"),)
    assert view.get(CLUSTER, "a") is None
    assert view.get(CLUSTER, "b") is not None
    assert view.replace({A: ()}) == ()


def test_a_resource_moves_from_one_unit_to_another() -> None:
    for units in ({A: [], B: [blob("VHDS", "t/x@1")]}, {B: [blob("VHDS", "t/x@1")], A: []}):
        view = View()
        view.replace({A: [blob("VHDS", "t/x@1")]})
        assert view.replace(units) == ()
        assert view.get(VIRTUAL_HOST, "t/x") is not None
        assert view.replace({A: []}) == ()
        assert view.replace({B: []}) == ((VIRTUAL_HOST, "t/x"),)


def test_a_response_is_a_head_and_the_bytes_of_its_resources() -> None:
    blobs = tuple(recipe.make() for recipe in passthrough_recipes(Capture.TRANSPARENT, 10.0))
    wire = encode(Response(CLUSTER, "7", blobs, ("gone", "too")))
    read = discovery_pb2.DeltaDiscoveryResponse.FromString(wire)
    assert (read.type_url, read.nonce, list(read.removed_resources)) == (CLUSTER, "7", ["gone", "too"])
    assert [(item.name, item.version) for item in read.resources] == [
        (item.name, item.version) for item in blobs
    ]
    black_hole = cluster_pb2.Cluster()
    assert read.resources[1].resource.Unpack(black_hole)
    assert black_hole.name == BLACK_HOLE


def test_a_request_is_read_with_all_that_it_says() -> None:
    message = discovery_pb2.DeltaDiscoveryRequest(
        type_url=CLUSTER,
        resource_names_subscribe=["a"],
        resource_names_unsubscribe=["b"],
        initial_resource_versions={"c": "1"},
        response_nonce="7",
    )
    assert decode(message) == Request(CLUSTER, ("a",), ("b",), {"c": "1"}, "7", None)
    message.error_detail.code = 13
    assert decode(message).error == ""
    message.error_detail.message = "bad"
    assert decode(message).error == "bad"
