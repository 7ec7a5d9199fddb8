"""What of the API's use is in the audit log: every change, by whom, also those that are refused."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from access_objects import binding, user
from served_store import Served
from store_objects import configmap, namespace, service

from marline.api.resource import Ref
from marline.store.audit.log import AuditSettings
from marline.store.audit.reading import files_of, records, verify
from marline.store.audit.records import Record
from marline.store.embedded.credentials import ApiCredentials
from marline.store.embedded.server import serve
from marline.store.embedded.store import EmbeddedStore
from marline.store.interface import Forbidden, Unavailable


@pytest.fixture
async def audited(tmp_path: Path) -> AsyncIterator[Served]:
    store = await EmbeddedStore.open(tmp_path / "marline.db", audit=AuditSettings(tmp_path / "audit"))
    credentials = ApiCredentials.open(tmp_path / "api")
    server = await serve(store, credentials=credentials)
    yield Served(store, server, credentials, tmp_path)
    await server.close()
    await store.close()


def said(served: Served) -> list[Record]:
    return list(records(served.directory / "audit", Record))


def in_short(served: Served) -> list[tuple[str, str, str]]:
    return [(item.user, item.verb, str(item.target)) for item in said(served)]


async def test_every_way_of_changing_something_is_told(audited: Served) -> None:
    ref = Ref("", "ConfigMap", "default", "c")
    path = "/api/v1/namespaces/default/configmaps"
    merge = "application/merge-patch+json"
    async with audited.client() as admin:
        await admin.create(configmap("c"))
        await admin.update(configmap("c", {"k": "1"}))
        await admin.apply(configmap("c", {"k": "2"}), field_manager="a", force=True)
        await admin.request("PATCH", f"{path}/c", body={"data": {"k": "3"}}, content_type=merge)
        await admin.apply_all([configmap("d"), service("s")], field_manager="a")
        await admin.delete(ref)
        await admin.request("DELETE", path)
        await admin.create(configmap("not"), dry_run=True)
        await admin.list("", "ConfigMap")
    told = in_short(audited)
    assert {who for who, _, _ in told} == {"admin"}
    expected = (
        "create ConfigMap default/c", "update ConfigMap default/c", "update ConfigMap default/c",
        "update ConfigMap default/c", "create ConfigMap default/d", "create Service default/s",
        "delete ConfigMap default/c", "delete ConfigMap default/d",
    )  # fmt: skip
    assert tuple(f"{verb} {what}" for _, verb, what in told) == expected
    (change,) = said(audited)[3].changes
    assert (change.path, change.old, change.new) == ("/data/k", "2", "3")


async def test_what_goes_with_a_namespace_is_told(audited: Served) -> None:
    async with audited.client() as admin:
        await admin.create(namespace("shop"))
        await admin.create(service("s", namespace="shop"))
        await admin.delete(Ref("", "Namespace", "", "shop"))
    assert ("admin", "delete", "Service shop/s") in in_short(audited)
    assert ("admin", "delete", "Namespace shop") in in_short(audited)


async def test_a_refusal_is_told_and_who_acted_as_whom(audited: Served) -> None:
    await audited.store.create(binding("b", "view", user("alice"), kind="ClusterRole"))
    async with audited.client("alice", "team") as alice:
        with pytest.raises(Forbidden):
            await alice.create(configmap("c"))
        with pytest.raises(Forbidden):
            await alice.list("", "Secret")
        alice._transport._open().headers["Impersonate-User"] = "root"
        with pytest.raises(Forbidden):
            await alice.create(configmap("c"))
    async with audited.client() as admin:
        admin._transport._open().headers["Impersonate-User"] = "system:serviceaccount:default:x"
        with pytest.raises(Forbidden):
            await admin.create(configmap("c"))
    first, second, third = said(audited)
    assert (first.user, first.outcome, first.groups) == ("alice", "refused", ("team", "system:authenticated"))
    assert 'cannot create resource "configmaps"' in first.message
    assert 'cannot impersonate resource "users"' in second.message
    assert (third.user, third.impersonated_by) == ("system:serviceaccount:default:x", "admin")


async def test_what_the_control_plane_writes_itself_is_not_told(audited: Served) -> None:
    await audited.store.create(service("s"))
    assert said(audited) == []


async def test_the_store_keeps_the_head_over_restarts(audited: Served, tmp_path: Path) -> None:
    async with audited.client() as admin:
        await admin.create(configmap("c"))
        head, floor = await audited.store.state.audit_anchors()
    assert verify(tmp_path / "audit", [head], floor).faults == ()
    assert (head.seq, floor) == (1, 1)
    files_of(tmp_path / "audit")[0].write_bytes(b"")
    assert "is missing" in verify(tmp_path / "audit", [head], floor).faults[0].what


async def test_what_cannot_be_told_is_not_done(audited: Served, tmp_path: Path) -> None:
    async with audited.client() as admin:
        await admin.create(configmap("a"))
        (file,) = files_of(tmp_path / "audit")
        kept = file.read_bytes()
        file.unlink()
        file.mkdir()
        with pytest.raises(Unavailable, match="the audit log cannot be written"):
            await admin.create(configmap("b"))
        assert [item.name for item in (await admin.list("", "ConfigMap")).items] == ["a"]
        file.rmdir()
        file.write_bytes(kept)
        await admin.create(configmap("b"))
    assert len(said(audited)) == 2
    assert verify(tmp_path / "audit", floor=1).faults == ()
