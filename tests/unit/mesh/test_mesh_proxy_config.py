"""Which ProxyConfigs count for a workload: the mesh's, over that its namespace's, over that its own."""

from typing import Any

from mesh_resources import resource

from marline.mesh.proxy_config import ProxySettings, proxy_settings

LABELS = {"app": "reviews", "version": "v1"}


def config(name: str, namespace: str = "default", app: str = "", created: str = "", **spec: Any) -> Any:
    if app:
        spec["selector"] = {"matchLabels": {"app": app}}
    created = created or "2026-01-01T00:00:00Z"
    return resource("ProxyConfig", name, namespace, created=created, **spec)


def settings(*configs: Any) -> ProxySettings:
    return proxy_settings(configs, "istio-system", "default", LABELS)


def test_without_any_an_envoy_has_two_threads() -> None:
    assert settings() == ProxySettings(2, {})


def test_what_is_nearer_to_the_workload_counts_field_by_field() -> None:
    mesh = config("m", "istio-system", concurrency=8, environmentVariables={"A": "mesh", "B": "mesh"})
    namespace = config("n", environmentVariables={"A": "namespace", "C": "namespace"})
    workload = config("w", app="reviews", concurrency=0, environmentVariables={"C": "workload"})
    assert settings(mesh) == ProxySettings(8, {"A": "mesh", "B": "mesh"})
    assert settings(mesh, namespace).concurrency == 8
    assert settings(workload, namespace, mesh) == ProxySettings(
        0, {"A": "namespace", "B": "mesh", "C": "workload"}
    )


def test_what_is_for_others_does_not_count() -> None:
    others = config("a", app="ratings", concurrency=8), config("b", "other", concurrency=9)
    selecting_elsewhere = config("c", "istio-system", app="reviews", concurrency=10)
    assert settings(*others, selecting_elsewhere) == ProxySettings()


def test_of_several_the_oldest_counts() -> None:
    newer = config("a", created="2026-02-01T00:00:00Z", concurrency=8)
    assert settings(newer, config("b", concurrency=9)).concurrency == 9
