"""What is explained of requests in a generated mesh is what its Envoys then answer."""

import asyncio
from collections.abc import Mapping

import pytest
from ads_mesh import control_plane
from routing_envoy import backend
from test_traffic_generated import Client, admitted, clients, entry, marker

from documented_routing import Answer, Asked
from marline.api.decode import decode
from marline.explain.journey import explain
from marline.explain.steps import Ending, Explanation, Fate
from marline.explain.target import parse_target
from marline.explain.view import CompiledView
from marline.mesh.model import Role
from traffic_maker import Maker

COMBINATIONS = 150
REQUESTS = 6
Views = Mapping[Role, CompiledView]


def explained(views: Views, asked: Asked) -> Explanation:
    view = views[Role.GATEWAY if asked.through_gateway else Role.SIDECAR]
    headers = tuple(asked.headers.items())
    target = parse_target(f"http://{asked.host}:{asked.port}", asked.method, asked.target, headers)
    return explain(view, (), target)


def agrees(answer: Answer, ending: Ending, ports: Mapping[str, str]) -> bool:
    """Is this one of the ends that were foretold?"""
    if not answer.backend:
        return (answer.status, answer.path) == (ending.status, ending.location)
    answering = {ports[name] for name in ending.workloads}
    return (
        answer.backend in answering
        and (answer.path, answer.authority) == (ending.path, ending.authority)
        and ending.fate is Fate.ANSWERED
    )


@pytest.mark.slow
@pytest.mark.parametrize("seed", [11, 12])
async def test_what_is_explained_is_what_is_answered(seed: int) -> None:
    maker = Maker(seed)
    combinations = [maker.combination(number) for number in range(COMBINATIONS)]
    accepted = admitted(combinations)
    async with backend("v1") as v1, backend("v2") as v2, backend("other") as other:
        entries = [entry(item.host, {"v1": v1.port, "v2": v2.port}) for item in combinations]
        entries.append(entry("other.example", {"v3": other.port}))
        ports = {f"127.0.0.1:{item.port}": item.name for item in (v1, v2, other)}
        async with (
            control_plane(*entries, *accepted.resources) as plane,
            plane.serving(),
            clients(plane) as client,
        ):
            await plane.put(*(decode(item) for item in marker()))
            await client.wait_for_all()
            views = {proxy.role: CompiledView.of(plane.hub.snapshot, proxy) for proxy in plane.hub.proxies()}
            asked = [one for item in combinations for one in maker.requests(item, REQUESTS)]
            wrong = [found for one in asked if (found := await difference(client, views, one, ports))]
    assert wrong == []


async def difference(client: Client, views: Views, asked: Asked, ports: Mapping[str, str]) -> str:
    said = await asyncio.to_thread(explained, views, asked)
    answer = await client.ask(asked)
    if any(agrees(answer, item, ports) for item in said.endings if item.share > 0):
        return ""
    return f"{asked}: {answer} is none of {said.endings}"
