"""A proxy's description survives the way through an Envoy's node metadata."""

import json
from typing import Any

import pytest
from google.protobuf import json_format, struct_pb2

from marline.mesh.model import (
    Capture,
    GatewayPort,
    InboundPort,
    Locality,
    Protocol,
    Proxy,
    Role,
    Upstream,
    Workload,
)
from marline.mesh.proxy import MalformedProxy, from_metadata, to_metadata

PROXY = Proxy(
    "sidecar~default~reviews-1~n",
    Role.SIDECAR,
    Capture.EXPLICIT,
    (
        Workload(
            "default",
            "reviews-1",
            labels=(("app", "reviews"),),
            inbound=(InboundPort("http", 31000, "127.0.0.1", 31001, Protocol.HTTP),),
            upstreams=(Upstream("ratings", 9080, 31002),),
            locality=Locality("eu"),
        ),
    ),
    gateway_ports=(GatewayPort(80, 8080),),
)


def test_json_keeps_everything() -> None:
    assert from_metadata(PROXY.node_id, json.loads(json.dumps(to_metadata(PROXY)))) == PROXY


def test_a_protobuf_struct_keeps_everything_although_it_has_no_integers() -> None:
    struct = struct_pb2.Struct()
    struct.update(to_metadata(PROXY))
    assert from_metadata(PROXY.node_id, json_format.MessageToDict(struct)) == PROXY


@pytest.mark.parametrize(
    ("metadata", "says"),
    [
        ({}, "has no MARLINE metadata"),
        ({"MARLINE": "x"}, "has no MARLINE metadata"),
        ({"MARLINE": {"role": "boss"}}, "role"),
        ({"MARLINE": {"role": "sidecar", "capture": "explicit", "workloads": []}}, "serves no workload"),
        ({"MARLINE": {"role": "sidecar", "capture": "explicit", "workloads": [{"name": 1}]}}, "workloads"),
    ],
)
def test_metadata_that_describes_no_proxy_is_refused(metadata: dict[str, Any], says: str) -> None:
    with pytest.raises(MalformedProxy, match=says):
        from_metadata("node", metadata)
