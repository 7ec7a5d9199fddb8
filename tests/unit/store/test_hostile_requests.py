"""Requests that nobody means well by: each gets a `Status` of its own fault, and the server goes on."""

import json
from random import Random
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from store_objects import configmap, service, virtual_service

from marline.api.errors import InvalidResource
from marline.store.embedded.http import protobuf
from marline.store.interface import AlreadyExists, BadRequest, Forbidden, NotFound, Refused
from marline.store.list_types import list_types
from marline.store.patch import BadPatch, Inapplicable, json_patch, strategic_merge_patch
from marline.store.remote.client import RemoteStore
from marline.store.tokens import NODES

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
SERVICE = "/api/v1/namespaces/default/services/s"
JSON = "application/json"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"
JSON_PATCH = "application/json-patch+json"


def nested(depth: int, inner: str = "1") -> str:
    return '{"a":' * depth + inner + "}" * depth


async def code_of(client: RemoteStore, method: str, path: str, body: Any, media: str = JSON) -> int:
    """The code of the answer, which must be a `Status` if it is no success."""
    payload = body.encode() if isinstance(body, str) else body
    try:
        return (await client.request(method, path, body=payload, content_type=media)).status
    except InvalidResource:
        return 422
    except (AlreadyExists, BadRequest, Forbidden, NotFound, Refused) as error:
        return error.code


@pytest.mark.parametrize(
    ("method", "path", "media", "body", "code"),
    [
        ("POST", CONFIGMAPS, JSON, "[" * 200_000, 400),
        ("POST", CONFIGMAPS, JSON, nested(900), 422),
        ("POST", CONFIGMAPS, JSON, b"\xff\xfe", 400),
        ("POST", CONFIGMAPS, JSON, b"", 400),
        ("POST", CONFIGMAPS, JSON, '{"metadata":[]}', 422),
        ("POST", CONFIGMAPS, JSON, '{"metadata":{"name":{"a":1}}}', 422),
        ("POST", CONFIGMAPS, JSON, '{"metadata":{"name":"../../etc/passwd"}}', 422),
        ("POST", CONFIGMAPS, JSON, '{"metadata":{"name":"a\\u0000b"}}', 422),
        ("POST", CONFIGMAPS, "text/plain", "{}", 415),
        ("POST", CONFIGMAPS, protobuf.MEDIA, b"k8s\x00\xff\xff", 400),
        ("PATCH", SERVICE + "/status", MERGE, f'{{"status":{nested(300)}}}', 422),
        ("PATCH", SERVICE + "/status", MERGE, f'{{"status":{nested(960)}}}', 400),
        ("PATCH", SERVICE, MERGE, '{"metadata":{"managedFields":[{"fieldsV1":1}]}}', 400),
        ("PATCH", SERVICE, MERGE, '{"metadata":{"labels":[1]}}', 422),
        ("PATCH", SERVICE, STRATEGIC, '{"spec":{"ports":[1]}}', 400),
        ("PATCH", SERVICE, STRATEGIC, '{"spec":{"$retainKeys":5}}', 400),
        ("PATCH", SERVICE, STRATEGIC, '{"spec":{"$setElementOrder/ports":[{"port":{}}]}}', 200),
        ("PATCH", SERVICE, JSON_PATCH, '[{"op":"add","path":"/x","value":' + nested(500) + "}]", 400),
        ("PATCH", SERVICE, JSON_PATCH, '[{"op":"replace","path":"","value":1}]', 400),
        ("PATCH", SERVICE, JSON_PATCH, '[{"op":"replace","path":"/metadata","value":null}]', 400),
        ("PATCH", SERVICE + "?fieldManager=x", APPLY, "a: " + "[" * 5_000, 400),
        ("PATCH", SERVICE + "?fieldManager=x", APPLY, '{"metadata":{"name":[1]}}', 400),
        ("DELETE", SERVICE, JSON, '{"preconditions":[1]}', 400),
        ("DELETE", SERVICE, JSON, '{"dryRun":5}', 400),
        ("GET", CONFIGMAPS + "/..%2f..%2fsecrets", JSON, None, 404),
        ("GET", "/api/v1/namespaces/..%2f/configmaps/x", JSON, None, 404),
        ("GET", CONFIGMAPS + "?limit=-1", JSON, None, 400),
        ("GET", CONFIGMAPS + "?limit=" + "9" * 5_000, JSON, None, 400),
        ("GET", CONFIGMAPS + "?watch=1&resourceVersion=" + "9" * 5_000, JSON, None, 400),
        ("GET", CONFIGMAPS + "?continue=AAAA", JSON, None, 400),
    ],
)  # fmt: skip
async def test_nonsense_is_the_callers_fault(
    client: RemoteStore, method: str, path: str, media: str, body: Any, code: int
) -> None:
    await client.create(service("s"))
    assert await code_of(client, method, path, body, media) == code
    assert [item.name for item in (await client.list("", "Service")).items] == ["s"]


async def test_patches_cannot_pile_up_depth_or_size(client: RemoteStore) -> None:
    await client.create(service("s"))
    deep = [{"op": "add", "path": "/status", "value": json.loads(nested(90))}]
    doubled = [{"op": "copy", "from": "/status", "path": "/status/x"}] * 60
    assert await code_of(client, "PATCH", SERVICE + "/status", json.dumps(deep), JSON_PATCH) == 200
    assert await code_of(client, "PATCH", SERVICE + "/status", json.dumps(doubled), JSON_PATCH) == 422
    await client.create(configmap("big"))
    for number in range(4):
        patch = {"data": {f"k{number}": "x" * 1_000_000}}
        code = await code_of(client, "PATCH", CONFIGMAPS + "/big", json.dumps(patch), MERGE)
        assert code == (200 if number < 3 else 413)


async def test_nodes_act_as_nobody_else(served: Any) -> None:
    async with served.client("node-1", NODES) as node:
        node._transport._open().headers["Impersonate-User"] = "admin"
        with pytest.raises(Forbidden, match="cannot impersonate"):
            await node.list("", "Secret")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(0, 3) | st.sampled_from(["port", "a", "replace"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["spec", "ports", "port", "finalizers", "metadata", "$patch", "$setElementOrder/ports"]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=12,
)


@given(VALUES, VALUES)
@example({"spec": {"ports": [1]}}, {"spec": {"ports": [{"port": 1}]}})
def test_strategic_patch_of_anything_is_applied_or_refused(target: Any, patch: Any) -> None:
    try:
        strategic_merge_patch(target, patch, list_types("", "Service"))
    except BadPatch:
        return


@given(
    VALUES,
    st.lists(
        st.fixed_dictionaries(
            {"op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test"])},
            optional={
                "path": st.sampled_from(["", "/", "/a", "/spec/ports/0", "/spec/ports/-", "/0"]),
                "from": st.sampled_from(["", "/spec", "/spec/ports/0", "/-"]),
                "value": VALUES,
            },
        ),
        max_size=4,
    ),
)
def test_json_patch_of_anything_is_applied_or_refused(target: Any, operations: Any) -> None:
    try:
        json_patch(target, operations)
    except (BadPatch, Inapplicable):
        return


@given(st.binary(max_size=60))
@example(b"\n\x02v1\x12\x03Foo")
def test_protobuf_of_anything_is_read_or_refused(body: bytes) -> None:
    try:
        protobuf.decode(b"k8s\x00" + body)
    except (BadRequest, Refused):
        return


RBAC = "/apis/rbac.authorization.k8s.io/v1"
REVIEWED = "/apis/authorization.k8s.io/v1"
TAKING = (
    CONFIGMAPS, "/marline/v1/apply", f"{RBAC}/clusterroles", f"{RBAC}/namespaces/default/rolebindings",
    f"{REVIEWED}/selfsubjectaccessreviews", f"{REVIEWED}/selfsubjectrulesreviews",
    f"{REVIEWED}/subjectaccessreviews", f"{REVIEWED}/namespaces/default/localsubjectaccessreviews",
    "/apis/networking.istio.io/v1/namespaces/default/virtualservices",
)  # fmt: skip
WORDS = (
    "metadata", "name", "rules", "verbs", "resources", "apiGroups", "roleRef", "subjects", "kind", "spec",
    "aggregationRule", "clusterRoleSelectors", "matchLabels", "matchExpressions", "key", "operator", "user",
    "resourceAttributes", "nonResourceAttributes", "verb", "path", "groups", "objects",
    "fieldManager", "labels",
)  # fmt: skip


def anything(random: Random, depth: int = 4) -> Any:
    """JSON of any form, with the names that the API knows."""
    scalars = (
        None,
        True,
        0,
        -1,
        1e300,
        "",
        "*",
        "a",
        "x/y",
        "\u0000",
        "In",
        "Role",
        "ClusterRole",
        "é" * 300,
    )
    form = random.randrange(3 if depth else 1)
    if form == 0:
        return random.choice(scalars)
    if form == 1:
        return [anything(random, depth - 1) for _ in range(random.randrange(3))]
    return {random.choice(WORDS): anything(random, depth - 1) for _ in range(random.randrange(5))}


async def test_any_body_is_taken_or_is_the_callers_fault(client: RemoteStore) -> None:
    random = Random(7)
    for number in range(400):
        body = anything(random) if number % 4 else {"metadata": {"name": "a"}} | {
            word: anything(random) for word in random.sample(WORDS, 4)
        }  # fmt: skip
        path = TAKING[number % len(TAKING)]
        assert await code_of(client, "POST", path, json.dumps(body)) in (200, 201, 400, 404, 409, 422), body


async def test_virtual_service_with_a_thousand_faults_names_them_all(client: RemoteStore) -> None:
    wrong = virtual_service("x")
    wrong["spec"]["http"] = [{"rout": []}] * 1_000
    with pytest.raises(InvalidResource) as caught:
        await client.create(wrong)
    assert len(caught.value.errors) == 1_000
