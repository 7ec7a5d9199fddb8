"""HTTPRoutes attach to the listeners that allow them, and are told why to no other."""

from typing import Any

import msgspec
import pytest
import yaml

from marline.api.gateway_api.gateway import GatewaySpec
from marline.api.gateway_api.http_route import HTTPRouteSpec
from marline.api.gateway_api.reference_grant import ReferenceGrantSpec
from marline.api.gateway_api.shared import GROUP, ParentReference
from marline.api.resource import ObjectMeta, Resource
from marline.compile.gateway_api_attach import Attachment, attach, names_owner
from marline.compile.gateway_api_backends import is_granted
from marline.compile.gateway_api_listeners import gateway_listeners

NAMESPACES = {"edge": {}, "prod": {"tier": "front"}, "dev": {"tier": "back"}}
LISTENERS = """
listeners:
- {name: own, port: 80, protocol: HTTP, hostname: "*.own.example"}
- name: labelled
  port: 80
  protocol: HTTP
  hostname: "*.front.example"
  allowedRoutes: {namespaces: {from: Selector, selector: {matchLabels: {tier: front}}}}
- {name: all, port: 8080, protocol: HTTP, allowedRoutes: {namespaces: {from: All}}}
- {name: raw, port: 9000, protocol: TCP, allowedRoutes: {namespaces: {from: All}}}
- name: grpc
  port: 8081
  protocol: HTTP
  allowedRoutes: {namespaces: {from: All}, kinds: [{kind: GRPCRoute}]}
gatewayClassName: marline
"""


def resource(kind: str, spec: Any, namespace: str, name: str = "it") -> Resource[Any]:
    return Resource(GROUP, "v1", kind, ObjectMeta(name=name, namespace=namespace), spec)


def gateway() -> Resource[GatewaySpec]:
    return resource("Gateway", from_yaml(LISTENERS, GatewaySpec), "edge", "gateway")


def from_yaml(text: str, kind: Any) -> Any:
    return msgspec.convert(yaml.safe_load(text), kind)


def bind(namespace: str, hostnames: tuple[str, ...] = (), **parent: Any) -> Attachment:
    route = resource("HTTPRoute", HTTPRouteSpec(hostnames=hostnames), namespace)
    listeners = gateway_listeners(gateway(), ())
    return attach(route, ParentReference(name="gateway", **parent), gateway(), listeners, NAMESPACES)


def names(attachment: Attachment) -> list[str]:
    return [bound.listener.name for bound in attachment.listeners]


@pytest.mark.parametrize(
    ("namespace", "expected"), [("edge", ["own", "all"]), ("prod", ["labelled", "all"]), ("dev", ["all"])]
)
def test_listeners_choose_the_namespaces_of_their_routes(namespace: str, expected: list[str]) -> None:
    assert names(bind(namespace)) == expected


def test_a_parent_reference_may_name_a_listener_or_a_port() -> None:
    assert names(bind("prod", section_name="all")) == ["all"]
    assert names(bind("prod", port=80)) == ["labelled"]
    assert bind("prod", section_name="absent").reason == "NoMatchingParent"


@pytest.mark.parametrize("section", ["own", "raw", "grpc"])
def test_a_listener_that_does_not_allow_the_route_says_so(section: str) -> None:
    assert bind("dev", section_name=section).reason == "NotAllowedByListeners"


def test_hostnames_must_overlap_with_the_listeners() -> None:
    assert names(bind("prod", ("a.front.example",))) == ["labelled", "all"]
    assert bind("prod", ("a.other.example",), section_name="labelled").reason == "NoMatchingListenerHostname"


def test_a_parent_is_in_the_routes_namespace_unless_it_says_otherwise() -> None:
    assert names_owner(ParentReference(name="gateway"), "edge", gateway())
    assert not names_owner(ParentReference(name="gateway"), "prod", gateway())
    assert names_owner(ParentReference(name="gateway", namespace="edge"), "prod", gateway())


def test_references_across_namespaces_need_a_grant_there() -> None:
    spec = """
from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: edge}]
to: [{group: "", kind: Service, name: reviews}]
"""
    grant = resource("ReferenceGrant", from_yaml(spec, ReferenceGrantSpec), "prod")
    route = (GROUP, "HTTPRoute", "edge")
    assert is_granted([], route, ("", "Service", "edge", "any"))
    assert is_granted([grant], route, ("", "Service", "prod", "reviews"))
    assert not is_granted([grant], route, ("", "Service", "prod", "ratings"))
    assert not is_granted([grant], (GROUP, "HTTPRoute", "dev"), ("", "Service", "prod", "reviews"))
    assert not is_granted([grant], route, ("", "Secret", "prod", "reviews"))
