"""VirtualService matches become Envoy matches; conditions on the proxy are decided when compiling."""

import msgspec
import pytest
import yaml

from marline.api.networking.virtual_service import HTTPMatchRequest, VirtualServiceSpec
from marline.api.resource import ObjectMeta, Resource
from marline.compile.routes_active import Side, active_rules
from marline.compile.routes_match import is_catch_all, route_match
from marline.mesh.rules import bound_gateways, speaks_for_mesh


def match(text: str) -> HTTPMatchRequest:
    return msgspec.convert(yaml.safe_load(text), HTTPMatchRequest)


def virtual_service(text: str) -> Resource[VirtualServiceSpec]:
    metadata = ObjectMeta(name="reviews", namespace="default")
    spec = msgspec.convert(yaml.safe_load(text), VirtualServiceSpec)
    return Resource("networking.istio.io", "v1", "VirtualService", metadata, spec)


def side(port: int = 9080, gateway: str = "mesh", namespace: str = "default", **labels: str) -> Side:
    return Side(port, gateway, labels, namespace)


@pytest.mark.parametrize("text", ["{}", "{uri: {prefix: /}}", "{uri: {regex: .*}}", "{port: 9080}"])
def test_a_match_without_conditions_on_requests_is_for_all(text: str) -> None:
    assert is_catch_all(match(text))


@pytest.mark.parametrize(
    "text",
    ["{uri: {exact: /}}", "{headers: {a: {}}}", "{withoutHeaders: {a: {}}}", "{queryParams: {a: {}}}",
     "{method: {exact: GET}}", "{authority: {exact: a}}", "{scheme: {exact: https}}"],
)  # fmt: skip
def test_any_condition_on_requests_leaves_some_for_the_next_rule(text: str) -> None:
    assert not is_catch_all(match(text))


def test_header_conditions_become_matchers_in_a_stable_order() -> None:
    made = route_match(match("{headers: {z: {exact: v}, a: {regex: '[0-9]+'}}, withoutHeaders: {w: {}}}"))
    assert [(item.name, item.invert_match) for item in made.headers] == [
        ("a", False), ("z", False), ("w", True),
    ]  # fmt: skip
    assert made.headers[2].present_match


def test_ignoring_case_does_not_concern_regular_expressions() -> None:
    assert route_match(match("{uri: {exact: /A}, ignoreUriCase: true}")).case_sensitive.value is False
    assert not route_match(match("{uri: {regex: /A}, ignoreUriCase: true}")).HasField("case_sensitive")


RULES = """
hosts: [reviews]
http:
- match: [{port: 80}, {port: 9080, uri: {exact: /a}}]
- match: [{sourceLabels: {app: web, version: v1}}]
- match: [{sourceNamespace: prod, uri: {exact: /b}}]
- match: [{gateways: [edge], uri: {exact: /c}}, {gateways: [mesh], uri: {exact: /d}}]
- name: rest
- name: never
"""


def indices(where: Side) -> list[tuple[int, tuple[int, ...]]]:
    return [(rule.index, rule.matches) for rule in active_rules(virtual_service(RULES), where)]


def test_only_rules_that_can_hold_for_the_proxy_remain() -> None:
    assert indices(side()) == [(0, (1,)), (3, (1,)), (4, ())]
    assert indices(side(namespace="prod")) == [(0, (1,)), (2, (0,)), (3, (1,)), (4, ())]
    assert indices(side(gateway="default/edge")) == [(0, (1,)), (3, (0,)), (4, ())]


def test_what_comes_after_a_rule_for_everything_is_left_out() -> None:
    assert indices(side(port=80)) == [(0, (0,))]
    assert indices(side(app="web", version="v1", more="x")) == [(0, (1,)), (1, (0,))]


@pytest.mark.parametrize(
    ("gateways", "mesh", "bound"),
    [
        ("[]", True, set()), ("[edge]", False, {"default/edge"}), ("[edge, mesh]", True, {"default/edge"}),
        ("[infra/edge, ./edge]", False, {"infra/edge", "default/edge"}),
    ],
)  # fmt: skip
def test_a_virtual_service_speaks_for_the_gateways_that_it_names(
    gateways: str, mesh: bool, bound: set[str]
) -> None:
    resource = virtual_service(f"{{hosts: [reviews], gateways: {gateways}}}")
    assert (speaks_for_mesh(resource), bound_gateways(resource)) == (mesh, bound)
