"""Endpoints come and go under constant load, and no request fails."""

import asyncio
import json
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
from google.protobuf import json_format
from routing_envoy import backend, run_envoy
from static_mesh import envoy_for, free_port, mesh_authority, snapshot_of, static_config
from test_core_mtls import client_proxy, server_proxy

from marline.compile.catalog import compile_unit
from marline.compile.resource import ENDPOINT
from marline.compile.units import EndpointsUnit
from marline.mesh.snapshot import MeshSnapshot

SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: reviews, namespace: default}
spec: {clusterIP: 10.96.0.1, selector: {app: reviews}, ports: [{name: http, port: 9080}]}
"""
ENTRY = """
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: reviews-%(number)d, namespace: default}
spec:
  address: 127.0.0.1
  ports: {http: %(port)d}
  labels: {app: reviews, security.istio.io/tlsMode: istio}
  serviceAccount: reviews
"""
HOST = "reviews.default.svc.cluster.local"
CHANGES = 12
SECONDS_BETWEEN = 0.25


def mesh(ports: list[int]) -> MeshSnapshot:
    entries = "".join(ENTRY % {"number": number, "port": port} for number, port in enumerate(ports))
    return snapshot_of(SERVICE + entries)


def publish(path: Path, snapshot: MeshSnapshot) -> None:
    """Replace the file from which the client's Envoy reads endpoints."""
    (recipe,) = compile_unit(snapshot, client_proxy(1), EndpointsUnit(HOST))
    body = {"@type": ENDPOINT, **json_format.MessageToDict(recipe.build(*recipe.inputs))}
    new = path.with_suffix(".new")
    new.write_text(json.dumps({"resources": [body]}))
    new.rename(path)


def from_file(static: dict[str, Any], path: Path) -> dict[str, Any]:
    """The same configuration, with endpoints discovered from a file."""
    for cluster in static["clusters"]:
        if cluster["name"].endswith(HOST):
            del cluster["loadAssignment"]
            source = {"path_config_source": {"path": str(path)}, "resource_api_version": "V3"}
            cluster |= {"type": "EDS", "edsClusterConfig": {"eds_config": source}}
    return static


async def test_no_request_fails_while_an_endpoint_comes_and_goes(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        apps = [await stack.enter_async_context(backend(name)) for name in ("stays", "moves")]
        ports, outbound = [free_port(), free_port()], free_port()
        both, one = mesh(ports), mesh(ports[:1])
        for app, port in zip(apps, ports, strict=True):
            app.delay = 0.02
            await stack.enter_async_context(envoy_for(both, server_proxy("http", port, app.port)))
        publish(tmp_path / "eds.json", both)
        identity = mesh_authority().svid("spiffe://cluster.local/ns/default/sa/productpage")
        static = static_config(both, client_proxy(outbound), identity, mesh_authority().pem)
        await stack.enter_async_context(run_envoy(from_file(static, tmp_path / "eds.json")))
        session = await stack.enter_async_context(aiohttp.ClientSession())
        url, done, statuses = f"http://127.0.0.1:{outbound}/", asyncio.Event(), list[int]()

        async def load() -> None:
            while not done.is_set():
                async with session.get(url) as response:
                    statuses.append(response.status)

        async with asyncio.TaskGroup() as group:
            for _ in range(8):
                group.create_task(load())
            for number in range(CHANGES):
                await asyncio.sleep(SECONDS_BETWEEN)
                publish(tmp_path / "eds.json", one if number % 2 == 0 else both)
            done.set()
    assert set(statuses) == {200}
    assert len(statuses) > 100
    assert all(app.seen for app in apps)
