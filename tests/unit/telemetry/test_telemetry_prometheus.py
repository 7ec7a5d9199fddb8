"""Prometheus' text as Envoy writes it, read back."""

import pytest
from exposition import call, durations, requests, series
from hypothesis import given
from hypothesis import strategies as st

from marline.telemetry.prometheus import MalformedMetrics, labels, parse

NAMES = st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True)
LABELS = st.dictionaries(NAMES, st.text(st.characters(exclude_categories=["Cs"]), max_size=12), max_size=5)


def test_counters_are_found_by_name_and_labels() -> None:
    one, other = call("source", "productpage-1"), call("source", "productpage-1", code="503", flags="UH")
    metrics = parse(requests({one: 34, other: 1}))
    assert metrics.values == {"envoy_istio_requests_total": {one: 34.0, other: 1.0}}


def test_buckets_become_one_histogram_for_each_series() -> None:
    labelled = call("source", "productpage-1")
    metrics = parse(durations(labelled, [0, 0, 3, 9, 9, 9, 9, 9, 9, 9, 9, 10]))
    histogram = metrics.histograms["envoy_istio_request_duration_milliseconds"][labelled]
    assert histogram.buckets[:3] == ((0.5, 0.0), (1.0, 0.0), (5.0, 3.0))
    assert histogram.buckets[-1] == (float("inf"), 10.0)
    assert metrics.values["envoy_istio_request_duration_milliseconds_count"] == {labelled: 10.0}


def test_a_bucket_may_have_no_other_label() -> None:
    assert parse('x_bucket{le="+Inf"} 3').histograms["x"][""].count == 3


def test_metrics_without_labels_and_times_of_samples_are_understood() -> None:
    metrics = parse('# HELP up says so\nup 1\nserver_live{a="b"} 2 1700000000000\nodd{} NaN\n')
    assert metrics.values["up"] == {"": 1.0}
    assert metrics.values["server_live"] == {'a="b"': 2.0}
    assert "odd" in metrics.values


def test_only_the_wanted_metrics_are_read() -> None:
    assert set(parse("envoy_a 1\nother this is not read\n", prefix="envoy_").values) == {"envoy_a"}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("envoy_a", "NAME{LABELS} VALUE"),
        ("envoy_a many", "NAME{LABELS} VALUE"),
        ('envoy_a{b="c" 1', "NAME{LABELS} VALUE"),
        ('envoy_a_bucket{b="c"} 1', "le="),
        ('envoy_a_bucket{le="much"} 1', "le="),
        ('envoy_a_bucket{handle="5"} 1', "le="),
    ],
)
def test_what_is_no_metric_is_refused_with_its_line(line: str, reason: str) -> None:
    with pytest.raises(MalformedMetrics) as refused:
        parse(f"envoy_fine 1\n{line}\n")
    assert refused.value.line == 2
    assert reason in str(refused.value)


@pytest.mark.parametrize("text", ["a", 'a="b" c="d"', 'a="b\\', 'a="\\n" c="d"', 'a="\\n",b'])
def test_what_are_no_labels_is_refused(text: str) -> None:
    with pytest.raises(MalformedMetrics):
        labels(text)


@given(LABELS)
def test_every_label_is_read_as_it_was_written(given_labels: dict[str, str]) -> None:
    assert labels(series(**given_labels)) == given_labels


@given(LABELS, st.floats(allow_nan=False))
def test_every_sample_is_read_as_it_was_written(given_labels: dict[str, str], value: float) -> None:
    written = series(**given_labels)
    found = parse(f"metric{{{written}}} {value!r}\n")
    assert found.values == {"metric": {written: value}}
