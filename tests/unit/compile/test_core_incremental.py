"""A view kept up to date change by change is the view that compiling all of it gives."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

from core_meshes import DOCUMENTS, resources
from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_gateway_secrets import config_map_yaml, pair, secret_yaml

from marline.api.resource import Ref, Resource
from marline.compile.catalog import affected, compile_unit, units
from marline.compile.resource import Recipe
from marline.compile.units import Unit
from marline.mesh.model import (
    Capture,
    ChangeSet,
    InboundPort,
    Locality,
    MeshSettings,
    Protocol,
    Proxy,
    Role,
    Upstream,
    Workload,
)
from marline.mesh.snapshot import MeshSnapshot, advance, empty

WORKLOAD = Workload(
    "default",
    "reviews-1",
    "reviews",
    labels=(("app", "reviews"), ("version", "v1")),
    inbound=(
        InboundPort("http", 9080, "127.0.0.1", 9080, Protocol.HTTP),
        InboundPort("tcp", 9000, "127.0.0.1", 9000, Protocol.TCP),
    ),
    upstreams=(
        Upstream("ratings", 9080, 31001),
        Upstream("db.other", 5432, 31002),
        Upstream("legacy", 80, 31003),
    ),
    http_proxy_port=31000,
)
PLACED = Workload("default", "ratings-1", labels=(("version", "v2"),), locality=Locality("eu", "b", "1"))
GATEWAY = Workload("istio-system", "gateway-1", labels=(("istio", "ingressgateway"),))
PROXIES = (
    Proxy("transparent", Role.SIDECAR, Capture.TRANSPARENT, (WORKLOAD,)),
    Proxy("explicit", Role.SIDECAR, Capture.EXPLICIT, (WORKLOAD,)),
    Proxy("elsewhere", Role.SIDECAR, Capture.TRANSPARENT, (replace(WORKLOAD, namespace="other"),)),
    Proxy("placed", Role.SIDECAR, Capture.TRANSPARENT, (PLACED,)),
    Proxy("gateway", Role.GATEWAY, Capture.EXPLICIT, (GATEWAY,)),
)
CERTIFICATE, KEY = pair("ec")
PROVIDERS = (
    "{dnsRefreshRate: 7s, extensionProviders: [{name: asked, envoyExtAuthzGrpc: {port: 5432, service: "
    "db.other.svc.cluster.local}}]}"
)
MESH_CONFIG = """
apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data: {mesh: "%s"}
"""
POOL = (
    *resources(DOCUMENTS),
    *resources(secret_yaml("client", "default", tls_crt=CERTIFICATE, tls_key=KEY)),
    *resources(secret_yaml("web", "default", tls_crt=CERTIFICATE, tls_key=KEY)),
    *resources(config_map_yaml("authority", "default", CERTIFICATE)),
    *resources(secret_yaml("client-cacert", "default", ca_crt=CERTIFICATE)),
    *resources(
        MESH_CONFIG
        % "{pathNormalization: {normalization: NONE}, outboundTrafficPolicy: {mode: REGISTRY_ONLY}}"
    ),
    *resources(MESH_CONFIG % "{defaultHttpRetryPolicy: {attempts: 5}, trustDomainAliases: [old.example]}"),
    *resources(MESH_CONFIG % PROVIDERS),
)
PLACES = {
    (item.kind, item.namespace, item.metadata.name): index for index, item in reversed([*enumerate(POOL)])
}
"""Where documents stand in the pool; of those that share a name, the first."""
View = dict[Unit, tuple[Recipe, ...]]

steps = st.lists(
    st.lists(st.tuples(st.integers(0, len(POOL) - 1), st.booleans()), min_size=1, max_size=4), max_size=12
)


def arrivals(*documents: tuple[str, str, str]) -> list[list[tuple[int, bool]]]:
    """Changes that put one document each."""
    return [[(PLACES[document], True)] for document in documents]


def whole(snapshot: MeshSnapshot, proxy: Proxy) -> dict[tuple[str, str], tuple[Any, ...]]:
    return contents(proxy, {unit: compile_unit(snapshot, proxy, unit) for unit in units(snapshot, proxy)})


def wires(snapshot: MeshSnapshot, proxy: Proxy) -> list[bytes]:
    """What is sent to a proxy, byte for byte."""
    recipes = (recipe for unit in units(snapshot, proxy) for recipe in compile_unit(snapshot, proxy, unit))
    return sorted(recipe.make().wire for recipe in recipes)


def contents(proxy: Proxy, view: View) -> dict[tuple[str, str], tuple[Any, ...]]:
    """By type and name; no two units make the same resource."""
    found: dict[tuple[str, str], tuple[Any, ...]] = {}
    for recipes in view.values():
        for recipe in recipes:
            key = (recipe.type_url, recipe.name)
            assert key not in found, f"{proxy.node_id} has two resources named {recipe.name}"
            found[key] = (recipe.build, recipe.inputs)
    return found


def step(state: dict[Ref, Resource[Any]], choices: list[tuple[int, bool]], number: int) -> ChangeSet:
    """Each chosen document is put if it is not there as it is, else removed."""
    put: dict[Ref, Resource[Any]] = {}
    gone: dict[Ref, None] = {}
    for index, keep in choices:
        item = POOL[index]
        if item.ref in put or item.ref in gone:
            continue
        if state.get(item.ref) is item and not keep:
            gone[item.ref] = None
            del state[item.ref]
        else:
            put[item.ref] = state[item.ref] = item
    return ChangeSet(tuple(put.values()), tuple(gone), str(number))


@settings(max_examples=40, deadline=None)
@given(st.permutations(range(len(POOL))), st.lists(st.integers(0, len(POOL)), max_size=4))
def test_the_order_in_which_resources_come_does_not_matter(order: list[int], cuts: list[int]) -> None:
    chosen = {item.ref: item for item in POOL}
    arriving = [POOL[index] for index in order if chosen[POOL[index].ref] is POOL[index]]
    snapshot = empty(MeshSettings())
    bounds = [0, *sorted(min(cut, len(arriving)) for cut in cuts), len(arriving)]
    for number, (start, end) in enumerate(pairwise(bounds), start=1):
        snapshot, _ = advance(snapshot, ChangeSet(tuple(arriving[start:end]), (), str(number)))
    anew, _ = advance(empty(MeshSettings()), ChangeSet(tuple(chosen.values()), (), "1"))
    for proxy in PROXIES:
        assert wires(snapshot, proxy) == wires(anew, proxy)


@settings(max_examples=120, deadline=None)
@given(steps)
@example(
    arrivals(
        ("Service", "default", "reviews"),
        ("Service", "other", "db"),
        ("ReferenceGrant", "other", "grant"),
        ("TCPRoute", "default", "bytes"),
        ("GRPCRoute", "other", "consumer"),
    )
)
@example(arrivals(("VirtualService", "other", "wide"), ("Sidecar", "default", "narrow")))
@example(
    [
        [(len(POOL) - 1, True)],
        *arrivals(("AuthorizationPolicy", "default", "asking"), ("Service", "other", "db")),
    ]
)
@example(
    [[(PLACES["AuthorizationPolicy", "default", "watched"] - back, True)] for back in (1, 0)],
)
def test_following_changes_gives_what_starting_anew_gives(changes: list[list[tuple[int, bool]]]) -> None:
    state: dict[Ref, Resource[Any]] = {}
    snapshot, _ = advance(empty(MeshSettings()), ChangeSet((), (), "0"))
    views: dict[str, View] = {
        proxy.node_id: {unit: compile_unit(snapshot, proxy, unit) for unit in units(snapshot, proxy)}
        for proxy in PROXIES
    }
    for number, choices in enumerate(changes, start=1):
        snapshot, impact = advance(snapshot, step(state, choices, number))
        wide = ("Sidecar", "ConfigMap", "RevokedIdentity")
        assert not impact.everything or any(POOL[index].kind in wide for index, _ in choices)
        for proxy in PROXIES:
            for unit in affected(snapshot, proxy, impact):
                views[proxy.node_id][unit] = compile_unit(snapshot, proxy, unit)
    anew, _ = advance(empty(MeshSettings()), ChangeSet(tuple(state.values()), (), "1"))
    for proxy in PROXIES:
        assert contents(proxy, views[proxy.node_id]) == whole(anew, proxy)
    for table in ("services", "claims", "endpoints", "by_port", "by_address", "selectors", "labelled"):
        assert getattr(snapshot.registry, table) == getattr(anew.registry, table), table
    assert snapshot.rules.referring == anew.rules.referring
    assert snapshot.rules.bound == anew.rules.bound
    tables = (
        "connecting", "attached", "delegating", "service_routes", "backing", "crossing", "policies",
        "backend_tls", "authorities", "authorization",
    )  # fmt: skip
    for table in tables:
        assert getattr(snapshot.rules, table) == getattr(anew.rules, table), table


@settings(max_examples=80, deadline=None)
@given(st.lists(st.integers(0, len(POOL) - 1), min_size=20, max_size=40))
def test_what_proxies_share_is_what_each_would_have_alone(chosen: list[int]) -> None:
    documents = tuple({POOL[index].ref: POOL[index] for index in chosen}.values())
    shared, _ = advance(empty(MeshSettings()), ChangeSet(documents, (), "1"))
    for proxy in PROXIES:
        alone, _ = advance(empty(MeshSettings()), ChangeSet(documents, (), "1"))
        assert whole(shared, proxy) == whole(alone, proxy)
