"""What the ConfigMap must fulfil that says what holds for the whole mesh."""

from typing import Any

import pytest

from marline.api.decode import admit, warnings
from marline.api.errors import Fault, FieldError, InvalidResource
from marline.api.yaml_values import write_yaml

AS_INSTALLED = """
defaultConfig:
  discoveryAddress: istiod.istio-system.svc:15012
defaultProviders:
  metrics: [prometheus]
enablePrometheusMerge: true
rootNamespace: istio-system
trustDomain: cluster.local
"""


def config_map(mesh: str, name: str = "istio", **more: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "istio-system"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"mesh": mesh, **more}}


def errors(mesh: str, **more: str) -> tuple[FieldError, ...]:
    try:
        admit(config_map(mesh, **more))
    except InvalidResource as error:
        return error.errors
    return ()


def faults(**config: Any) -> list[str]:
    return [item.path.removeprefix("data[mesh].") for item in errors(write_yaml(config))]


def test_what_an_installation_of_istio_has_is_accepted_and_what_has_no_effect_is_said() -> None:
    mesh = config_map(AS_INSTALLED, meshNetworks="networks: {}")
    admit(mesh)
    assert [item.partition(":")[0] for item in warnings(mesh)] == [
        "data[mesh].defaultConfig.discoveryAddress", "data[mesh].enablePrometheusMerge",
    ]  # fmt: skip


def test_config_maps_of_other_names_say_what_they_like() -> None:
    other = config_map("nonsense: true", name="other")
    admit(other)
    assert warnings(other) == ()


@pytest.mark.parametrize(
    ("config", "path"),
    [
        ({"accessLogFile": "/dev/stdout"}, "accessLogFile"),
        ({"trustDomain": "example.org"}, "trustDomain"),
        ({"rootNamespace": "mesh"}, "rootNamespace"),
        ({"enableAutoMtls": False}, "enableAutoMtls"),
        ({"defaultProviders": {"tracing": ["zipkin"]}}, "defaultProviders.tracing"),
        ({"defaultProviders": {"metrics": ["other"]}}, "defaultProviders.metrics[0]"),
        ({"defaultConfig": {"concurrency": 2}}, "defaultConfig.concurrency"),
        ({"defaultConfig": {"drainDuration": "5s"}}, "defaultConfig.drainDuration"),
        ({"localityLbSetting": {"enabled": False}}, "localityLbSetting.enabled"),
        ({"extensionProviders": [{"name": "a", "zipkin": {"port": 1}}]}, "extensionProviders[0].zipkin"),
        (
            {"extensionProviders": [{"name": "a", "envoyFileAccessLog": {}}]},
            "extensionProviders[0].envoyFileAccessLog",
        ),
        ({"defaultHttpRetryPolicy": {"attempts": 1, "perTryTimeout": "1s"}},
         "defaultHttpRetryPolicy.perTryTimeout"),
    ],
)  # fmt: skip
def test_what_is_not_acted_on_is_refused_with_the_reason(config: Any, path: str) -> None:
    assert faults(**config) == [path]
    assert errors(write_yaml(config))[0].fault is Fault.NOT_SUPPORTED


@pytest.mark.parametrize(
    ("config", "path"),
    [
        ({"conectTimeout": "1s"}, "conectTimeout"),
        ({"connectTimeout": "0s"}, "connectTimeout"),
        ({"trustDomainAliases": ["a b"]}, "trustDomainAliases[0]"),
        ({"pathNormalization": {"normalization": "SOME"}}, "pathNormalization.normalization"),
        ({"defaultHttpRetryPolicy": {"attempts": 1, "retryOn": "never"}}, "defaultHttpRetryPolicy.retryOn"),
        ({"extensionProviders": [{"name": "a"}]}, "extensionProviders[0]"),
    ],
)
def test_what_could_not_work_is_refused(config: Any, path: str) -> None:
    assert faults(**config) == [path]


@pytest.mark.parametrize(
    ("provider", "field"),
    [
        ({"service": "a b"}, "service"),
        ({"service": "A_/authz.example.com"}, "service"),
        ({"pathPrefix": "check"}, "pathPrefix"),
        ({"pathPrefix": "/check?a"}, "pathPrefix"),
        ({"statusOnError": "999"}, "statusOnError"),
        ({"timeout": "0s"}, "timeout"),
        ({"includeRequestHeadersInCheck": ["x-*-y"]}, "includeRequestHeadersInCheck[0]"),
        ({"headersToUpstreamOnAllow": ["*"]}, "headersToUpstreamOnAllow[0]"),
        ({"includeAdditionalHeadersInCheck": {"x": "\0"}}, "includeAdditionalHeadersInCheck[x]"),
        ({"includeRequestBodyInCheck": {"maxRequestBytes": 9, "packAsBytes": True}},
         "includeRequestBodyInCheck.packAsBytes"),
        ({"includeRequestBodyInCheck": {"allowPartialMessage": True}},
         "includeRequestBodyInCheck.maxRequestBytes"),
    ],
)  # fmt: skip
def test_a_provider_must_be_one_that_can_be_asked(provider: dict[str, Any], field: str) -> None:
    asked = {"service": "foo/authz.example.com", "port": 8000, **provider}
    found = faults(extensionProviders=[{"name": "a", "envoyExtAuthzHttp": asked}])
    assert found == [f"extensionProviders[0].envoyExtAuthzHttp.{field}"]


def test_texts_that_are_no_configuration_are_refused() -> None:
    for text in ("a: [", "[]", "a: 1\n---\nb: 2", "a: 1\na: 2"):
        assert errors(text), text
    assert [item.path for item in errors("{}", meshNetworks="networks: {other: {}}")] == [
        "data[meshNetworks]"
    ]
