"""EnvoyFilters change route configurations, virtual hosts and routes in running Envoys."""

from typing import Any

import pytest
from patched_mesh import (
    REVIEWS,
    ROUTER,
    Patched,
    direct_response,
    manager,
    marking,
    marks,
    patch,
    patched_gateway,
    patched_sidecar,
)

from marline.api.decode import admit
from marline.api.errors import InvalidResource


def adding(name: str, value: str = "yes") -> dict[str, Any]:
    """What adds a header to responses, on any level of routes."""
    return {"response_headers_to_add": [{"header": {"key": name, "value": value}}]}


def has(name: str) -> Any:
    return lambda answer: name in answer.headers


@pytest.mark.proves(
    "networking.RouteConfigurationMatch.name", "networking.RouteConfigurationMatch.portNumber"
)
async def test_a_route_configuration_is_merged_into() -> None:
    async with patched_sidecar() as mesh:
        table = {"name": "http_proxy"}
        await mesh.apply(
            patch("ROUTE_CONFIGURATION", "MERGE", adding("x-proxy"), routeConfiguration=table),
            patch(
                "ROUTE_CONFIGURATION", "MERGE_AND_REPLACE_LIST", adding("x-port"),
                context="SIDECAR_OUTBOUND", routeConfiguration={"portNumber": 9080},
            ),
            patch("ROUTE_CONFIGURATION", "MERGE", adding("x-in"), context="SIDECAR_INBOUND"),
        )  # fmt: skip
        assert "x-port" not in (await mesh.until("proxied", has("x-proxy"))).headers
        assert "x-proxy" not in (await mesh.until("outbound", has("x-port"))).headers
        await mesh.until("inbound", has("x-in"))


@pytest.mark.proves("networking.VirtualHostMatch.name", "networking.VirtualHostMatch.domainName")
async def test_a_virtual_host_is_merged_into_replaced_removed_and_added() -> None:
    host = {"name": f"{REVIEWS}:9080"}
    async with patched_sidecar() as mesh:
        await mesh.apply(
            patch("VIRTUAL_HOST", "MERGE", adding("x-name"), routeConfiguration={"vhost": host}),
            patch("VIRTUAL_HOST", "MERGE", adding("x-domain"),
                  routeConfiguration={"vhost": {"domainName": "reviews:9080"}}),
        )  # fmt: skip
        assert "x-domain" in (await mesh.until("proxied", has("x-name"))).headers
        assert "x-domain" not in (await mesh.until("outbound", has("x-name"))).headers
        mine = {"name": "mine", "domains": ["*"], "routes": [direct_response("replaced")]}
        await mesh.apply(patch("VIRTUAL_HOST", "REPLACE", mine, routeConfiguration={"vhost": host}))
        await mesh.until("outbound", lambda answer: answer.text == "replaced")
        added = {"name": "mine", "domains": ["reviews:9080"], "routes": [direct_response("added")]}
        gone = patch("VIRTUAL_HOST", "REMOVE", routeConfiguration={"name": "http_proxy", "vhost": host})
        await mesh.apply(gone)
        await mesh.apply(gone, patch("VIRTUAL_HOST", "ADD", added, routeConfiguration={"name": "http_proxy"}))
        await mesh.until("proxied", lambda answer: answer.text == "added")
        assert (await mesh.ask("outbound")).backend == "reviews"


@pytest.mark.proves("networking.RouteMatch.name")
async def test_routes_are_merged_into_added_inserted_and_removed() -> None:
    everything = {"context": "SIDECAR_OUTBOUND", "routeConfiguration": {"vhost": {"name": f"{REVIEWS}:9080"}}}
    default = {
        "context": "SIDECAR_OUTBOUND",
        "routeConfiguration": {"vhost": {"name": f"{REVIEWS}:9080", "route": {"name": "default"}}},
    }
    first = direct_response("first")
    async with patched_sidecar() as mesh:
        await mesh.apply(patch("HTTP_ROUTE", "MERGE", {"route": {"prefix_rewrite": "/moved"}}, **default))
        await mesh.until("outbound", lambda answer: '"/moved"' in answer.text)
        for operation, match in (("INSERT_FIRST", everything), ("INSERT_BEFORE", default)):
            await mesh.apply(patch("HTTP_ROUTE", operation, first, **match))
            await mesh.until("outbound", lambda answer: answer.text == "first")
            await mesh.apply(patch("HTTP_ROUTE", "INSERT_AFTER", first, **match))
            await mesh.until("outbound", lambda answer: answer.backend == "reviews")
        await mesh.apply(
            patch("HTTP_ROUTE", "REMOVE", **default), patch("HTTP_ROUTE", "ADD", first, **everything)
        )
        await mesh.until("outbound", lambda answer: answer.text == "first")


@pytest.mark.proves("gateway_api.HTTPRouteRule.name", "gateway_api.GRPCRouteRule.name")
@pytest.mark.parametrize("kind", ["HTTPRoute", "GRPCRoute"])
async def test_the_rules_of_the_gateway_apis_routes_are_found_by_their_names(kind: str) -> None:
    def rule(name: str) -> dict[str, Any]:
        path = {"path": {"value": f"/demo.{name}"}} if kind == "HTTPRoute" else {}
        method = {"method": {"service": f"demo.{name}"}} if kind == "GRPCRoute" else {}
        return {"name": name, "matches": [path | method], "backendRefs": [{"name": "reviews", "port": 9080}]}

    head = {"apiVersion": "gateway.networking.k8s.io/v1", "kind": kind}
    parent = {"group": "", "kind": "Service", "name": "reviews"}
    spec = {"parentRefs": [parent], "rules": [rule("one"), rule("two")]}
    found = {"name": f"{REVIEWS}:9080", "route": {"name": "default.routes.two"}}
    async with patched_sidecar() as mesh:
        metadata = {"name": "routes", "namespace": "default"}
        await mesh.plane.put(admit({**head, "metadata": metadata, "spec": spec}))
        await mesh.apply(patch("HTTP_ROUTE", "MERGE", adding("x-two"), routeConfiguration={"vhost": found}))
        await mesh.until("outbound", has("x-two"), path="/demo.two/Hello")
        assert "x-two" not in (await mesh.ask("outbound", "/demo.one/Hello")).headers


@pytest.mark.proves("networking.RouteMatch.action", "networking.RouteConfigurationMatch.vhost")
async def test_routes_are_found_by_what_they_do() -> None:
    def to(action: str) -> dict[str, Any]:
        host = {"name": f"{REVIEWS}:9080", "route": {"action": action}}
        return patch("HTTP_ROUTE", "MERGE", adding("x-" + action.lower()), routeConfiguration={"vhost": host})

    front = patch(
        "HTTP_ROUTE", "INSERT_FIRST", direct_response("x") | {"match": {"path": "/said"}},
        routeConfiguration={"vhost": {"name": f"{REVIEWS}:9080"}},
    )  # fmt: skip
    async with patched_sidecar() as mesh:
        await mesh.apply(front, name="a-first")
        await mesh.apply(to("ROUTE"), to("REDIRECT"), name="b-then")
        answer = await mesh.until("outbound", has("x-route"))
        assert "x-redirect" not in answer.headers
        said = await mesh.ask("outbound", "/said")
        assert said.text == "x"
        assert not has("x-route")(said)


@pytest.mark.proves(
    "networking.RouteConfigurationMatch.gateway", "networking.RouteConfigurationMatch.portName"
)
async def test_a_gateways_routes_are_found_as_istio_names_them() -> None:
    async with patched_gateway() as mesh:

        def merge(header: str, **match: Any) -> dict[str, Any]:
            return patch("VIRTUAL_HOST", "MERGE", adding(header), context="GATEWAY", routeConfiguration=match)

        await mesh.apply(
            merge("x-table", name="http.80"),
            merge("x-port", portNumber=80, vhost={"name": "site.example.com:80"}),
            merge("x-listening", portNumber=mesh.ports["gateway"]),
            merge("x-gateway", gateway="default/edge"),
            merge("x-port-name", portName="http"),
        )
        answer = await mesh.until("gateway", has("x-table"), host="site.example.com")
        assert {"x-port", "x-listening"} <= answer.headers.keys()
        # As in Istio, a table for plain HTTP is for all gateways and does not say which.
        assert mesh.matched == [0, 1, 2]


async def ordered(mesh: Patched, expected: str) -> None:
    await mesh.until("inbound", lambda answer: marks(answer) == expected)


@pytest.mark.proves("networking.EnvoyFilterSpec.priority", "networking.EnvoyFilterSpec.configPatches")
async def test_lower_priorities_are_applied_first() -> None:
    async with patched_sidecar() as mesh:
        for name, priority in (("late", 10), ("early", -10), ("middle", 0)):
            item = patch("HTTP_FILTER", "INSERT_BEFORE", marking(name), listener=manager(ROUTER))
            await mesh.apply(item, name=name, priority=priority)
        await ordered(mesh, "early,middle,late")


@pytest.mark.proves(
    "networking.EnvoyFilterSpec.workloadSelector",
    "model.NetworkingSelector.labels",
    "networking.ProxyMatch.metadata",
    "networking.ProxyMatch.proxyVersion",
)
async def test_workloads_are_selected_by_labels_and_by_what_their_proxies_say() -> None:
    def item(name: str, **match: Any) -> dict[str, Any]:
        return patch("HTTP_FILTER", "INSERT_BEFORE", marking(name), listener=manager(ROUTER), **match)

    async with patched_sidecar(version="v1") as mesh:
        await mesh.apply(item("v2"), name="a", workloadSelector={"labels": {"version": "v2"}})
        await mesh.apply(
            item("elsewhere", proxy={"metadata": {"NAMESPACE": "elsewhere"}}),
            item("old", proxy={"proxyVersion": r"^1\.1\d\."}),
            item("here", proxy={"proxyVersion": r"^1\.3", "metadata": {"NAMESPACE": "default"}}),
            name="b",
            workloadSelector={"labels": {"version": "v1"}},
        )
        await ordered(mesh, "here")


@pytest.mark.proves(
    "networking.EnvoyFilterSpec.targetRefs",
    "model.PolicyTargetReference.group",
    "model.PolicyTargetReference.kind",
    "model.PolicyTargetReference.name",
)
async def test_proxies_of_a_gateway_are_targeted() -> None:
    label = {"gateway.networking.k8s.io/gateway-name": "edge"}
    async with patched_gateway(**label) as mesh:
        for name in ("other", "edge"):
            target = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": name}
            item = patch("HTTP_FILTER", "INSERT_BEFORE", marking(name), listener=manager(ROUTER))
            await mesh.apply(item, name=name, targetRefs=[target])
        await mesh.until("gateway", lambda answer: marks(answer) == "edge", host="site.example.com")
        target = {"group": "networking.istio.io", "kind": "Gateway", "name": "edge"}
        with pytest.raises(InvalidResource, match="is not acted on: expected"):
            await mesh.apply(item, name="other-group", targetRefs=[target])
