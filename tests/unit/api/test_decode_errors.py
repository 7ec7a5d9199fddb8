"""What a wrong resource is told: where, what was found, what was expected, what was meant."""

from typing import Any

import pytest
from api_examples import acted_on, examples, examples_of, kind_in

from marline.api.decode import admit, decode, encode
from marline.api.errors import Fault, FieldError, InvalidResource
from marline.api.registry import Kind


def errors(obj: dict[str, Any]) -> tuple[FieldError, ...]:
    with pytest.raises(InvalidResource) as caught:
        admit(obj)
    return caught.value.errors


def virtual_service(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": "reviews"},
        "spec": {"hosts": ["reviews"], "http": [{"route": [{"destination": {"host": "reviews"}}]}], **spec},
    }


@pytest.mark.parametrize(
    ("spec", "path", "fault", "message", "suggestion"),
    [
        ({"gatway": []}, "spec.gatway", Fault.UNKNOWN, "unknown field", "gateways"),
        ({"hosts": "reviews"}, "spec.hosts", Fault.TYPE, "expected a list, found string 'reviews'", ""),
        ({"hosts": [7]}, "spec.hosts[0]", Fault.TYPE, "expected a string, found integer 7", ""),
        (
            {"http": [{"directResponse": {"status": 700}}]},
            "spec.http[0].directResponse.status",
            Fault.INVALID,
            "700 is out of range: expected at least 200 and at most 599",
            "",
        ),
        (
            {"http": [{"timeout": "10"}]},
            "spec.http[0].timeout",
            Fault.TYPE,
            "'10' is not a duration; write it like '10s', '1.5s', '250ms' or '1h30m'",
            "",
        ),
        (
            {"http": [{"corsPolicy": {"unmatchedPreflights": "IGNORED"}}]},
            "spec.http[0].corsPolicy.unmatchedPreflights",
            Fault.INVALID,
            "'IGNORED' is not one of UNSPECIFIED, FORWARD, IGNORE",
            "IGNORE",
        ),
        ({"http": [{"route": [{}]}]}, "spec.http[0].route[0].destination", Fault.REQUIRED, "is required", ""),
        (
            {"http": [{"fault": {"delay": {"exponentialDelay": "1s"}}, "directResponse": {"status": 200}}]},
            "spec.http[0].fault.delay.exponentialDelay",
            Fault.NOT_SUPPORTED,
            "is not acted on: Istio itself leaves it unimplemented; use fixedDelay",
            "",
        ),
    ],
)  # fmt: skip
def test_an_error_says_where_what_and_why(
    spec: dict[str, Any], path: str, fault: Fault, message: str, suggestion: str
) -> None:
    (error,) = errors(virtual_service(**spec))
    assert error == FieldError(path, message, fault, suggestion)


def test_all_faults_are_found_at_once() -> None:
    rule = {"rout": [], "timeout": 5, "match": [{"uri": {"exact": 1}}]}
    assert [error.path for error in errors(virtual_service(http=[rule], host=["a"]))] == [
        "spec.http[0].rout",
        "spec.http[0].timeout",
        "spec.http[0].match[0].uri.exact",
        "spec.host",
    ]


@pytest.mark.parametrize(
    ("change", "path", "said"),
    [
        ({"apiVersion": "networking.istio.io/v2"}, "apiVersion", "expected networking.istio.io/v1, "),
        ({"apiVersion": "v1"}, "apiVersion", "expected networking.istio.io/v1"),
        ({"apiVersion": ""}, "apiVersion", "is required"),
        (
            {"kind": "VirtualServise"},
            "kind",
            "is not a kind that Marline knows (did you mean 'VirtualService'?)",
        ),
        ({"kind": None}, "kind", "is required"),
        ({"specs": {}}, "specs", "unknown field (did you mean 'spec'?)"),
        ({"metadata": {}}, "metadata.name", "is required"),
        ({"metadata": {"name": "Reviews"}}, "metadata.name", "is not a DNS name"),
        ({"metadata": {"name": "a", "namespace": "a.b"}}, "metadata.namespace", "is not a DNS label"),
        ({"metadata": {"name": "a", "labels": {"-a": "b"}}}, "metadata.labels[-a]", "is not a label key"),
        ({"metadata": {"name": "a", "labels": {"a": "b c"}}}, "metadata.labels[a]", "is not a label value"),
        ({"metadata": {"name": "a", "label": {}}}, "metadata.label", "did you mean 'labels'?"),
        ({"status": []}, "status", "expected an object"),
    ],
)
def test_identity_and_metadata_are_checked(change: dict[str, Any], path: str, said: str) -> None:
    (error,) = errors({**virtual_service(), **change})
    assert error.path == path
    assert said in str(error)


def test_a_resource_of_the_cluster_has_no_namespace() -> None:
    obj = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a", "namespace": "b"}}
    (error,) = errors(obj)
    assert error.path == "metadata.namespace"


@pytest.mark.parametrize("kind", list(acted_on()), ids=lambda kind: f"{kind.group}/{kind.kind}")
def test_every_served_version_means_the_same(kind: Kind) -> None:
    for obj in examples_of(kind):
        for version in kind.versions:
            api_version = f"{kind.group}/{version}" if kind.group else version
            read = admit({**obj, "apiVersion": api_version})
            assert read.api_version == api_version
            assert read == decode(obj)


def test_what_is_decoded_is_encoded_as_it_was() -> None:
    for obj in examples():
        once = encode(decode(obj))
        assert encode(decode(once)) == once
        assert decode(once) == decode(obj), kind_in(obj).kind


def test_stored_objects_are_decoded_though_they_would_not_be_admitted() -> None:
    obj = virtual_service(http=[{"fault": {"abort": {"http2Error": "CANCEL"}}}])
    assert decode(obj).spec.http[0].fault.abort.http2_error == "CANCEL"


def test_keys_that_are_numbers_are_read_from_json() -> None:
    obj = {
        "apiVersion": "security.istio.io/v1",
        "kind": "PeerAuthentication",
        "metadata": {"name": "a", "namespace": "b"},
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "portLevelMtls": {"8080": {"mode": "DISABLE"}}},
    }
    assert list(decode(obj).spec.port_level_mtls) == [8080]
    assert encode(decode(obj))["spec"]["portLevelMtls"] == {"8080": {"mode": "DISABLE"}}
    obj["spec"] = {"portLevelMtls": {"http": {"mode": "DISABLE"}}}
    (error,) = errors(obj)
    assert error.path == "spec.portLevelMtls[http]"


def test_a_kind_without_status_is_given_none() -> None:
    obj = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}, "status": {"phase": "x"}}
    (error,) = errors(obj)
    assert (error.path, error.fault) == ("status", Fault.UNKNOWN)


def test_a_field_that_is_null_is_one_that_is_absent() -> None:
    given = virtual_service(gateways=None, tls=None)
    given["spec"]["http"][0]["match"] = None
    assert admit(given).spec == admit(virtual_service()).spec
    (missing,) = errors(virtual_service(http=[{"route": [{"destination": None}]}]))
    assert (missing.path, missing.fault) == ("spec.http[0].route[0].destination", Fault.REQUIRED)
    (unknown,) = errors(virtual_service(gatway=None))
    assert (unknown.path, unknown.fault) == ("spec.gatway", Fault.UNKNOWN)
