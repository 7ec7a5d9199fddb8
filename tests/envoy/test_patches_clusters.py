"""EnvoyFilters change clusters in running Envoys, add some, and add configurations of extensions."""

from typing import Any

import pytest
from patched_mesh import REVIEWS, direct_response, manager, marking, marks, patch, patched_sidecar
from routing_envoy import backend, cluster

OUTBOUND = {"context": "SIDECAR_OUTBOUND", "cluster": {"service": REVIEWS, "portNumber": 9080}}


def to(port: int, name: str = "x") -> dict[str, Any]:
    return {"load_assignment": cluster(name, [port])["load_assignment"]}


@pytest.mark.proves("networking.ClusterMatch.name", "networking.ClusterMatch.portNumber")
async def test_a_cluster_is_merged_into_with_lists_appended_or_replaced() -> None:
    async with patched_sidecar() as mesh, backend("other") as other:
        inbound = {"context": "SIDECAR_INBOUND", "cluster": {"portNumber": mesh.app.port}}
        await mesh.apply(patch("CLUSTER", "MERGE_AND_REPLACE_LIST", to(other.port), **inbound))
        await mesh.until("inbound", lambda answer: answer.backend == "other")
        by_name = {"cluster": {"name": f"inbound|{mesh.app.port}||"}}
        await mesh.apply(patch("CLUSTER", "MERGE", to(other.port), **by_name))
        await mesh.until("inbound", lambda answer: answer.backend == "app")
        await mesh.until("inbound", lambda answer: answer.backend == "other")


@pytest.mark.proves("networking.ClusterMatch.service", "networking.ClusterMatch.subset")
async def test_a_cluster_is_removed_and_another_added() -> None:
    async with patched_sidecar() as mesh, backend("other") as other:
        subset = {"cluster": {"service": REVIEWS, "subset": "v9"}}
        await mesh.apply(patch("CLUSTER", "REMOVE", **subset), patch("CLUSTER", "REMOVE", **OUTBOUND))
        await mesh.until("outbound", lambda answer: answer.status == 503)
        assert mesh.matched == [1]
        host = {"name": f"{REVIEWS}:9080", "route": {"name": "default"}}
        await mesh.apply(
            patch("CLUSTER", "ADD", cluster("mine", [other.port])),
            patch("HTTP_ROUTE", "MERGE", {"route": {"cluster": "mine"}}, routeConfiguration={"vhost": host}),
        )
        await mesh.until("outbound", lambda answer: answer.backend == "other")


async def test_a_configuration_of_an_extension_is_found_by_the_filter_that_asks_for_it() -> None:
    kind = "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua"
    source = {"config_source": {"ads": {}, "resource_api_version": "V3"}, "type_urls": [kind]}
    asking = {"name": "mine", "config_discovery": source}
    async with patched_sidecar() as mesh:
        for text in ("one", "two"):
            await mesh.apply(
                patch("EXTENSION_CONFIG", "ADD", marking("mine", text)),
                patch("HTTP_FILTER", "INSERT_FIRST", asking, listener=manager()),
            )
            await mesh.until("inbound", lambda answer, wanted=text: marks(answer) == wanted)


async def test_a_route_to_a_cluster_that_is_added_in_the_same_step_never_fails() -> None:
    async with patched_sidecar() as mesh, backend("other") as other:
        await mesh.until("outbound", lambda answer: answer.status == 200)
        host = {"name": f"{REVIEWS}:9080"}
        first = direct_response("x") | {"match": {"path": "/x"}}
        await mesh.apply(
            patch("CLUSTER", "ADD", cluster("mine", [other.port])),
            patch("HTTP_ROUTE", "MERGE", {"route": {"cluster": "mine"}}, routeConfiguration={"vhost": host}),
            patch("HTTP_ROUTE", "INSERT_FIRST", first, routeConfiguration={"vhost": host}),
        )
        answers = [await mesh.ask("outbound") for _ in range(20)]
        assert {answer.status for answer in answers} == {200}
        assert mesh.matched == [0, 1, 2]
