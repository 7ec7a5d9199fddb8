"""A thousand generated combinations of VirtualService, DestinationRule and Gateway: each is refused with a
reason, or taken by real Envoys, which then do what the documentation says."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
from ads_mesh import PATIENCE, ControlPlane, ads_envoy, control_plane
from identity_mesh import CLIENT_ID
from routing_envoy import backend
from static_mesh import free_port

from documented_routing import GATEWAY_LABELS, Answer, Asked, Documented
from marline.api.decode import admit, decode
from marline.api.errors import InvalidResource
from marline.api.resource import Resource
from marline.mesh.model import Capture, GatewayPort, Proxy, Role, Workload
from traffic_maker import LABELS, Combination, Maker

COMBINATIONS = 350
REQUESTS = 6
_MARKER = "last.example"


def entry(host: str, ports: dict[str, int]) -> Resource[Any]:
    """A service outside the mesh, with a backend for each version."""
    endpoints = [
        {"address": "127.0.0.1", "labels": {"version": version}, "ports": {"http": port}}
        for version, port in ports.items()
    ]
    return decode({
        "apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry",
        "metadata": {"name": host.replace(".", "-"), "namespace": "default"},
        "spec": {
            "hosts": [host], "resolution": "STATIC", "endpoints": endpoints,
            "ports": [{"number": 80, "name": "http", "protocol": "HTTP"}],
        },
    })  # fmt: skip


def marker() -> list[dict[str, Any]]:
    """What tells that everything before it has arrived."""
    server = {"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": [_MARKER]}
    head = {"apiVersion": "networking.istio.io/v1", "metadata": {"name": "last", "namespace": "default"}}
    rules = [{"directResponse": {"status": 299}}]
    return [
        {**head, "kind": "Gateway", "spec": {"selector": {"istio": "ingressgateway"}, "servers": [server]}},
        {**head, "kind": "VirtualService",
         "spec": {"hosts": [_MARKER], "gateways": ["mesh", "last"], "http": rules}},
    ]  # fmt: skip


@dataclass
class Accepted:
    """What was admitted, as written and as stored."""

    plain: list[dict[str, Any]]
    resources: list[Resource[Any]]
    refusals: list[InvalidResource]

    def of(self, kind: str) -> tuple[dict[str, Any], ...]:
        return tuple(item for item in self.plain if item["kind"] == kind)


def admitted(combinations: Iterable[Combination]) -> Accepted:
    found = Accepted([], [], [])
    for item in combinations:
        for obj in (item.destination_rule, item.gateway, item.virtual_service):
            if obj is None:
                continue
            try:
                found.resources.append(admit(obj))
                found.plain.append(obj)
            except InvalidResource as refusal:
                found.refusals.append(refusal)
    return found


@dataclass
class Client:
    session: aiohttp.ClientSession
    http_proxy: str
    gateway: str

    async def ask(self, asked: Asked) -> Answer:
        headers = dict(asked.headers)
        url = f"http://{asked.host}{asked.target}"
        proxy = self.http_proxy
        if asked.through_gateway:
            headers["Host"], url, proxy = asked.host, f"{self.gateway}{asked.target}", ""
        async with self.session.request(
            asked.method, url, headers=headers, proxy=proxy or None, allow_redirects=False
        ) as response:
            if response.headers.get("x-from-app"):
                said = await response.json()
                seen = tuple(sorted((name, value) for name, value in said["headers"].items()))
                return Answer(response.status, said["backend"], said["path"], said["headers"]["host"], seen)
            return Answer(response.status, path=response.headers.get("location", ""))

    async def wait_for_all(self) -> None:
        async with asyncio.timeout(PATIENCE):
            for through_gateway in (False, True):
                while not await self._arrived(through_gateway):  # noqa: ASYNC110 (Envoy's state)
                    await asyncio.sleep(0.05)

    async def _arrived(self, through_gateway: bool) -> bool:
        try:
            return (await self.ask(Asked(_MARKER, "/", through_gateway=through_gateway))).status == 299
        except aiohttp.ClientConnectionError:
            return False


@asynccontextmanager
async def clients(plane: ControlPlane) -> AsyncIterator[Client]:
    """A sidecar's HTTP proxy and a gateway."""
    http_proxy, listen = free_port(), free_port()
    client = Workload("default", "client-1", labels=tuple(LABELS.items()), http_proxy_port=http_proxy)
    sidecar = Proxy("sidecar", Role.SIDECAR, Capture.EXPLICIT, (client,))
    edge = Workload("default", "ingress-1", labels=tuple(GATEWAY_LABELS.items()))
    ports = (GatewayPort(80, listen),)
    gateway = Proxy("gateway", Role.GATEWAY, Capture.EXPLICIT, (edge,), "127.0.0.1", gateway_ports=ports)
    async with (
        ads_envoy(plane.directory, sidecar, CLIENT_ID),
        ads_envoy(plane.directory, gateway, CLIENT_ID),
        aiohttp.ClientSession() as session,
    ):
        yield Client(session, f"http://127.0.0.1:{http_proxy}", f"http://127.0.0.1:{listen}")


def agrees(answer: Answer, possible: Answer) -> bool:
    """Is this what was expected? Of the headers only those count of which the rules speak."""
    if (answer.status, answer.backend, answer.path) != (possible.status, possible.backend, possible.path):
        return False
    seen = dict(answer.sent)
    return answer.authority == possible.authority and all(
        seen.get(name) == value for name, value in possible.sent
    )


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_what_is_accepted_does_what_is_documented(seed: int) -> None:
    maker = Maker(seed)
    combinations = [maker.combination(number) for number in range(COMBINATIONS)]
    accepted = admitted(combinations)
    assert len(accepted.refusals) > COMBINATIONS // 20
    assert all(error.path and error.message for item in accepted.refusals for error in item.errors)
    async with backend("v1") as v1, backend("v2") as v2, backend("other") as other:
        entries = [entry(item.host, {"v1": v1.port, "v2": v2.port}) for item in combinations]
        entries.append(entry("other.example", {"v3": other.port}))
        last = [decode(item) for item in marker()]
        backends = {item.host: {"v1": "v1", "v2": "v2"} for item in combinations}
        backends["other.example"] = {"v3": "other"}
        kinds = (accepted.of(kind) for kind in ("VirtualService", "DestinationRule", "Gateway"))
        documented = Documented(*kinds, backends, LABELS)
        async with (
            control_plane(*entries, *accepted.resources) as plane,
            plane.serving(),
            clients(plane) as client,
        ):
            await plane.put(*last)
            await client.wait_for_all()
            await plane.hub.settled(plane.version)
            assert plane.heard.rejections == []
            checks = (differences(client, documented, maker, item) for item in combinations)
            wrong = [found for each in await asyncio.gather(*checks) for found in each]
    assert wrong == []


async def differences(
    client: Client, documented: Documented, maker: Maker, combination: Combination
) -> list[str]:
    found: list[str] = []
    for asked in maker.requests(combination, REQUESTS):
        possible = documented.answers(asked)
        answer = await client.ask(asked)
        if not any(agrees(answer, item) for item in possible):
            found.append(f"{asked}: {answer} is none of {possible}; {combination}")
    return found
