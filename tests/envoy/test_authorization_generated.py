"""Generated AuthorizationPolicies and calls: real Envoys decide as the documentation says."""

import asyncio
from typing import Any

from authorized_mesh import AuthorizedMesh, authorized, request_text

from authorization_maker import CALLERS, SERVER_NAMES, Maker
from documented_authorization import Call, allows, counts

WORKLOADS = 120
REQUESTS = 6
PERMISSIVE = {
    "apiVersion": "security.istio.io/v1",
    "kind": "PeerAuthentication",
    "metadata": {"name": "default", "namespace": "shop"},
    "spec": {"mtls": {"mode": "PERMISSIVE"}},
}
Outcome = tuple[Call, bool]


async def calls(mesh: AuthorizedMesh, maker: Maker, index: int) -> list[Outcome]:
    """What becomes of some requests and connections of each caller, and of one that is nobody."""
    http, tcp = mesh.ports[index]
    found: list[Outcome] = []
    for number, caller in enumerate((*CALLERS, "")):
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
            found.append((call, status == 200))
            if answered.get("connection") == "close":
                connection.close()
                connection = await mesh.connect(http, caller, name)
        connection.close()
        connection = await mesh.connect(tcp, caller, name)
        found.append((maker.connection(caller, name), await connection.echo()))
        connection.close()
    return found


async def test_sidecars_decide_as_documented() -> None:
    maker = Maker(1)
    labels = [{"app": f"w{index}"} for index in range(WORKLOADS)]
    policies: list[dict[str, Any]] = []
    for index, own in enumerate(labels):
        policies += [maker.policy(f"{index}-{number}", "shop", own) for number in range(1 + index % 3)]
    seen = {True: 0, False: 0}
    async with authorized(WORKLOADS, policies, PERMISSIVE) as mesh:
        for start in range(0, WORKLOADS, 8):
            batch = range(start, min(start + 8, WORKLOADS))
            outcomes = await asyncio.gather(*(calls(mesh, maker, index) for index in batch))
            for index, made in zip(batch, outcomes, strict=True):
                mine = [policy for policy in policies if counts(policy, "shop", labels[index])]
                for call, passed in made:
                    assert allows(mine, call) is passed, (passed, call, [item["spec"] for item in mine])
                    seen[passed] += 1
    assert min(seen.values()) > 1000, seen
