"""Which EnvoyFilters change a proxy's bootstrap, in which order, and how they are merged into it."""

from dataclasses import replace
from typing import Any

from patch_mesh import EXPLICIT, GATEWAY

from marline.api.decode import admit
from marline.api.resource import Resource
from marline.compile.patch_bootstrap import bootstrap_patches, patch_bootstrap
from marline.mesh.model import Proxy, Workload
from marline.node.bootstrap import bootstrap


def envoy_filter(
    name: str, *, context: str = "ANY", namespace: str = "default", value: Any = None, **more: Any
) -> Resource[Any]:
    match = {"context": context, **more.pop("match", {})}
    patch = {"operation": "MERGE", "value": value or {"stats_flush_interval": "1s"}}
    spec = {"configPatches": [{"applyTo": "BOOTSTRAP", "match": match, "patch": patch}], **more}
    head = {"apiVersion": "networking.istio.io/v1alpha3", "kind": "EnvoyFilter"}
    return admit({**head, "metadata": {"name": name, "namespace": namespace}, "spec": spec})


def names(proxy: Proxy, *filters: Resource[Any]) -> list[str]:
    return [item.id.source.name for item in bootstrap_patches(filters, "istio-system", proxy)]


def patched(*values: dict[str, Any]) -> dict[str, Any]:
    filters = [envoy_filter(f"x{number}", value=value) for number, value in enumerate(values)]
    made = bootstrap(
        EXPLICIT, xds_socket="x", sds_socket="s", rate_limit_socket="r", admin_socket="a", cluster="c"
    )
    return patch_bootstrap(made, bootstrap_patches(filters, "istio-system", EXPLICIT))


def test_the_root_namespaces_come_first_then_priority_decides() -> None:
    filters = (
        envoy_filter("late", priority=5),
        envoy_filter("first", priority=-5),
        envoy_filter("root", namespace="istio-system", priority=9),
        envoy_filter("elsewhere", namespace="other"),
    )
    assert names(EXPLICIT, *filters) == ["root", "first", "late"]


def test_labels_contexts_and_metadata_select_as_they_do_for_other_patches() -> None:
    filters = (
        envoy_filter("mine", workloadSelector={"labels": {"app": "reviews"}}),
        envoy_filter("others", workloadSelector={"labels": {"app": "ratings"}}),
        envoy_filter("sidecars", context="SIDECAR_INBOUND"),
        envoy_filter("gateways", context="GATEWAY"),
        envoy_filter("named", match={"proxy": {"metadata": {"NAME": "reviews-1"}}}),
        envoy_filter("old", match={"proxy": {"proxyVersion": r"^1\.2\."}}),
    )
    assert set(names(EXPLICIT, *filters)) == {"mine", "sidecars", "named"}
    gateway = replace(GATEWAY, workloads=(Workload("default", "edge", labels=(("istio", "x"),)),))
    assert names(gateway, *filters) == ["gateways"]


def test_fields_are_replaced_lists_grow_and_messages_are_merged() -> None:
    before = patched()
    made = patched(
        {"stats_flush_interval": "9s", "node": {"locality": {"zone": "z"}}},
        {"statsFlushInterval": "2s", "static_resources": {"clusters": [{"name": "more"}]}},
    )
    assert made["stats_flush_interval"] == "2s"
    assert made["node"]["locality"]["zone"] == "z"
    assert made["node"]["metadata"] == before["node"]["metadata"]
    names = [cluster["name"] for cluster in made["static_resources"]["clusters"]]
    assert names == ["xds-grpc", "sds-grpc", "ratelimit-grpc", "more"]
    assert made["dynamic_resources"] == before["dynamic_resources"]
