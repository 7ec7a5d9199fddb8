"""Who may apply several resources at once: who may apply each of them."""

import pytest
from access_objects import binding, role, rule, user
from served_store import Served
from store_objects import configmap, service

from marline.api.resource import Ref
from marline.store.interface import BadRequest, Forbidden, NotFound
from marline.store.together import PATH


async def test_one_that_may_not_be_written_keeps_all_from_it(served: Served) -> None:
    for obj in (role("r", rule("patch create", "services")), binding("b", "r", user("alice"))):
        await served.store.apply(obj, field_manager="test")
    async with served.client("alice", "x") as client:
        await client.apply_all([service("s")], field_manager="x")
        with pytest.raises(Forbidden, match='cannot patch resource "configmaps"'):
            await client.apply_all([service("t"), configmap("c")], field_manager="x")
    async with served.client() as admin:
        with pytest.raises(NotFound):
            await admin.get(Ref("", "Service", "default", "t"))


async def test_what_is_no_list_of_objects_is_refused(served: Served) -> None:
    async with served.client() as client:
        for body in ({}, {"objects": [1], "fieldManager": "x"}, {"objects": [], "fieldManager": 1}):
            with pytest.raises(BadRequest):
                await client.request("POST", PATH, body=body)
