"""What Envoy's RBAC covers, read from its configuration."""

from typing import Any

import pytest
from envoy.config.rbac.v3 import rbac_pb2
from envoy.extensions.path.match.uri_template.v3 import uri_template_match_pb2
from google.protobuf import json_format

from marline.explain.rbac import Attempt, covering, covers, metadata_fits
from marline.explain.request import CannotTell, Request

ANY = {"any": True}
BOOK = "spiffe://cluster.local/ns/default/sa/book"
TOKENS = {"jwt": {"payload": {"iss": "me", "groups": ["a", "b"]}}}


def policy(permission: Any = ANY, principal: Any = ANY) -> Any:
    said = {"permissions": [permission], "principals": [principal]}
    return json_format.ParseDict(said, rbac_pb2.Policy())


def claim(name: str, value: Any) -> dict[str, Any]:
    return {"metadata": {"filter": "jwt", "path": [{"key": "payload"}, {"key": name}], "value": value}}


def attempt(path: str = "/a", **more: Any) -> Attempt:
    request = Request("app", "GET", path, "http", (("x-user", "ann"),))
    given = {"principals": (BOOK,), "source": "10.0.0.7", "port": 80, "metadata": TOKENS, **more}
    return Attempt(request=request, **given)


@pytest.mark.parametrize(
    ("permission", "covered"),
    [
        (ANY, True),
        ({"url_path": {"path": {"prefix": "/a"}}}, True),
        ({"url_path": {"path": {"exact": "/a?b"}}}, False),
        ({"header": {"name": ":method", "string_match": {"exact": "POST"}}}, False),
        ({"destination_port": 80}, True),
        ({"destination_port_range": {"start": 81, "end": 90}}, False),
        ({"not_rule": {"destination_port": 81}}, True),
        ({"and_rules": {"rules": [{"destination_port": 80}, {"destination_port": 81}]}}, False),
        ({"or_rules": {"rules": [{"destination_port": 80}, {"destination_port": 81}]}}, True),
        ({"requested_server_name": {"exact": "web.test"}}, True),
        (claim("iss", {"string_match": {"exact": "me"}}), True),
        (claim("groups", {"list_match": {"one_of": {"string_match": {"exact": "b"}}}}), True),
        (claim("sub", {"present_match": True}), False),
        (
            claim(
                "iss",
                {"or_match": {"value_matchers": [{"null_match": {}}, {"string_match": {"prefix": "m"}}]}},
            ),
            True,
        ),
    ],
)
def test_what_is_permitted(permission: Any, covered: bool) -> None:
    assert covers(policy(permission), attempt("/a?b", server_name="web.test")) is covered


@pytest.mark.parametrize(
    ("principal", "covered"),
    [
        ({"authenticated": {}}, True),
        ({"authenticated": {"principal_name": {"exact": BOOK}}}, True),
        ({"authenticated": {"principal_name": {"prefix": "spiffe://other/"}}}, False),
        ({"not_id": {"authenticated": {"principal_name": {"exact": BOOK}}}}, False),
        ({"direct_remote_ip": {"address_prefix": "10.0.0.0", "prefix_len": 8}}, True),
        ({"remote_ip": {"address_prefix": "10.0.1.0", "prefix_len": 24}}, False),
        ({"header": {"name": "x-user", "string_match": {"suffix": "nn"}}}, True),
        ({"and_ids": {"ids": [ANY, {"not_id": ANY}]}}, False),
        ({"or_ids": {"ids": [ANY, {"not_id": ANY}]}}, True),
    ],
)
def test_who_is_meant(principal: Any, covered: bool) -> None:
    assert covers(policy(principal=principal), attempt()) is covered


def test_without_a_certificate_nobody_is_authenticated() -> None:
    assert not covers(policy(principal={"authenticated": {}}), attempt(principals=()))


@pytest.mark.parametrize(
    ("template", "path", "covered"),
    [
        ("/a/*/c", "/a/b/c", True),
        ("/a/*/c", "/a/b/b/c", False),
        ("/a/**", "/a/b/c", True),
        ("/a/{one}/c", "/a/b/c", True),
        ("/a/{rest=**}", "/a/", True),
        ("/a/*", "/a/", False),
        ("/a.b", "/aab", False),
    ],
)
def test_path_templates_have_segments(template: str, path: str, covered: bool) -> None:
    permission = rbac_pb2.Permission()
    permission.uri_template.typed_config.Pack(
        uri_template_match_pb2.UriTemplateMatchConfig(path_template=template)
    )
    made = rbac_pb2.Policy(permissions=[permission], principals=[rbac_pb2.Principal(any=True)])
    assert covers(made, attempt(path)) is covered


def test_of_several_the_first_by_name_is_named() -> None:
    rules = rbac_pb2.RBAC()
    for name in ("b", "c", "a"):
        rules.policies[name].CopyFrom(policy(ANY if name != "a" else {"destination_port": 1}))
    assert covering(rules, attempt()) == "b"


def test_what_cannot_be_told_matters_only_if_nothing_else_settles_it() -> None:
    unknown = {"direct_remote_ip": {"address_prefix": "10.0.0.0", "prefix_len": 8}}
    somewhere = attempt(source="")
    with pytest.raises(CannotTell):
        covers(policy(principal=unknown), somewhere)
    with pytest.raises(CannotTell):
        covers(policy(principal={"not_id": unknown}), somewhere)
    assert not covers(policy({"destination_port": 1}, unknown), somewhere)
    assert covers(policy(principal={"or_ids": {"ids": [unknown, ANY]}}), somewhere)
    assert not covers(policy(principal={"and_ids": {"ids": [unknown, {"not_id": ANY}]}}), somewhere)


def test_conditions_of_requests_hold_for_no_connection() -> None:
    connection = Attempt(principals=(BOOK,), port=80)
    assert not covers(policy({"url_path": {"path": {"prefix": "/"}}}), connection)
    assert not covers(policy({"header": {"name": "x", "present_match": True}}), connection)


def test_metadata_may_be_asked_for_in_the_negative() -> None:
    matcher = json_format.ParseDict(
        claim("iss", {"string_match": {"exact": "you"}})["metadata"] | {"invert": True},
        type(rbac_pb2.Permission().metadata)(),
    )
    assert metadata_fits(matcher, TOKENS)
