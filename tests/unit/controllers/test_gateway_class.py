"""A mesh has a GatewayClass from its start, and what a user makes of it stays."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from marline.api.resource import Ref
from marline.compile.gateway_api_conditions import CONTROLLER
from marline.controllers.gateway_class import GATEWAY_CLASS, provide_gateway_class
from marline.store.embedded.store import EmbeddedStore

CLASS = Ref("gateway.networking.k8s.io", "GatewayClass", "", "marline")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[EmbeddedStore]:
    opened = await EmbeddedStore.open(tmp_path / "store.db")
    yield opened
    await opened.close()


async def test_it_is_made_where_it_is_missing_at_each_start(store: EmbeddedStore) -> None:
    await provide_gateway_class(store)
    made = await store.get(CLASS)
    assert made.spec.controller_name == CONTROLLER
    await provide_gateway_class(store)
    assert (await store.get(CLASS)).metadata.resource_version == made.metadata.resource_version
    await store.delete(CLASS)
    await provide_gateway_class(store)
    assert (await store.get(CLASS)).metadata.uid != made.metadata.uid


async def test_a_class_of_that_name_with_another_controller_is_left_alone(store: EmbeddedStore) -> None:
    await store.create({**GATEWAY_CLASS, "spec": {"controllerName": "example.com/other"}})
    await provide_gateway_class(store)
    assert (await store.get(CLASS)).spec.controller_name == "example.com/other"


async def test_marlines_own_class_can_be_applied_over_it(store: EmbeddedStore) -> None:
    """As manifests for other meshes do, which bring a class with them."""
    await provide_gateway_class(store)
    applied = {**GATEWAY_CLASS, "spec": {"controllerName": CONTROLLER}}
    assert (await store.apply(applied, field_manager="kubectl")).spec.controller_name == CONTROLLER
