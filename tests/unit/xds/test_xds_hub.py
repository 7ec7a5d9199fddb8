"""Many proxies, one mesh: what they share is made once, and a change costs those whom it concerns."""

import asyncio

from proxies import Witness, instance, service, sidecar

from marline.compile.resource import CLUSTER, ENDPOINT
from marline.mesh.model import ChangeSet, MeshSettings
from marline.xds.hub import Connection, Hub
from marline.xds.messages import Request, Response

REVIEWS = "outbound|9080||reviews.default.svc.cluster.local"
PRIVATE = "outbound|9080||private.other.svc.cluster.local"


async def hub_with(*names: str) -> tuple[Hub, Witness]:
    witness = Witness()
    hub = Hub(MeshSettings(), witness, clock=lambda: 7.0)
    services = [service(name, number) for number, name in enumerate(names, 1)]
    await hub.apply(ChangeSet(tuple(services), (), "1"))
    return hub, witness


def clusters_of(hub: Hub, connection: Connection, sent: list[Response]) -> None:
    """The proxy asks for its clusters, and takes them."""
    hub.receive(connection, Request(CLUSTER))
    hub.receive(connection, Request(CLUSTER, nonce=sent[-1].nonce))


async def test_what_proxies_have_in_common_is_made_once() -> None:
    hub, _ = await hub_with("reviews", "ratings")
    one, two = [hub.connect(sidecar(name), lambda _: None).view for name in ("a", "b")]
    for type_url in one.resources:
        for name, blob in one.resources[type_url].items():
            if not name.startswith(("virtual", "0.0.0.0_")):
                assert two.get(type_url, name) is blob


async def test_a_change_makes_only_what_differs_and_once_for_all() -> None:
    hub, _ = await hub_with("reviews", "ratings")
    one, two = [hub.connect(sidecar(name), lambda _: None).view for name in ("a", "b")]
    before = {(kind, name): blob for kind, found in one.resources.items() for name, blob in found.items()}
    await hub.apply(ChangeSet((instance("reviews", "10.0.0.1"),), (), "2"))
    differing = [key for key, blob in before.items() if one.get(*key) is not blob]
    assert differing == [(ENDPOINT, REVIEWS)]
    assert one.get(ENDPOINT, REVIEWS) is two.get(ENDPOINT, REVIEWS)


async def test_a_change_back_makes_the_version_that_there_was() -> None:
    hub, _ = await hub_with("reviews")
    view = hub.connect(sidecar("a"), lambda _: None).view
    before = view.get(ENDPOINT, REVIEWS)
    entry = instance("reviews", "10.0.0.1")
    await hub.apply(ChangeSet((entry,), (), "2"))
    await hub.apply(ChangeSet((), (entry.ref,), "3"))
    after = view.get(ENDPOINT, REVIEWS)
    assert before is not None
    assert after is not None
    assert before.version == after.version


async def test_a_proxy_that_does_not_see_a_service_is_not_told_of_it() -> None:
    hub, _ = await hub_with("reviews")
    sent: dict[str, list[Response]] = {"default": [], "other": []}
    for namespace, told in sent.items():
        clusters_of(hub, hub.connect(sidecar(namespace, namespace), told.append), told)
        told.clear()
    private = service("private", 9, "other", **{"networking.istio.io/exportTo": "."})
    await hub.apply(ChangeSet((private,), (), "2"))
    assert sent["default"] == []
    assert [blob.name for blob in sent["other"][0].blobs] == [PRIVATE]


async def test_a_large_mesh_lets_others_speak_while_it_is_brought_to_a_change() -> None:
    hub, _ = await hub_with("reviews")
    for number in range(100):
        hub.connect(sidecar(f"p{number}"), lambda _: None)
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    speaking = asyncio.create_task(others())
    await hub.apply(ChangeSet((service("ratings", 2),), (), "2"))
    speaking.cancel()
    assert turns >= 5


async def test_proxies_may_come_and_go_while_others_are_brought_to_a_change() -> None:
    hub, witness = await hub_with("reviews")
    first = [hub.connect(sidecar(f"p{number}"), lambda _: None) for number in range(50)]
    late: list[Connection] = []

    async def come_and_go() -> None:
        hub.disconnect(first[-1])
        late.append(hub.connect(sidecar("late"), lambda _: None))

    applying = asyncio.create_task(hub.apply(ChangeSet((service("ratings", 2),), (), "2")))
    moving = asyncio.create_task(come_and_go())
    await asyncio.gather(applying, moving)
    name = "outbound|9080||ratings.default.svc.cluster.local"
    assert first[-1].view.get(CLUSTER, name) is None
    for connection in (*first[:-1], *late):
        assert connection.view.get(CLUSTER, name) is not None
    assert "p49 is gone" in witness.events


async def test_an_envoy_that_is_back_before_its_old_stream_has_ended_is_there_once_and_not_gone() -> None:
    hub, witness = await hub_with("reviews")
    old = hub.connect(sidecar("a"), lambda _: None)
    hub.connect(sidecar("a"), lambda _: None)
    assert [item.node_id for item in hub.statuses().proxies] == ["a"]
    hub.disconnect(old)
    assert witness.events == ["a is there", "a is there"]
    assert [item.connected_at for item in hub.statuses().proxies] == [7.0]


async def test_what_an_old_stream_refused_ends_with_it_unless_the_new_one_refuses_it_too() -> None:
    hub, witness = await hub_with("reviews")
    streams: list[tuple[Connection, list[Response]]] = []
    for _ in range(2):
        sent: list[Response] = []
        connection = hub.connect(sidecar("a"), sent.append)
        clusters_of(hub, connection, sent)
        streams.append((connection, sent))
    await hub.apply(ChangeSet((service("ratings", 2), service("details", 3)), (), "2"))
    for connection, sent in streams:
        for _ in range(3):
            hub.receive(connection, Request(CLUSTER, nonce=sent[-1].nonce, error="bad"))
    refused = {event.rpartition(" ")[2] for event in witness.events if "refuses" in event}
    assert len(refused) == 2
    witness.events.clear()
    hub.disconnect(streams[0][0])
    assert witness.events == []
    hub.disconnect(streams[1][0])
    assert {event.rpartition(" ")[2] for event in witness.events if "no longer" in event} == refused
    assert witness.events[-1] == "a is gone"
