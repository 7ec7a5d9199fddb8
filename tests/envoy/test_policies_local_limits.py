"""Local rate limits in real Envoys: at a service, at gateways, for routes, by what requests say."""

import pytest
from policy_mesh import gateway, policy, protected_service

API = "gateway.networking.k8s.io"
ISTIO = "networking.istio.io"


def at_service(*limits: str, more: str = "") -> str:
    spec = f"{{targetRefs: [{{kind: Service, name: reviews}}], limits: [{', '.join(limits)}]{more}}}"
    return policy("RateLimitPolicy", spec)


def attached(kind: str, name: str, requests: int, section: str = "", group: str = API, more: str = "") -> str:
    target = f"{{group: {group}, kind: {kind}, name: {name}{f', sectionName: {section}' if section else ''}}}"
    spec = f"{{targetRefs: [{target}], limits: [{{name: all, requests: {requests}, unit: Hour{more}}}]}}"
    return policy("RateLimitPolicy", spec, f"{kind}-{name}-{section or 'whole'}".lower())


@pytest.mark.proves(
    "policy.RateLimitPolicySpec.targetRefs",
    "policy.RateLimitPolicySpec.limits",
    "policy.RateLimitPolicySpec.response",
    "policy.LocalPolicyTargetReference.kind",
    "policy.LocalPolicyTargetReference.name",
    "policy.Limit.name",
    "policy.Limit.requests",
    "policy.Limit.unit",
    "policy.LimitResponse.statusCode",
    "policy.LimitResponse.headers",
)
async def test_a_service_refuses_what_is_too_much_and_says_when_there_is_room_again() -> None:
    async with protected_service(at_service("{name: all, requests: 2, unit: Minute}")) as caller:
        answers = [await caller.send() for _ in range(3)]
        assert [answer.status for answer in answers] == [200, 200, 429]
        assert [answer.headers["x-ratelimit-remaining"] for answer in answers] == ["1", "0", "0"]
        assert {answer.headers["x-ratelimit-limit"] for answer in answers} == {"2"}
        assert 1 <= int(answers[2].headers["x-ratelimit-reset"]) <= 30
        assert answers[2].headers["retry-after"] == "30"
        assert len(caller.app.seen) == 2
    quiet = ", response: {statusCode: 503, headers: None}"
    async with protected_service(at_service("{name: all, requests: 1, unit: Day}", more=quiet)) as caller:
        answers = [await caller.send() for _ in range(2)]
        assert [answer.status for answer in answers] == [200, 503]
        assert not any("x-ratelimit-limit" in answer.headers for answer in answers)


@pytest.mark.proves("policy.Limit.burst")
async def test_a_burst_is_allowed_after_a_quiet_time() -> None:
    limit = "{name: all, requests: 1, unit: Hour, burst: 4}"
    async with protected_service(at_service(limit)) as caller:
        assert await caller.statuses(5) == [200] * 4 + [429]


@pytest.mark.proves("policy.RateLimitPolicySpec.mode")
async def test_a_shadow_counts_and_refuses_nothing() -> None:
    more = ", mode: Shadow"
    async with protected_service(at_service("{name: all, requests: 1, unit: Hour}", more=more)) as caller:
        assert await caller.statuses(3) == [200] * 3
        counted = await caller.stats("server", "http_local_rate_limit")
        assert counted["http_local_rate_limit.rate_limited"] == 2
        assert counted["http_local_rate_limit.enforced"] == 0


@pytest.mark.proves("policy.Limit.by", "policy.LimitKey.type", "policy.LimitKey.name")
async def test_each_value_of_a_header_has_a_count_of_its_own_and_so_has_its_absence() -> None:
    limit = "{name: users, requests: 1, unit: Hour, by: [{type: Header, name: X-User}]}"
    async with protected_service(at_service(limit)) as caller:
        for user in ("ann", "bob"):
            assert await caller.statuses(2, x_user=user) == [200, 429]
        assert await caller.statuses(2) == [200, 429]


async def test_callers_are_told_apart_by_their_certificates() -> None:
    limit = "{name: callers, requests: 1, unit: Hour, by: [{type: Caller}]}"
    async with protected_service(at_service(limit)) as caller:
        assert await caller.statuses(2) == [200, 429]


@pytest.mark.proves(
    "policy.Limit.match", "policy.LimitMatch.methods", "policy.LimitMatch.path", "policy.LimitMatch.headers"
)
async def test_a_limit_is_for_the_requests_that_it_matches() -> None:
    head = "{name: some, requests: 1, unit: Hour, match: {%s}}"
    cases = {
        "methods: [POST, PUT]": (("/", "POST", {}), ("/", "GET", {})),
        "path: {exact: /a}": (("/a?b=c", "GET", {}), ("/ab", "GET", {})),
        "path: {prefix: /a}": (("/ab", "GET", {}), ("/b", "GET", {})),
        "path: {regex: '/[ab]'}": (("/b?x", "GET", {}), ("/c", "GET", {})),
        "headers: {x-plan: {exact: free}}": (("/", "GET", {"x_plan": "free"}), ("/", "GET", {})),
    }
    for match, (limited, free) in cases.items():
        async with protected_service(at_service(head % match)) as caller:
            for (path, method, headers), expected in ((limited, [200, 429]), (free, [200, 200])):
                assert await caller.statuses(2, path, method, **headers) == expected, match


async def test_all_limits_of_a_policy_hold() -> None:
    limits = (
        "{name: all, requests: 3, unit: Hour}",
        "{name: users, requests: 2, unit: Hour, by: [{type: Header, name: x-user}]}",
    )
    async with protected_service(at_service(*limits)) as caller:
        assert await caller.statuses(3, x_user="ann") == [200, 200, 429]
        assert await caller.statuses(2, x_user="bob") == [200, 429]


@pytest.mark.proves(
    "policy.LocalPolicyTargetReference.group", "policy.LocalPolicyTargetReference.sectionName"
)
async def test_the_most_specific_policy_counts_at_a_gateway() -> None:
    policies = (
        attached("Gateway", "edge", 4),
        attached("Gateway", "edge", 3, "other"),
        attached("HTTPRoute", "shop", 1, "cart"),
        attached("VirtualService", "shop", 2, group=ISTIO),
    )
    async with gateway(*policies) as (caller, ports):
        seen = {}
        for name, path in (("web", "/cart"), ("web", "/"), ("other", "/"), ("classic", "/cart")):
            caller.base = getattr(ports, name)
            seen[name, path] = (await caller.statuses(6, path)).count(200)
    assert seen == {("web", "/cart"): 1, ("web", "/"): 4, ("other", "/"): 3, ("classic", "/cart"): 2}


async def test_routes_share_the_count_of_their_gateway_unless_told_apart() -> None:
    async with gateway(attached("Gateway", "classic", 2, group=ISTIO)) as (caller, ports):
        caller.base = ports.classic
        assert await caller.statuses(1, "/cart") + await caller.statuses(2, "/") == [200, 200, 429]
        caller.base = ports.web
        free = await caller.send()
        assert (free.status, "x-ratelimit-limit" in free.headers) == (200, False)
    apart = ", by: [{type: Route}, {type: RemoteAddress}]"
    async with gateway(attached("Gateway", "classic", 1, "plain", ISTIO, apart)) as (caller, ports):
        caller.base = ports.classic
        assert await caller.statuses(2, "/cart") + await caller.statuses(2, "/") == [200, 429, 200, 429]
