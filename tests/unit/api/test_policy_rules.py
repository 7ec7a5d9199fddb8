"""What policies must say: targets that they can act on, keys that are known there, statuses of Envoy's."""

from typing import Any

import pytest
import yaml

from marline.api.decode import admit
from marline.api.errors import InvalidResource

LIMIT = "{name: all, requests: 1, unit: Second%s}"
SERVICE = "{kind: Service, name: web}"
GATEWAY = "{group: gateway.networking.k8s.io, kind: Gateway, name: edge}"


def faults(kind: str, spec: str) -> dict[str, str]:
    """Messages by field path; none if it is admitted."""
    obj: dict[str, Any] = {
        "apiVersion": "policy.marline.io/v1alpha1",
        "kind": kind,
        "metadata": {"name": "own", "namespace": "default"},
        "spec": yaml.safe_load(spec),
    }
    try:
        admit(obj)
    except InvalidResource as error:
        return {item.path: f"{item.message} {item.suggestion}" for item in error.errors}
    return {}


def limit_faults(more: str = "", target: str = SERVICE, rest: str = "") -> dict[str, str]:
    return faults("RateLimitPolicy", f"{{targetRefs: [{target}], limits: [{LIMIT % more}]{rest}}}")


def resilience_faults(says: str, target: str = SERVICE) -> dict[str, str]:
    return faults("ResiliencePolicy", f"{{targetRefs: [{target}]{says}}}")


@pytest.mark.parametrize(
    ("target", "path", "said"),
    [
        ("{kind: Servce, name: web}", "kind", "Service"),
        ("{kind: Gateway, name: edge}", "group", "'gateway.networking.k8s.io' or 'networking.istio.io'"),
        ("{kind: Service, name: Not_A_Name}", "name", "DNS name"),
        ("{kind: Service, name: web, sectionName: ''}", "sectionName", "required"),
    ],
)
def test_a_target_is_something_that_a_policy_can_act_on(target: str, path: str, said: str) -> None:
    assert said in limit_faults(target=target)[f"spec.targetRefs[0].{path}"]


def test_a_policy_has_targets_and_each_once() -> None:
    assert "twice" in limit_faults(target=f"{SERVICE}, {SERVICE}")["spec.targetRefs[1]"]
    assert "1 to 16" in limit_faults(target="")["spec.targetRefs"]


def test_resilience_is_of_services_only_and_says_something() -> None:
    assert "spec.targetRefs[0].kind" in resilience_faults(", hedging: {after: 1s}", GATEWAY)
    assert "says nothing" in resilience_faults("")["spec"]


@pytest.mark.parametrize(
    ("key", "target", "field", "said"),
    [
        ("{type: RemoteAddress}", SERVICE, "type", "use Caller"),
        ("{type: Route}", SERVICE, "type", "gateway"),
        ("{type: Caller}", GATEWAY, "type", "target a Service"),
        ("{type: CallerNamespace}", SERVICE, "type", "scope Global only"),
        ("{type: Header}", SERVICE, "name", "required"),
        ("{type: Caller, name: x}", SERVICE, "name", "no meaning"),
        ("{type: JWTClaim, name: a..b}", SERVICE, "name", "no claim"),
    ],
)
def test_a_limit_counts_by_what_is_known_where_it_acts(key: str, target: str, field: str, said: str) -> None:
    found = limit_faults(f", by: [{key}]", target)
    assert said in found[f"spec.limits[0].by[0].{field}"]


def test_a_burst_is_of_local_limits_and_names_are_told_apart() -> None:
    assert "windows" in limit_faults(", burst: 5, scope: Global")["spec.limits[0].burst"]
    both = f"{{targetRefs: [{SERVICE}], limits: [{LIMIT % ''}, {LIMIT % ''}]}}"
    assert "twice" in faults("RateLimitPolicy", both)["spec.limits[1]"]


def test_a_match_has_conditions_that_can_hold() -> None:
    assert "no condition" in limit_faults(", match: {}")["spec.limits[0].match"]
    assert "spec.limits[0].match.path" in limit_faults(", match: {path: {}}")
    assert "spec.limits[0].match.path.regex" in limit_faults(", match: {path: {regex: '('}}")


@pytest.mark.parametrize(
    ("status", "good"), [(429, True), (503, True), (418, False), (499, False), (599, False)]
)
def test_refusals_have_a_status_that_envoy_answers_with(status: int, good: bool) -> None:
    limits = limit_faults(rest=f", response: {{statusCode: {status}}}")
    concurrency = resilience_faults(f", adaptiveConcurrency: {{statusCode: {status}}}")
    assert ("spec.response.statusCode" not in limits) == good
    assert ("spec.adaptiveConcurrency.statusCode" not in concurrency) == good


@pytest.mark.parametrize(
    ("says", "path"),
    [
        ("adaptiveConcurrency: {minConcurrency: 5, maxConcurrency: 4}", "adaptiveConcurrency.minConcurrency"),
        ("adaptiveConcurrency: {minimumLatency: {fixed: 0s}}", "adaptiveConcurrency.minimumLatency.fixed"),
        ("admissionControl: {samplingWindow: 1ms}", "admissionControl.samplingWindow"),
        (
            "admissionControl: {success: {httpStatuses: [{first: 300, last: 200}]}}",
            "admissionControl.success.httpStatuses[0].last",
        ),
        ("admissionControl: {success: {grpcStatuses: [FINE]}}", "admissionControl.success.grpcStatuses[0]"),
        ("hedging: {after: 1s, methods: []}", "hedging.methods"),
    ],
)
def test_settings_that_could_not_work_are_refused(says: str, path: str) -> None:
    assert f"spec.{path}" in resilience_faults(f", {says}")
