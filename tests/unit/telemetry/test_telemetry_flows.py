"""Who calls whom, merged from what both ends report."""

import itertools
from collections.abc import Mapping

import pytest
from exposition import call, durations, principal, requests
from hypothesis import given
from hypothesis import strategies as st

from marline.telemetry.prometheus import parse
from marline.telemetry.reading import Reading
from marline.telemetry.traffic import Flow, Party, flows

WORKLOADS = {
    ("default", "productpage-1"): Party("productpage", "default", "v1"),
    ("default", "reviews-v1-abcde"): Party("reviews", "default", "v1"),
    ("default", "reviews-v2-fghij"): Party("reviews", "default", "v2"),
}
CLIENT = call("source", "productpage-1")
SERVER = call("destination", security="mutual_tls")


def reading(
    texts: Mapping[str, str], at: float = 0.0, unreadable: Mapping[str, str] | None = None
) -> Reading:
    return Reading(at, {key: parse(text) for key, text in texts.items()}, unreadable or {})


def only(found: tuple[Flow, ...]) -> Flow:
    assert len(found) == 1, found
    return found[0]


def test_both_ends_of_a_call_are_one_flow_counted_once() -> None:
    texts = {"client": requests({CLIENT: 30}), "server": requests({SERVER: 30})}
    flow = only(flows(reading(texts), None, WORKLOADS))
    assert flow.source == Party("productpage", "default", "v1")
    assert flow.destination == Party("reviews.default.svc.cluster.local", "default", "v1")
    assert (flow.all.requests, flow.all.success_rate, flow.rate) == (30, 1.0, None)
    assert (flow.mtls, flow.from_source) == (True, True)
    assert flow.source_identities == (principal("productpage"),)
    assert flow.destination_identities == (principal("reviews"),)


def test_retries_count_once_as_the_client_sees_them() -> None:
    failed = call("destination", code="503", security="mutual_tls")
    texts = {"client": requests({CLIENT: 10}), "server": requests({SERVER: 10, failed: 4})}
    flow = only(flows(reading(texts), None, WORKLOADS))
    assert (flow.all.requests, flow.success_rate) == (10, 1.0)


def test_an_identity_that_no_server_has_verified_is_not_shown() -> None:
    flow = only(flows(reading({"client": requests({CLIENT: 3})}), None, WORKLOADS))
    assert flow.source_identities == ()
    assert flow.mtls is True


def test_versions_of_a_service_are_flows_of_their_own() -> None:
    second = call("source", "productpage-1", server="reviews-v2-fghij")
    found = flows(reading({"client": requests({CLIENT: 3, second: 1})}), None, WORKLOADS)
    assert [(flow.destination.version, flow.all.requests) for flow in found] == [("v1", 3), ("v2", 1)]


def test_a_call_without_certificates_is_not_mtls() -> None:
    plain = call("source", "productpage-1", server_account="")
    there = call("destination", account="", security="none")
    flow = only(
        flows(reading({"client": requests({plain: 5}), "server": requests({there: 5})}), None, WORKLOADS)
    )
    assert (flow.mtls, flow.source_identities, flow.destination_identities) == (False, (), ())


def test_a_caller_without_sidecar_is_counted_by_the_server() -> None:
    there = call("destination", account="", security="none")
    texts = {"client": requests({CLIENT: 30}), "server": requests({SERVER: 30, there: 2})}
    outside = [flow for flow in flows(reading(texts), None, WORKLOADS) if not flow.from_source]
    assert [(flow.source.name, flow.mtls, flow.all.requests) for flow in outside] == [("unknown", False, 2)]


def test_failures_that_reached_no_server_say_nothing_of_mtls_and_hide_no_other_caller() -> None:
    refused = call("source", "productpage-1", server="", server_account="", code="503", flags="UH")
    there = call("destination", account="", security="none")
    found = flows(
        reading({"client": requests({refused: 4}), "server": requests({there: 2})}), None, WORKLOADS
    )
    by_reporter = {flow.from_source: flow for flow in found}
    assert (by_reporter[True].mtls, by_reporter[True].success_rate) == (None, 0.0)
    assert by_reporter[False].all.requests == 2


def test_a_caller_on_another_machine_is_named_by_its_account() -> None:
    flow = only(flows(reading({"server": requests({SERVER: 7})}), None, WORKLOADS))
    assert flow.source == Party("productpage", "default")
    assert (flow.mtls, flow.source_identities) == (True, (principal("productpage"),))


def test_tcp_connections_are_counted_with_their_bytes() -> None:
    labels = call("source", "productpage-1", code="0", protocol="tcp")
    text = "".join(
        f"envoy_istio_tcp_{name}_total{{{labels}}} {value}\n"
        for name, value in (("connections_closed", 3), ("received_bytes", 381), ("sent_bytes", 1152))
    )
    flow = only(flows(reading({"client": text}), None, WORKLOADS))
    assert (flow.tcp, flow.all.connections, flow.all.received, flow.all.sent) == (True, 3, 381, 1152)
    assert flow.success_rate is None


def test_rate_and_latency_are_those_between_two_readings() -> None:
    slow, quick = [0, 0, 0, 0, 0, 0, 0, 0, 0, 10, 10, 10], [0, 0, 0, 40, 40, 40, 40, 40, 40, 50, 50, 50]
    before = reading({"client": requests({CLIENT: 10}) + durations(CLIENT, slow)}, at=100.0)
    after = reading({"client": requests({CLIENT: 50}) + durations(CLIENT, quick)}, at=110.0)
    flow = only(flows(after, before, WORKLOADS))
    assert flow.rate == pytest.approx(4.0)
    assert 5 < (flow.latency(0.99) or 0) <= 10
    assert (flow.all.latency.quantile(0.99) or 0) > 500


@pytest.mark.parametrize("key", ["client", "client, started again"])
def test_an_envoy_that_was_started_again_gives_no_negative_rate(key: str) -> None:
    before = reading({"client": requests({CLIENT: 500})}, at=0.0)
    after = reading({key: requests({CLIENT: 6})}, at=2.0)
    assert only(flows(after, before, WORKLOADS)).rate == pytest.approx(3.0)


def test_a_proxy_that_did_not_answer_before_makes_no_burst() -> None:
    before = reading({}, at=0.0, unreadable={"client": "timed out"})
    after = reading({"client": requests({CLIENT: 6000})}, at=2.0)
    assert only(flows(after, before, WORKLOADS)).rate is None


@given(st.lists(st.integers(min_value=0, max_value=9), min_size=2, max_size=8))
def test_counts_are_never_negative_whatever_counters_do(values: list[int]) -> None:
    for old, new in itertools.pairwise(values):
        texts = [requests({CLIENT: value}) + durations(CLIENT, [value] * 12) for value in (old, new)]
        flow = only(flows(reading({"c": texts[1]}, 1.0), reading({"c": texts[0]}, 0.0), WORKLOADS))
        assert flow.recent is not None
        assert flow.recent.requests >= 0
        assert all(count >= 0 for _, count in flow.recent.latency.buckets)


@given(st.dictionaries(st.sampled_from(["200", "404", "500", "503"]), st.integers(0, 50), min_size=1))
def test_every_request_is_in_exactly_one_flow(by_code: dict[str, int]) -> None:
    texts = {}
    for place in ("client", "server"):
        side = {"client": "source", "server": "destination"}[place]
        security = {"client": "unknown", "server": "mutual_tls"}[place]
        source = "productpage-1" if place == "client" else ""
        texts[place] = requests(
            {call(side, source, code=code, security=security): n for code, n in by_code.items()}
        )
    flow = only(flows(reading(texts), None, WORKLOADS))
    assert flow.all.requests == sum(by_code.values())
    assert flow.all.successes == sum(n for code, n in by_code.items() if code < "500")
