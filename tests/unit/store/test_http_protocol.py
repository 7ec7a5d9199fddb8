"""The Kubernetes protocol over HTTPS, as clients other than ours speak it."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from served_store import Served
from store_objects import configmap, namespace, service, virtual_service

from marline.store.embedded.http import watch
from marline.store.interface import BadRequest, Expired, Refused
from marline.store.remote.client import TABLE, RemoteStore

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"


async def get(client: RemoteStore, path: str, **params: str) -> Any:
    return (await client.request("GET", path, params=params)).json()


async def watch_lines(client: RemoteStore, path: str, **params: str) -> AsyncIterator[Any]:
    async for line in client._transport.lines(path, {"watch": "true", **params}, silence=10):
        yield msgspec.json.decode(line)


async def test_pages_of_a_list_show_one_moment(client: RemoteStore) -> None:
    for number in range(7):
        await client.create(configmap(f"c{number}", {"n": "old"}))
    page = await get(client, CONFIGMAPS, limit="3")
    assert page["metadata"]["remainingItemCount"] == 4
    await client.update(configmap("c6", {"n": "new"}))
    await client.delete((await client.list("", "ConfigMap")).items[5].ref)
    names, items = [], page["items"]
    while token := page["metadata"].get("continue"):
        page = await get(client, CONFIGMAPS, limit="3", **{"continue": token})
        items += page["items"]
    names = [item["metadata"]["name"] for item in items]
    assert names == [f"c{number}" for number in range(7)]
    assert items[6]["data"] == {"n": "old"}


async def test_malformed_continue_token_is_refused(client: RemoteStore) -> None:
    with pytest.raises(BadRequest):
        await get(client, CONFIGMAPS, **{"continue": "xx"})


async def test_every_version_lists_every_object(client: RemoteStore) -> None:
    await client.create(virtual_service("a", version="v1alpha3"))
    for version in ("v1", "v1beta1", "v1alpha3"):
        base = f"/apis/networking.istio.io/{version}"
        listing = await get(client, f"{base}/namespaces/default/virtualservices")
        assert listing["apiVersion"] == f"networking.istio.io/{version}"
        assert [item["apiVersion"] for item in listing["items"]] == [f"networking.istio.io/{version}"]
        assert (await get(client, f"{base}/virtualservices"))["items"]


async def test_watch_from_a_version_sends_what_came_after(client: RemoteStore) -> None:
    await client.create(configmap("a"))
    start = (await client.list("", "ConfigMap")).resource_version
    await client.create(configmap("b"))
    await client.update(configmap("a", {"k": "v"}))
    events = watch_lines(client, "/api/v1/configmaps", resourceVersion=start)
    found = [await anext(events) for _ in range(2)]
    assert [(event["type"], event["object"]["metadata"]["name"]) for event in found] == [
        ("ADDED", "b"),
        ("MODIFIED", "a"),
    ]
    await events.aclose()


async def test_watch_by_label_sees_objects_come_and_go(client: RemoteStore) -> None:
    start = (await client.list("", "ConfigMap")).resource_version
    events = watch_lines(client, "/api/v1/configmaps", resourceVersion=start, labelSelector="app=x")
    await client.create(configmap("a"))
    await client.update(configmap("a", labels={"app": "x"}))
    await client.update(configmap("a", {"k": "v"}, labels={"app": "x"}))
    await client.update(configmap("a", {"k": "v"}, labels={"app": "y"}))
    assert [(await anext(events))["type"] for _ in range(3)] == ["ADDED", "MODIFIED", "DELETED"]
    await events.aclose()


async def test_watch_list_ends_the_present_state_with_a_bookmark(client: RemoteStore) -> None:
    await client.create(configmap("a"))
    events = watch_lines(
        client, CONFIGMAPS, sendInitialEvents="true", resourceVersionMatch="NotOlderThan",
        allowWatchBookmarks="true",
    )  # fmt: skip
    assert (await anext(events))["type"] == "ADDED"
    bookmark = await anext(events)
    assert bookmark["type"] == "BOOKMARK"
    assert bookmark["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    await events.aclose()


async def test_watch_from_a_forgotten_version_says_410(client: RemoteStore, served: Served) -> None:
    await client.create(configmap("a"))
    served.store.state.history.forget(0)
    events = watch_lines(client, CONFIGMAPS, resourceVersion="1")
    event = await anext(events)
    assert (event["type"], event["object"]["code"], event["object"]["reason"]) == ("ERROR", 410, "Expired")
    with pytest.raises(Expired):
        await get(client, CONFIGMAPS, resourceVersion="1", resourceVersionMatch="Exact")


async def test_silent_watch_gets_bookmarks_from_which_it_can_go_on(
    client: RemoteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "BOOKMARK_SECONDS", 0.05)
    start = (await client.list("", "ConfigMap")).resource_version
    events = watch_lines(client, CONFIGMAPS, resourceVersion=start, allowWatchBookmarks="true")
    made = await client.create(service("s"))
    event = await anext(events)
    while event["object"]["metadata"]["resourceVersion"] != made.metadata.resource_version:
        event = await anext(events)
    assert event["type"] == "BOOKMARK"
    assert event["object"]["kind"] == "ConfigMap"
    await events.aclose()


async def test_watch_ends_after_its_time(client: RemoteStore) -> None:
    events = [event async for event in watch_lines(client, CONFIGMAPS, timeoutSeconds="1")]
    assert events == []


async def test_table_has_columns_and_cells(client: RemoteStore) -> None:
    await client.create(service("s", selector={"app": "x"}))
    answer = await client.request("GET", "/api/v1/services", accept=TABLE)
    found = answer.json()
    wide = {column["name"]: column["priority"] for column in found["columnDefinitions"]}
    assert wide["Port(s)"] == 0
    assert wide["Selector"] == 1
    cells = dict(zip(wide, found["rows"][0]["cells"], strict=True))
    assert cells["Name"] == "s"
    assert cells["Port(s)"] == "80/TCP"
    assert cells["Selector"] == "app=x"
    assert found["rows"][0]["object"]["kind"] == "PartialObjectMetadata"


async def test_table_of_a_watch_has_headers_once(client: RemoteStore) -> None:
    await client.create(configmap("a"))
    await client.create(configmap("b"))
    lines = client._transport.lines("/api/v1/configmaps", {"watch": "1"}, silence=10, accept=TABLE)
    tables = [msgspec.json.decode(await anext(lines))["object"] for _ in range(2)]
    assert [len(table["columnDefinitions"]) for table in tables] == [3, 0]
    assert tables[1]["rows"][0]["cells"][:2] == ["b", 0]
    await lines.aclose()


async def test_delete_collection_takes_those_selected(client: RemoteStore) -> None:
    await client.create(configmap("a", labels={"app": "x"}))
    await client.create(configmap("b"))
    await client.request("DELETE", CONFIGMAPS, params={"labelSelector": "app=x"})
    assert [item.name for item in (await client.list("", "ConfigMap")).items] == ["b"]


async def test_events_are_one_storage_under_two_groups(client: RemoteStore) -> None:
    event = {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": "e", "namespace": "default"},
        "regarding": {"kind": "Service", "name": "s"},
        "note": "hello",
        "reason": "Said",
        "deprecatedCount": 2,
    }
    path = "/apis/events.k8s.io/v1/namespaces/default/events"
    await client.request("POST", path, body=event)
    core = await get(client, "/api/v1/events", fieldSelector="involvedObject.name=s")
    assert (core["items"][0]["message"], core["items"][0]["count"]) == ("hello", 2)
    assert (await get(client, f"{path}/e"))["note"] == "hello"
    assert (await get(client, path, fieldSelector="regarding.name=other"))["items"] == []


@pytest.mark.parametrize(
    ("method", "path", "body", "code"),
    [
        ("GET", "/api/v1/pods", None, 404),
        ("GET", "/apis/nothing.example.com/v1", None, 404),
        ("GET", "/nowhere", None, 404),
        ("POST", "/api/v1/configmaps", configmap("a"), 405),
        ("PUT", CONFIGMAPS, configmap("a"), 405),
        ("POST", CONFIGMAPS, b"{", 400),
        ("POST", CONFIGMAPS, [], 400),
        ("POST", CONFIGMAPS, service("a"), 400),
        ("POST", CONFIGMAPS, configmap("a", namespace="other"), 400),
        ("POST", CONFIGMAPS, configmap("a", resourceVersion="1"), 400),
        ("POST", CONFIGMAPS + "?dryRun=Some", configmap("a"), 400),
        ("GET", CONFIGMAPS + "?labelSelector=((", None, 400),
        ("GET", CONFIGMAPS + "?fieldSelector=data.a=b", None, 400),
        ("GET", CONFIGMAPS + "?watch=maybe", None, 400),
        ("POST", CONFIGMAPS, b'"' + b"x" * 3_200_000 + b'"', 413),
        ("GET", CONFIGMAPS + "/a/status", None, 404),
        ("DELETE", "/api/v1/namespaces/default/status", None, 405),
    ],
)
async def test_wrong_requests_get_a_status(
    client: RemoteStore, method: str, path: str, body: Any, code: int
) -> None:
    with pytest.raises((Refused, BadRequest, Exception)) as caught:
        await client.request(method, path, body=body)
    assert getattr(caught.value, "code", None) == code, caught.value


async def test_yaml_bodies_are_read(client: RemoteStore) -> None:
    text = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {time: '2020-01-01', on: 'yes'}\n"
    answer = await client.request("POST", CONFIGMAPS, body=text, content_type="application/yaml")
    assert answer.json()["data"] == {"time": "2020-01-01", "on": "yes"}
    bomb = b"a: &a [x, x]\nb: [*a, *a]\n"
    with pytest.raises(BadRequest, match="alias"):
        await client.request("POST", CONFIGMAPS, body=bomb, content_type="application/yaml")


async def test_discovery_names_every_served_kind(client: RemoteStore) -> None:
    groups = await get(client, "/apis")
    assert "networking.istio.io" in [group["name"] for group in groups["groups"]]
    resources = await get(client, "/apis/networking.istio.io/v1beta1")
    names = [resource["name"] for resource in resources["resources"]]
    assert {"virtualservices", "virtualservices/status", "gateways"} <= set(names)
    accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"
    answer = await client.request("GET", "/apis", accept=accept)
    assert answer.json()["kind"] == "APIGroupDiscoveryList"


async def test_openapi_describes_every_kind_and_refers_to_nothing_absent(client: RemoteStore) -> None:
    root = await get(client, "/openapi/v3")
    for path, entry in root["paths"].items():
        document = await get(client, entry["serverRelativeURL"].partition("?")[0])
        schemas = document["components"]["schemas"]
        text = json.dumps(document)
        for reference in text.split('"#/components/schemas/')[1:]:
            assert reference.partition('"')[0] in schemas, path
        assert any("x-kubernetes-group-version-kind" in schema for schema in schemas.values())


async def test_server_ends_its_watches_when_it_closes(served: Served) -> None:
    async with served.client() as client:
        lines = client._transport.lines("/api/v1/configmaps", {"watch": "1"}, silence=30)
        await client.create(namespace("x"))
        waiting = asyncio.create_task(anext(lines, None))
        await asyncio.sleep(0.05)
        await asyncio.wait_for(served.server.close(), 5)
        await asyncio.wait([waiting], timeout=5)
        assert waiting.done()
        waiting.exception()
