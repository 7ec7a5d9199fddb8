"""AuthorizationPolicies that mean nothing, or not what they seem to, are refused with what was expected."""

from typing import Any

import pytest

from marline.api.decode import admit
from marline.api.errors import FieldError, InvalidResource


def faults(**spec: Any) -> tuple[FieldError, ...]:
    metadata = {"name": "policy", "namespace": "shop"}
    obj = {"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy", "metadata": metadata}
    try:
        admit({**obj, "spec": spec})
    except InvalidResource as error:
        return error.errors
    return ()


def source(**fields: list[str]) -> dict[str, Any]:
    return {"from": [{"source": fields}]}


def operation(**fields: list[str]) -> dict[str, Any]:
    return {"to": [{"operation": fields}]}


def when(key: str, *values: str) -> dict[str, Any]:
    return {"when": [{"key": key, "values": list(values)}]}


@pytest.mark.parametrize(
    ("rule", "path", "says"),
    [
        (source(), "from[0].source", "at least one field"),
        (source(principals=[""]), "from[0].source.principals[0]", "is empty"),
        (source(principals=["spiffe://a/ns/b/sa/c"]), "from[0].source.principals[0]", "write it without"),
        (source(serviceAccounts=["a*"]), "from[0].source.serviceAccounts[0]", "use principals"),
        (source(serviceAccounts=["a/b/c"]), "from[0].source.serviceAccounts[0]", "NAMESPACE/NAME"),
        (source(serviceAccounts=["a"] * 17), "from[0].source.serviceAccounts", "at most 16"),
        (source(serviceAccounts=["a"], notNamespaces=["b"]), "from[0].source.serviceAccounts", "combined"),
        (source(notIpBlocks=["10.0.0.0/33"]), "from[0].source.notIpBlocks[0]", "CIDR"),
        (source(remoteIpBlocks=["ten"]), "from[0].source.remoteIpBlocks[0]", "CIDR"),
        ({"from": []}, "from", "at least 1"),
        ({"to": []}, "to", "at least 1"),
        (operation(), "to[0].operation", "at least one field"),
        (operation(ports=["http"]), "to[0].operation.ports[0]", "is no port"),
        (operation(notPorts=["70000"]), "to[0].operation.notPorts[0]", "is no port"),
        (operation(paths=["/{*}/*"]), "to[0].operation.paths[0]", "outside of"),
        (operation(paths=["/{**}/{*}"]), "to[0].operation.paths[0]", "last of its operators"),
        (operation(notPaths=["/a{*}"]), "to[0].operation.notPaths[0]", "whole segments"),
        (operation(paths=["/{name}/{*}"]), "to[0].operation.paths[0]", "outside of"),
        (when("source.ip", "x"), "when[0].values[0]", "CIDR"),
        (when("destination.port", "x"), "when[0].values[0]", "is no port"),
        (when("source.ip"), "when[0]", "values or notValues"),
        (when("request.headers[a b]", "x"), "when[0].key", "header name"),
        (when("request.headers", "x"), "when[0].key", "a name in brackets"),
        (when("request.auth.claims[]", "x"), "when[0].key", "a name in brackets"),
        (when("destination.labels[app]", "x"), "when[0].key", "in the policy's selector"),
        (when("request.path", "x"), "when[0].key", "expected one of"),
    ],
)
def test_what_a_rule_cannot_mean_is_refused(rule: dict[str, Any], path: str, says: str) -> None:
    found = faults(rules=[rule])
    assert [error.path for error in found] == [f"spec.rules[0].{path}"]
    assert says in found[0].message


def test_a_key_that_is_not_supported_is_answered_with_those_that_are() -> None:
    (found,) = faults(rules=[when("source.serviceaccount", "a")])
    assert "request.headers[NAME], request.auth.claims[NAME], source.ip" in found.message
    assert found.suggestion == "source.serviceAccount"


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        ({"action": "DENY"}, "spec.rules"),
        ({"action": "CUSTOM", "rules": [{}]}, "spec.provider"),
        ({"provider": {"name": "a"}}, "spec.provider"),
        ({"targetRefs": [{"kind": "Service", "name": "a"}]}, "spec.targetRefs[0]"),
        ({"selector": {"matchLabels": {"a": "b"}}, "targetRef": {"kind": "Gateway", "name": "a",
          "group": "gateway.networking.k8s.io"}}, "spec"),
    ],
)  # fmt: skip
def test_what_a_policy_cannot_be_is_refused(spec: dict[str, Any], path: str) -> None:
    assert [error.path for error in faults(**spec)] == [path]
