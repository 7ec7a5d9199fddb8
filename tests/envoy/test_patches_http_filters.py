"""EnvoyFilters change the HTTP filters of running Envoys: every operation, and Istio's examples."""

import pytest
from patched_mesh import (
    ROUTER,
    TYPE,
    Patched,
    lua,
    manager,
    marking,
    marks,
    patch,
    patched_gateway,
    patched_sidecar,
)

RBAC = "envoy.filters.http.rbac"


def before_router(name: str, **match: object) -> dict[str, object]:
    return patch("HTTP_FILTER", "INSERT_BEFORE", marking(name), **(match or {"listener": manager(ROUTER)}))


@pytest.mark.proves(
    "networking.EnvoyConfigObjectPatch.applyTo",
    "networking.Patch.operation",
    "networking.Patch.value",
    "networking.SubFilterMatch.name",
    "networking.FilterMatch.name",
)
async def test_a_filter_before_the_router_sees_requests_on_every_side() -> None:
    async with patched_sidecar() as mesh:
        await mesh.apply(before_router("seen"))
        for side in ("inbound", "outbound", "proxied"):
            await mesh.until(side, lambda answer: marks(answer) == "seen")
    async with patched_gateway() as mesh:
        await mesh.apply(before_router("seen"))
        await mesh.until("gateway", lambda answer: marks(answer) == "seen", host="site.example.com")


@pytest.mark.proves(
    "networking.EnvoyConfigObjectMatch.context",
    "networking.ListenerMatch.portNumber",
    "networking.ListenerMatch.name",
)
async def test_a_context_a_port_and_a_name_say_which_side_is_meant() -> None:
    async with patched_sidecar() as mesh:
        number = mesh.app.port
        inbound = {"context": "SIDECAR_INBOUND", "listener": manager(ROUTER, portNumber=number)}
        outbound = {"context": "SIDECAR_OUTBOUND", "listener": manager(ROUTER, name="0.0.0.0_9080")}
        await mesh.apply(
            before_router("in", **inbound),
            before_router("out", **outbound),
            before_router("gateway", context="GATEWAY"),
            before_router("elsewhere", listener=manager(ROUTER, portNumber=81)),
        )
        await mesh.until("inbound", lambda answer: marks(answer) == "in")
        await mesh.until("outbound", lambda answer: marks(answer) == "out")
        assert marks(await mesh.ask("proxied")) == ""
        assert mesh.matched == [0, 1]


async def test_every_operation_on_http_filters_is_seen_by_requests() -> None:
    base = [
        patch("HTTP_FILTER", "INSERT_BEFORE", marking("b"), listener=manager(ROUTER)),
        patch("HTTP_FILTER", "INSERT_BEFORE", marking("a"), listener=manager("b")),
        patch("HTTP_FILTER", "INSERT_AFTER", marking("c"), listener=manager("b")),
        patch("HTTP_FILTER", "INSERT_FIRST", marking("first")),
        patch("HTTP_FILTER", "ADD", marking("last")),
    ]
    changes = {
        "first,x,b,c,last": patch("HTTP_FILTER", "REPLACE", marking("x"), listener=manager("a")),
        "first,a,c,last": patch("HTTP_FILTER", "REMOVE", listener=manager("b")),
        "first,a,b,merged,last": patch("HTTP_FILTER", "MERGE", marking("c", "merged"), listener=manager("c")),
    }
    async with patched_sidecar() as mesh:
        await mesh.apply(*base)
        await mesh.until("inbound", lambda answer: marks(answer) == "first,a,b,c,last")
        for expected, change in changes.items():
            await mesh.apply(*base, change)
            await mesh.until("inbound", lambda answer, wanted=expected: marks(answer) == wanted)


@pytest.mark.proves("networking.Patch.filterClass")
async def test_a_filter_class_comes_behind_what_it_is_for() -> None:
    config = {"@type": f"{TYPE}.filters.http.rbac.v3.RBAC", "rules": {"policies": _everyone()}}
    rbac = {"name": RBAC, "typed_config": config}
    async with patched_sidecar() as mesh:
        await mesh.apply(
            patch("HTTP_FILTER", "INSERT_FIRST", marking("first")),
            patch("HTTP_FILTER", "INSERT_AFTER", rbac, listener=manager("first")),
            patch("HTTP_FILTER", "INSERT_AFTER", marking("later"), listener=manager(RBAC)),
            patch("HTTP_FILTER", "ADD", marking("stats"), filterClass="STATS"),
            patch("HTTP_FILTER", "ADD", marking("authz"), filterClass="AUTHZ"),
            patch("HTTP_FILTER", "ADD", marking("authn"), filterClass="AUTHN"),
        )
        await mesh.until("inbound", lambda answer: marks(answer) == "authn,first,authz,later,stats")


def _everyone() -> dict[str, object]:
    return {"all": {"permissions": [{"any": True}], "principals": [{"any": True}]}}


async def test_a_local_rate_limit_is_put_into_a_filter_and_a_route() -> None:
    kind = f"{TYPE}.filters.http.local_ratelimit.v3.LocalRateLimit"
    everything = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}
    limits = {
        "@type": "type.googleapis.com/udpa.type.v1.TypedStruct",
        "type_url": kind,
        "value": {
            "stat_prefix": "http_local_rate_limiter",
            "token_bucket": {"max_tokens": 2, "tokens_per_fill": 2, "fill_interval": "600s"},
            "filter_enabled": everything,
            "filter_enforced": everything,
        },
    }
    name = "envoy.filters.http.local_ratelimit"
    config = {"@type": kind, "stat_prefix": "http_local_rate_limiter"}
    async with patched_sidecar() as mesh:
        host = {"name": f"inbound|http|{mesh.app.port}", "route": {"action": "ANY"}}
        await mesh.apply(
            patch(
                "HTTP_FILTER", "INSERT_BEFORE", {"name": name, "typed_config": config},
                context="SIDECAR_INBOUND", listener=manager(ROUTER),
            ),
            patch(
                "HTTP_ROUTE", "MERGE", {"typed_per_filter_config": {name: limits}},
                context="SIDECAR_INBOUND", routeConfiguration={"vhost": host},
            ),
        )  # fmt: skip
        assert mesh.matched == [0, 1]
        await mesh.until("inbound", lambda answer: answer.status == 429)
        assert (await mesh.ask("outbound")).status == 200


async def test_what_envoy_refuses_leaves_the_last_good_filter_and_names_the_envoy_filter() -> None:
    async with patched_sidecar() as mesh:
        await mesh.apply(before_router("good"))
        await mesh.until("inbound", lambda answer: marks(answer) == "good")
        broken = lua("good", "this is not Lua")
        await mesh.apply(patch("HTTP_FILTER", "INSERT_BEFORE", broken, listener=manager(ROUTER)))
        assert marks(await mesh.ask("inbound")) == "good"
        refused = mesh.plane.heard.rejections
        assert {"EnvoyFilter default/patches"} <= {str(ref) for item in refused for ref in item.sources}
        await mesh.apply(before_router("mended"))
        await mesh.until("inbound", lambda answer: marks(answer) == "mended")
        assert not mesh.plane.hub.statuses().proxies[0].rejections


async def test_filters_that_there_are_not_match_nothing() -> None:
    async with patched_sidecar() as mesh:
        await mesh.apply(before_router("x", listener=manager("istio.stats")), before_router("y"))
        await mesh.until("inbound", lambda answer: marks(answer) == "y")
        assert mesh.matched == [1]


async def test_an_envoy_filter_that_goes_takes_its_patches_with_it() -> None:
    async with patched_sidecar() as mesh:
        await mesh.apply(before_router("x"))
        await mesh.until("inbound", lambda answer: marks(answer) == "x")
        await _remove(mesh)
        await mesh.until("inbound", lambda answer: answer.status == 200 and not marks(answer))
        assert mesh.matched == []


async def _remove(mesh: Patched) -> None:
    (ref,) = (item for item in mesh.plane.resources if item.kind == "EnvoyFilter")
    await mesh.plane.remove(ref)
    await mesh.settled()
