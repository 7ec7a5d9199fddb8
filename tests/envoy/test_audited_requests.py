"""What Envoy writes of requests that AUDIT policies match, and that nobody who reads it can hold it up."""

import asyncio
from typing import Any

import pytest
from authorized_mesh import PATIENCE, AuthorizedMesh, authorized, authorized_gateways, request_text
from test_authorization_policies import ADMIN, OF_WEB, WEB, echoes, policy, status

from marline.compile.authorization_logs import AUDIT_FILE
from marline.store.audit.records import REDACTED
from marline.store.audit.requests import RequestEntry

FULL, SAMPLED, CHOSEN, BOTH, PASSING = range(5)
REQUESTS = 200
PREFIX = "audit.marline.io/"


def audit(workload: int, name: str = "", **annotations: str) -> dict[str, Any]:
    made = policy(workload, "AUDIT", OF_WEB, name=name)
    made["metadata"]["annotations"] = {
        PREFIX + key.replace("_", "-"): value for key, value in annotations.items()
    }
    return made


POLICIES = (
    audit(FULL),
    policy(FULL, "ALLOW", OF_WEB),
    policy(FULL, "DENY", ADMIN),
    audit(SAMPLED, sample="10"),
    audit(
        CHOSEN, headers="X-User", redact_headers="authorization,x-none", parameters="page",
        redact_parameters="token,code",
    ),
    audit(BOTH, "a-few", sample="0.0001"),
    audit(BOTH, "b-all"),
    audit(PASSING),
    policy(PASSING, "ALLOW", OF_WEB),
)  # fmt: skip


@pytest.mark.proves("security.AuthorizationPolicySpec.action")
async def test_records_say_who_called_what_and_what_became_of_it() -> None:
    async with authorized(5, POLICIES) as mesh:
        await _decisions(mesh)
        await _only_what_is_listed(mesh)
        await _every_policy_samples_for_itself(mesh)
        await _readers_cannot_hold_it_up(mesh)


async def test_gateways_leave_records_too() -> None:
    async with authorized_gateways(1, (audit(0), policy(0, "DENY", ADMIN))) as mesh:
        assert await status(mesh, 0, WEB, "/a") == 200
        assert await status(mesh, 0, WEB, "/admin") == 403
        passed, refused = await mesh.audited(2)
    assert (passed.source, passed.path, passed.status) == (f"spiffe://{WEB}", "/a", 200)
    assert passed.destination == "spiffe://cluster.local/ns/shop/sa/default"
    assert (refused.status, refused.decided_by) == (403, "ns[shop]-policy[p0-deny]-rule[0]")


async def records(mesh: AuthorizedMesh, count: int, policy_name: str) -> list[RequestEntry]:
    """Those of a policy, once Envoy has written so many lines more than before."""
    found = await mesh.audited(count)
    return [record for record in found if f"policy[{policy_name}]" in record.rule]


async def _decisions(mesh: AuthorizedMesh) -> None:
    assert await status(mesh, FULL, WEB, "/a?secret=1") == 200
    assert await status(mesh, FULL, WEB, "/admin") == 403
    assert not await echoes(mesh, FULL, WEB)
    found = await records(mesh, 3, "p0-audit")
    passed, refused = (record for record in found if record.kind == "request")
    assert (passed.method, passed.host, passed.path) == ("GET", "shop.example.com", "/a")
    assert (passed.status, passed.decided_by) == (200, "ns[shop]-policy[p0-allow]-rule[0]")
    assert (refused.status, refused.decided_by) == (403, "ns[shop]-policy[p0-deny]-rule[0]")
    assert passed.source == f"spiffe://{WEB}"
    assert passed.destination == "spiffe://cluster.local/ns/shop/sa/default"
    assert passed.port == mesh.ports[FULL][0]
    assert passed.sent > 0
    assert passed.time.endswith("Z")
    (closed,) = (record for record in found if record.kind == "connection")
    assert closed.decided_by == "ns[shop]-policy[p0-deny]-rule[0]"
    assert len({record.id for record in found}) == 3
    assert await echoes(mesh, PASSING, WEB)
    (passed,) = await records(mesh, 4, "p4-audit")
    assert (passed.kind, passed.decided_by) == ("connection", "ns[shop]-policy[p4-allow]-rule[0]")


async def _only_what_is_listed(mesh: AuthorizedMesh) -> None:
    connection = await mesh.connect(mesh.ports[CHOSEN][0], WEB, "reviews.mesh.marline")
    headers = (("x-user", "ann"), ("authorization", "Bearer s3cret"), ("x-other", "h1dden"))
    code, _, _ = await connection.request(request_text("/b?page=2&token=s3cret&x=h1dden", headers=headers))
    connection.close()
    assert code == 200
    (record,) = await records(mesh, 5, "p2-audit")
    assert record.headers == {"x-user": "ann", "authorization": REDACTED}
    assert record.parameters == {"page": "2", "token": REDACTED}
    content = (mesh.envoy.directory / AUDIT_FILE).read_text()
    assert "s3cret" not in content, "what is redacted does not even leave Envoy"
    assert "h1dden" not in content


async def _every_policy_samples_for_itself(mesh: AuthorizedMesh) -> None:
    assert await status(mesh, BOTH, WEB) == 200
    both = await mesh.audited(6)
    assert [
        record.rule for record in both if "policy[a-few]" in record.rule or "policy[b-all]" in record.rule
    ] == ["ns[shop]-policy[b-all]-rule[0]"]
    connection = await mesh.connect(mesh.ports[SAMPLED][0], WEB, "reviews.mesh.marline")
    for _ in range(REQUESTS):
        assert (await connection.request(request_text("/")))[0] == 200
    connection.close()
    assert await status(mesh, FULL, WEB, "/last") == 200
    async with asyncio.timeout(PATIENCE):
        while "/last" not in {record.path for record in await mesh.audited(6)}:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    found = await mesh.audited(6)
    sampled = [record for record in found if "p1-audit" in record.rule]
    # Of 200 with a chance of one in ten: neither none nor 60 in more than a billion runs.
    assert 0 < len(sampled) < 60, len(sampled)


async def _readers_cannot_hold_it_up(mesh: AuthorizedMesh) -> None:
    """The file is taken away, another one is opened; where none can be opened, requests pass all the same."""
    file = mesh.envoy.directory / AUDIT_FILE
    taken = file.rename(file.with_name("taken"))
    assert await status(mesh, FULL, WEB, "/between") == 200
    await mesh.envoy.admin("/reopen_logs", "POST")
    async with asyncio.timeout(PATIENCE):
        while not file.exists():  # noqa: ASYNC110 (a process makes it)
            await asyncio.sleep(0.02)
        whole = taken.read_text()
        while '"/between"' not in whole + file.read_text():  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert await status(mesh, FULL, WEB, "/after") == 200
    async with asyncio.timeout(PATIENCE):
        while '"/after"' not in file.read_text():  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert taken.read_text() == whole, "nothing is written to it once there is another"
    file.unlink()
    file.mkdir()
    await mesh.envoy.admin("/reopen_logs", "POST")
    for _ in range(20):
        assert await status(mesh, FULL, WEB, "/unwritten") == 200
