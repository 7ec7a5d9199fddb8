"""Routes and gateways of small meshes, written out in full.

A case is a folder of `cases/`: `resources.yaml`, `proxy.yaml` (a proxy's description in node metadata) and
`routing.yaml`, the Envoy resources by name. `make golden` writes the latter anew. Envoy must take each.
"""

from pathlib import Path
from typing import Any

import pytest
from golden_cases import check, load, validate
from google.protobuf import json_format

from marline.compile.gateway import gateway_host_recipes, gateway_hosts, gateway_recipes
from marline.compile.resource import LISTENER, ROUTE, SECRET, VIRTUAL_HOST, Recipe
from marline.compile.routes import unknown_host_recipes, upstream_route_recipe, virtual_host_recipes
from marline.compile.tls import SDS_CLUSTER
from marline.mesh.model import Proxy, Role
from marline.mesh.snapshot import MeshSnapshot

CASES = sorted(
    path.parent for path in (Path(__file__).parent / "cases").glob("*/resources.yaml")
    if path.parent.name.startswith(("routes_", "gateway_"))
)  # fmt: skip
_MANAGER = (
    "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
)
_ROUTER = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"


def recipes(snapshot: MeshSnapshot, proxy: Proxy) -> list[Recipe]:
    if proxy.role is Role.GATEWAY:
        hosts = sorted(gateway_hosts(snapshot))
        routed = (recipe for host in hosts for recipe in gateway_host_recipes(snapshot, proxy, host))
        return [*gateway_recipes(snapshot, proxy), *routed]
    found = [
        recipe
        for service in snapshot.services.values()
        for recipe in virtual_host_recipes(snapshot, proxy, service)
    ]
    for host in snapshot.unknown_hosts(snapshot.scope(proxy)):
        found.extend(unknown_host_recipes(snapshot, proxy, host))
    for upstream in proxy.workloads[0].upstreams:
        hostname = snapshot.resolve_host(upstream.host, proxy.workloads[0].namespace)
        recipe = upstream_route_recipe(snapshot, proxy, upstream, snapshot.services[hostname])
        found.extend([recipe] if recipe is not None else [])
    return found


def written(made: list[Recipe]) -> dict[str, Any]:
    """The resources by name, without what has tests of its own: contents of Secrets, access loggers."""
    found: dict[str, Any] = {}
    for recipe in sorted(made, key=lambda item: item.name):
        message = recipe.build(*recipe.inputs)
        is_secret = recipe.type_url == SECRET
        found[recipe.name] = {} if is_secret else _plain(json_format.MessageToDict(message))
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items() if name != "accessLog"}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def bootstrap(made: list[Recipe]) -> dict[str, Any]:
    """All of it in one static configuration: route tables and virtual hosts in listeners of their own."""
    plain = {recipe.type_url: {} for recipe in made}
    for recipe in made:
        plain[recipe.type_url][recipe.name] = json_format.MessageToDict(recipe.build(*recipe.inputs))
    by_table = {name: {"virtualHosts": [], **table} for name, table in plain.get(ROUTE, {}).items()}
    for name, host in plain.get(VIRTUAL_HOST, {}).items():
        table = name.rpartition("/")[0]
        by_table.setdefault(table, {"name": table, "virtualHosts": []})["virtualHosts"].append(host)
    tables = list(by_table.values())
    for table in tables:
        table["validateClusters"] = False
        table.pop("vhds", None)
    listeners = [_listener(20000 + index, table) for index, table in enumerate(tables)]
    ads = {"api_type": "DELTA_GRPC", "transport_api_version": "V3"}
    clusters = [
        {"name": name, "type": "STATIC", "load_assignment": {"cluster_name": name, "endpoints": []}}
        for name in ("ads", SDS_CLUSTER)
    ]
    return {
        "node": {"id": "proxy", "cluster": "proxy"},
        "dynamic_resources": {
            "ads_config": {**ads, "grpc_services": [{"envoy_grpc": {"cluster_name": "ads"}}]}
        },
        "static_resources": {
            "clusters": clusters,
            "listeners": [*plain.get(LISTENER, {}).values(), *listeners],
        },
    }


def _listener(port: int, table: dict[str, Any]) -> dict[str, Any]:
    manager = {
        "@type": _MANAGER,
        "stat_prefix": "golden",
        "route_config": table,
        "http_filters": [{"name": "router", "typed_config": {"@type": _ROUTER}}],
    }
    return {
        "name": f"table_{port}",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [{"filters": [{"name": "hcm", "typed_config": manager}]}],
    }


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_case_compiles_to_what_is_written(case: Path) -> None:
    made = written(recipes(*load(case)))
    check(made, case / "routing.yaml")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_envoy_takes_the_case(case: Path) -> None:
    assert await validate(bootstrap(recipes(*load(case)))) == ""
