"""What sidecars of small meshes listen to and connect to, written out in full.

A case is a folder of `cases/`: `resources.yaml`, `proxy.yaml` (a proxy's description in node metadata) and
`view.yaml`, the listeners, clusters and endpoints by name. `make golden` writes the latter anew. Envoy
must take each.
"""

from pathlib import Path
from typing import Any

import pytest
from golden_cases import check, load, validate
from google.protobuf import json_format

from marline.compile.catalog import compile_unit, units
from marline.compile.resource import CLUSTER, ENDPOINT, LISTENER, Recipe
from marline.mesh.model import Proxy
from marline.mesh.snapshot import MeshSnapshot

CASES = sorted(path.parent for path in (Path(__file__).parent / "cases").glob("core_*/resources.yaml"))
SAME_EVERYWHERE = frozenset(
    {
        "@type", "accessLog", "commonLbConfig", "continueOnListenerFiltersTimeout", "dnsLookupFamily",
        "dnsRefreshRate", "http2ProtocolOptions", "httpFilters", "ignoreHealthOnHostRemoval",
        "normalizePath", "pathWithEscapedSlashesAction", "resourceApiVersion", "respectDnsTtl",
        "retryPolicy", "serverHeaderTransformation", "setCurrentClientCertDetails", "streamIdleTimeout",
        "trafficDirection", "upgradeConfigs", "useRemoteAddress",
    }
)  # fmt: skip
"""Settings that no case is about; they have tests of their own."""
SHOWN_FILTERS = {"envoy.filters.http.rbac", "envoy.filters.http.jwt_authn", "marline.token_cookies"}
"""The HTTP filters that are shown: cases are about them."""
UNLIMITED = {"maxConnections", "maxPendingRequests", "maxRequests", "maxRetries"}
SHOWN = {LISTENER: "listeners", CLUSTER: "clusters", ENDPOINT: "endpoints"}


def recipes(snapshot: MeshSnapshot, proxy: Proxy) -> list[Recipe]:
    found = [recipe for unit in units(snapshot, proxy) for recipe in compile_unit(snapshot, proxy, unit)]
    return sorted((item for item in found if item.type_url in SHOWN), key=lambda item: item.name)


def written(made: list[Recipe]) -> dict[str, dict[str, Any]]:
    """By kind and name, without what is the same everywhere, and of the mesh's TLS contexts only the names
    that they speak of."""
    found: dict[str, dict[str, Any]] = {kind: {} for kind in SHOWN.values()}
    for recipe in made:
        message = json_format.MessageToDict(recipe.build(*recipe.inputs))
        found[SHOWN[recipe.type_url]][recipe.name] = _short(message)
    return found


def _short(value: Any) -> Any:
    if isinstance(value, list):
        return [_short(item) for item in value]
    if not isinstance(value, dict):
        return value
    if "commonTlsContext" in value and "tlsCertificateSdsSecretConfigs" in value["commonTlsContext"]:
        return _mesh_tls(value)
    shown = {
        name: _short(item)
        for name, item in value.items()
        if name not in SAME_EVERYWHERE and not _is_default(name, item)
    }
    filters = [_short(item) for item in value.get("httpFilters", ()) if item["name"] in SHOWN_FILTERS]
    return {**shown, "httpFilters": filters} if filters else shown


def _is_default(name: str, value: Any) -> bool:
    if name == "circuitBreakers":
        (limits,) = value["thresholds"]
        return {limits[limit] for limit in UNLIMITED} == {2**32 - 1}
    return name == "connectTimeout" and value == "10s"


def _mesh_tls(context: dict[str, Any]) -> dict[str, Any]:
    common = context["commonTlsContext"]
    validation = common["combinedValidationContext"]["defaultValidationContext"]
    names = [item["matcher"] for item in validation.get("matchTypedSubjectAltNames", ())]
    expected = [name["exact"] if "exact" in name else f"{name['prefix']}*" for name in names]
    shown = {
        "mesh": True,
        "sni": context.get("sni"),
        "alpn": common.get("alpnProtocols"),
        "expected": expected,
    }
    return {name: item for name, item in shown.items() if item}


def bootstrap(made: list[Recipe]) -> dict[str, Any]:
    ads = {"api_type": "DELTA_GRPC", "transport_api_version": "V3"}
    plain: dict[str, list[Any]] = {kind: [] for kind in SHOWN}
    for recipe in made:
        plain[recipe.type_url].append(json_format.MessageToDict(recipe.build(*recipe.inputs)))
    servers = [
        {"name": name, "type": "STATIC", "load_assignment": {"cluster_name": name, "endpoints": []}}
        for name in ("ads", "sds-grpc")
    ]
    return {
        "node": {"id": "proxy", "cluster": "proxy"},
        "dynamic_resources": {
            "ads_config": {**ads, "grpc_services": [{"envoy_grpc": {"cluster_name": "ads"}}]}
        },
        "static_resources": {"clusters": [*servers, *plain[CLUSTER]], "listeners": plain[LISTENER]},
    }


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_case_compiles_to_what_is_written(case: Path) -> None:
    made = written(recipes(*load(case)))
    check(made, case / "view.yaml")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_envoy_takes_the_case(case: Path) -> None:
    assert await validate(bootstrap(recipes(*load(case)))) == ""
