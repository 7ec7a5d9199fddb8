"""Which resources a patch is for: Istio's names and ports hold in every kind of proxy."""

import pytest
from patch_mesh import EXPLICIT, GATEWAY, HCM, REVIEWS, TRANSPARENT, envoy_filter, mesh, patched, recipes

from marline.mesh.model import Proxy

ROUTER = f"filterChain: {{filter: {{name: {HCM}, subFilter: {{name: envoy.filters.http.router}}}}}}"
PATCH = "patch: {operation: INSERT_BEFORE, value: {name: x}}"


def places(match: str, proxy: Proxy, apply_to: str = "HTTP_FILTER", patch: str = PATCH) -> set[str]:
    return set(patched(mesh(envoy_filter(f"[{{applyTo: {apply_to}, match: {match}, {patch}}}]")), proxy))


def test_a_filter_before_the_router_is_put_into_every_connection_manager() -> None:
    assert places(f"{{listener: {{{ROUTER}}}}}", TRANSPARENT) == {"virtualInbound", "0.0.0.0_9080"}
    assert places(f"{{listener: {{{ROUTER}}}}}", EXPLICIT) == {
        "inbound_127.0.0.1_9080",
        "explicit_31001",
        "http_proxy",
    }
    assert places(f"{{listener: {{{ROUTER}}}}}", GATEWAY) == {"0.0.0.0_8080"}


@pytest.mark.parametrize(
    ("context", "proxy", "expected"),
    [
        ("SIDECAR_INBOUND", TRANSPARENT, {"virtualInbound"}),
        ("SIDECAR_OUTBOUND", TRANSPARENT, {"0.0.0.0_9080"}),
        ("GATEWAY", TRANSPARENT, set()),
        ("SIDECAR_INBOUND", EXPLICIT, {"inbound_127.0.0.1_9080"}),
        ("GATEWAY", GATEWAY, {"0.0.0.0_8080"}),
        ("SIDECAR_OUTBOUND", GATEWAY, set()),
    ],
)
def test_a_context_is_a_side_of_a_sidecar_or_a_gateway(
    context: str, proxy: Proxy, expected: set[str]
) -> None:
    assert places(f"{{context: {context}, listener: {{{ROUTER}}}}}", proxy) == expected


@pytest.mark.parametrize(
    ("match", "proxy", "expected"),
    [
        ("{portNumber: 9080}", TRANSPARENT, {"virtualInbound", "0.0.0.0_9080"}),
        ("{portNumber: 9081}", TRANSPARENT, set()),
        ("{name: 0.0.0.0_9080}", TRANSPARENT, {"0.0.0.0_9080"}),
        ("{name: virtualInbound}", TRANSPARENT, {"virtualInbound"}),
        ("{portNumber: 9080}", EXPLICIT, {"inbound_127.0.0.1_9080", "explicit_31001"}),
        ("{name: 0.0.0.0_9080}", EXPLICIT, {"explicit_31001"}),
        ("{name: virtualInbound}", EXPLICIT, {"inbound_127.0.0.1_9080"}),
        ("{portNumber: 80}", GATEWAY, {"0.0.0.0_8080"}),
        ("{portNumber: 8080}", GATEWAY, {"0.0.0.0_8080"}),
        ("{portNumber: 443}", GATEWAY, set()),
    ],
)
def test_listeners_are_found_by_the_port_and_the_name_that_istio_gives_them(
    match: str, proxy: Proxy, expected: set[str]
) -> None:
    assert places(f"{{listener: {match}}}", proxy) == expected


@pytest.mark.parametrize(
    ("match", "proxy", "expected"),
    [
        (f"{{name: '9080', vhost: {{name: '{REVIEWS}:9080'}}}}", TRANSPARENT, {f"9080/{REVIEWS}:9080"}),
        ("{portNumber: 9080, vhost: {domainName: reviews}}", TRANSPARENT, {f"9080/{REVIEWS}:9080"}),
        ("{vhost: {name: allow_any}}", TRANSPARENT, {"9080"}),
        ("{vhost: {name: 'inbound|http|9080'}}", TRANSPARENT, {"virtualInbound"}),
        ("{portNumber: 81}", TRANSPARENT, set()),
        (
            f"{{name: '9080', vhost: {{name: '{REVIEWS}:9080'}}}}",
            EXPLICIT,
            {f"http_proxy/{REVIEWS}:9080", "explicit_31001"},
        ),
        ("{name: http_proxy, vhost: {name: allow_any}}", EXPLICIT, {"http_proxy"}),
        ("{name: http.80, vhost: {name: 'site.example.com:80'}}", GATEWAY, {"http.80/site.example.com"}),
        ("{name: http.8080, vhost: {route: {name: all}}}", GATEWAY, {"http.80/site.example.com"}),
        ("{portNumber: 8080, vhost: {route: {action: ROUTE}}}", GATEWAY, {"http.80/site.example.com"}),
        ("{vhost: {route: {action: REDIRECT}}}", GATEWAY, set()),
    ],
)
def test_routes_are_found_by_table_host_name_and_action(match: str, proxy: Proxy, expected: set[str]) -> None:
    patch = "patch: {operation: MERGE, value: {response_headers_to_remove: [x-a]}}"
    assert places(f"{{routeConfiguration: {match}}}", proxy, "HTTP_ROUTE", patch) == expected


@pytest.mark.parametrize(
    ("match", "expected"),
    [
        (f"{{cluster: {{service: {REVIEWS}, portNumber: 9000}}}}",
         {f"outbound|9000||{REVIEWS}", f"outbound|9000|v1|{REVIEWS}"}),
        (f"{{context: SIDECAR_INBOUND, cluster: {{service: {REVIEWS}}}}}", {"inbound|9080||"}),
        ("{cluster: {name: PassthroughCluster}}", {"PassthroughCluster"}),
        ("{cluster: {name: InboundPassthroughClusterIpv4}}", {"InboundPassthroughCluster"}),
        ("{cluster: {service: details.default.svc.cluster.local}}", set()),
    ],
)  # fmt: skip
def test_clusters_are_found_by_service_port_subset_and_name(match: str, expected: set[str]) -> None:
    patch = "patch: {operation: MERGE, value: {connect_timeout: 1s}}"
    assert places(match, TRANSPARENT, "CLUSTER", patch) == expected


def test_what_no_patch_is_for_keeps_its_recipe() -> None:
    match = f"{{context: SIDECAR_OUTBOUND, cluster: {{service: {REVIEWS}, portNumber: 9000}}}}"
    patch = f"[{{applyTo: CLUSTER, match: {match}, patch: {{operation: REMOVE}}}}]"
    before, after = (recipes(item, TRANSPARENT) for item in (mesh(), mesh(envoy_filter(patch))))
    changed = {item.name for item in after if item not in before}
    assert changed == {f"outbound|9000||{REVIEWS}", f"outbound|9000|v1|{REVIEWS}"}


@pytest.mark.parametrize(
    ("match", "is_for_it"),
    [
        ("{metadata: {NAMESPACE: default, NAME: reviews-1}}", True),
        ("{metadata: {NAMESPACE: other}}", False),
        (r"{proxyVersion: '^1\.3'}", True),
        (r"{proxyVersion: '^1\.1[0-9]'}", False),
    ],
)
def test_proxies_are_found_by_what_they_say_of_themselves(match: str, is_for_it: bool) -> None:
    assert bool(places(f"{{proxy: {match}}}", TRANSPARENT)) is is_for_it
