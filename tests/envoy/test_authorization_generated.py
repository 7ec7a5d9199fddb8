"""Generated AuthorizationPolicies and calls: real Envoys decide as the documentation says."""

import asyncio
from dataclasses import replace
from typing import Any

from authorized_mesh import AuthorizedMesh, authorized, authorized_gateways, request_text

from authorization_maker import CALLERS, SERVER_NAMES, Maker
from documented_authorization import Call, allows, counts

WORKLOADS = 120
GATEWAYS = 40
REQUESTS = 6
PERMISSIVE = {
    "apiVersion": "security.istio.io/v1",
    "kind": "PeerAuthentication",
    "metadata": {"name": "default", "namespace": "shop"},
    "spec": {"mtls": {"mode": "PERMISSIVE"}},
}
Outcome = tuple[Call, bool]


async def calls(
    mesh: AuthorizedMesh, maker: Maker, index: int, callers: tuple[str, ...], *, believes: bool = True
) -> list[Outcome]:
    """What becomes of some requests and connections of each caller. `believes`: what `X-Forwarded-For` says
    of the client."""
    http, tcp = mesh.ports[index]
    found: list[Outcome] = []
    for number, caller in enumerate(callers):
        name = SERVER_NAMES[(number + index) % 2] if caller else ""
        connection = await mesh.connect(http, caller, name)
        for _ in range(REQUESTS):
            call, target, claims = maker.request(caller, name)
            headers = [*call.headers]
            if call.client != "127.0.0.1":
                headers.append(("x-forwarded-for", f"203.0.113.1, {call.client}"))
            status, answered, body = await connection.request(
                request_text(target, call.method, call.host, headers, claims)
            )
            assert status in (200, 403), (status, body)
            assert status == 200 or body == "RBAC: access denied"
            found.append((call if believes else replace(call, client="127.0.0.1"), status == 200))
            if answered.get("connection") == "close":
                connection.close()
                connection = await mesh.connect(http, caller, name)
        connection.close()
        connection = await mesh.connect(tcp, caller, name)
        found.append((maker.connection(caller, name), await connection.echo()))
        connection.close()
    return found


async def decide(
    mesh: AuthorizedMesh,
    maker: Maker,
    policies: list[dict[str, Any]],
    callers: tuple[str, ...],
    *,
    believes: bool,
) -> None:
    """Ask all workloads, and the oracle."""
    seen = {True: 0, False: 0}
    for start in range(0, len(mesh.ports), 8):
        batch = range(start, min(start + 8, len(mesh.ports)))
        outcomes = await asyncio.gather(
            *(calls(mesh, maker, index, callers, believes=believes) for index in batch)
        )
        for index, made in zip(batch, outcomes, strict=True):
            labels = {"app": f"w{index}"}
            mine = [policy for policy in policies if counts(policy, "shop", labels)]
            for call, passed in made:
                assert allows(mine, call) is passed, (passed, call, [item["spec"] for item in mine])
                seen[passed] += 1
    assert min(seen.values()) > len(mesh.ports) * len(callers), seen


def generated(maker: Maker, count: int) -> list[dict[str, Any]]:
    return [
        maker.policy(f"{index}-{number}", "shop", {"app": f"w{index}"})
        for index in range(count)
        for number in range(1 + index % 3)
    ]


async def test_sidecars_decide_as_documented() -> None:
    maker = Maker(1)
    policies = generated(maker, WORKLOADS)
    async with authorized(WORKLOADS, policies, PERMISSIVE) as mesh:
        await decide(mesh, maker, policies, (*CALLERS, ""), believes=True)


async def test_gateways_decide_as_documented() -> None:
    maker = Maker(2)
    policies = generated(maker, GATEWAYS)
    async with authorized_gateways(GATEWAYS, policies) as mesh:
        await decide(mesh, maker, policies, CALLERS, believes=False)
