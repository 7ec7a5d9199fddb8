"""Global rate limits: real Envoys ask the real service, which counts in memory or in a real Redis."""

import asyncio
import os
import stat
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from end_user_tokens import SigningKey, bearer, key_set, token_policy
from policy_mesh import gateway, policy, protected_service
from test_policies_local_limits import attached

from marline.ratelimit.__main__ import REDIS_VARIABLE
from redis_process import running_redis

PATIENCE = 20
ELSEWHERE = """
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: limits, namespace: default}
spec:
  hosts: [limits.test]
  resolution: STATIC
  ports: [{number: 8081, name: grpc, protocol: GRPC}]
  endpoints: [{address: "unix://%s"}]
"""
BY_USER = "{type: JWTClaim, name: sub}"
HOUR = "requests: %d, unit: Hour, scope: Global"


def limited(*limits: str, more: str = "") -> str:
    spec = f"{{targetRefs: [{{kind: Service, name: reviews}}], limits: [{', '.join(limits)}]{more}}}"
    return policy("RateLimitPolicy", spec)


@asynccontextmanager
async def counting(redis_url: str = "", directory: Path | None = None) -> AsyncIterator[Path]:
    """The service as a process of its own; its socket."""
    with tempfile.TemporaryDirectory(prefix="mrl-") as made:
        socket = (directory or Path(made)) / "limits.sock"
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "marline.ratelimit", "--socket", str(socket),
            env={**os.environ, REDIS_VARIABLE: redis_url}, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            assert process.stderr is not None
            async with asyncio.timeout(PATIENCE):
                while b"counting" not in await process.stderr.readline():
                    assert process.returncode is None
            yield socket
        finally:
            process.terminate()
            await process.wait()


async def test_users_are_counted_by_what_their_tokens_say_also_for_all_proxies_together() -> None:
    key = SigningKey.new()
    tokens = token_policy([{"issuer": "issuer", "jwks": key_set(key)}])
    for scope in ("Global", "Local"):
        limit = f"{{name: users, requests: 1, unit: Hour, scope: {scope}, by: [{BY_USER}]}}"
        async with (
            counting() as socket,
            protected_service(limited(limit), tokens, limits_socket=socket) as caller,
        ):
            for user in ("ann", "bob"):
                headers = bearer(key.token({"sub": user}))
                assert await caller.statuses(2, **headers) == [200, 429], (scope, user)
            assert await caller.statuses(2) == [200, 429], scope


async def test_nobody_is_asked_of_routes_without_global_limits_also_where_tokens_lead_to_them() -> None:
    tokens = token_policy([{"issuer": "issuer", "jwks": key_set(SigningKey.new())}], namespace="istio-system")
    policies = (
        attached("HTTPRoute", "shop", 9, "cart", more=", scope: Global"),
        attached("HTTPRoute", "shop", 9, "rest"),
    )
    async with counting() as socket, gateway(*policies, tokens, limits_socket=socket) as (caller, _):
        assert await caller.statuses(2) + await caller.statuses(1, "/cart") == [200] * 3
        assert (await caller.stats("gateway", "ratelimit"))["ratelimit-grpc.upstream_rq_total"] == 1


@pytest.mark.proves("policy.Limit.scope")
async def test_two_proxies_share_a_count() -> None:
    own = limited("{name: all, %s}" % (HOUR % 3))
    async with (
        counting() as socket,
        protected_service(own, limits_socket=socket) as one,
        protected_service(own, limits_socket=socket) as other,
    ):
        assert stat.S_IMODE(socket.stat().st_mode) == 0o600
        first = [await one.send() for _ in range(2)]
        then = [await other.send() for _ in range(2)]
        assert [answer.status for answer in (*first, *then)] == [200, 200, 200, 429]
        assert [answer.headers["x-ratelimit-remaining"] for answer in first] == ["2", "1"]
        assert then[1].headers["x-ratelimit-limit"].startswith("3")
        assert 1 <= int(then[1].headers["retry-after"]) <= 3600
        assert (await other.stats("server", "over_limit"))["own.over_limit"] == 1


async def test_callers_and_their_namespaces_and_headers_are_told_apart() -> None:
    keys = ("Caller", "CallerNamespace", "Header, name: x-user")
    for key in keys:
        own = limited(f"{{name: all, {HOUR % 1}, by: [{{type: {key}}}]}}")
        async with counting() as socket, protected_service(own, limits_socket=socket) as caller:
            assert await caller.statuses(2, x_user="ann") == [200, 429], key
            assert (await caller.send(x_user="bob")).status == (200 if "Header" in key else 429)


async def test_gateways_limit_their_clients_for_all_routes_or_each() -> None:
    target = "{group: gateway.networking.k8s.io, kind: Gateway, name: edge}"
    for by, expected in (("RemoteAddress", [200, 429]), ("Route", [200, 200])):
        spec = f"{{targetRefs: [{target}], limits: [{{name: all, {HOUR % 1}, by: [{{type: {by}}}]}}]}}"
        async with (
            counting() as socket,
            gateway(policy("RateLimitPolicy", spec), limits_socket=socket) as (caller, _),
        ):
            assert [(await caller.send(path)).status for path in ("/cart", "/")] == expected


async def test_a_shadow_counts_and_refuses_nothing() -> None:
    own = limited("{name: all, %s}" % (HOUR % 1), more=", mode: Shadow, response: {statusCode: 503}")
    async with counting() as socket, protected_service(own, limits_socket=socket) as caller:
        answers = [await caller.send() for _ in range(3)]
        assert [answer.status for answer in answers] == [200] * 3
        assert not any("retry-after" in answer.headers for answer in answers)
        assert (await caller.stats("server", "over_limit"))["own.over_limit"] == 2


@pytest.mark.proves(
    "policy.RateLimitPolicySpec.globalLimits", "policy.GlobalLimits.onFailure", "policy.GlobalLimits.timeout"
)
async def test_when_nobody_counts_requests_pass_or_fail_as_the_policy_says() -> None:
    for mode, expected in (("Allow", 200), ("Deny", 500)):
        own = limited("{name: all, %s}" % (HOUR % 1), more=f", globalLimits: {{onFailure: {mode}}}")
        async with protected_service(own) as caller:
            assert await caller.statuses(2) == [expected] * 2
    silent = await asyncio.start_unix_server(_say_nothing, path := f"{tempfile.mkdtemp(prefix='mrl-')}/s")
    async with silent:
        own = limited("{name: all, %s}" % (HOUR % 1), more=", globalLimits: {timeout: 50ms}")
        async with protected_service(own, limits_socket=Path(path)) as caller, asyncio.timeout(PATIENCE):
            assert await caller.statuses(2) == [200, 200]


async def _say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()


@pytest.mark.proves(
    "policy.GlobalLimits.service",
    "policy.RateLimitServiceReference.host",
    "policy.RateLimitServiceReference.port",
)
async def test_a_service_of_the_mesh_may_count() -> None:
    own = "{name: all, %s}" % (HOUR % 1)
    for host, expected in (("limits.test", [200, 429]), ("nobody.test", [200, 200])):
        more = f", globalLimits: {{service: {{host: {host}, port: 8081}}}}"
        async with (
            counting() as socket,
            protected_service(limited(own, more=more), ELSEWHERE % socket) as caller,
        ):
            assert await caller.statuses(2) == expected, host


async def test_counts_in_redis_are_those_of_all_services_and_outlive_them() -> None:
    own = limited("{name: all, %s}" % (HOUR % 3))
    async with running_redis() as url:
        async with counting(url) as one, counting(url) as other:
            async with protected_service(own, limits_socket=one) as caller:
                assert await caller.statuses(1) == [200]
            async with protected_service(own, limits_socket=other) as caller:
                assert await caller.statuses(1) == [200]
        async with counting(url) as again, protected_service(own, limits_socket=again) as caller:
            assert await caller.statuses(2) == [200, 429]
