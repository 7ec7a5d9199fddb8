"""Workloads and traffic as tables, and what the terminal shows of them."""

from pathlib import Path

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mesh_views import calls, mesh, workload

from marline.cli.live import cut
from marline.cli.mesh_tables import render
from marline.cli.mesh_view import Observer, TrafficView, traffic_view
from marline.node.home import Home
from marline.telemetry.counts import Counts
from marline.telemetry.reading import Reading
from marline.telemetry.traffic import Flow, Party
from marline.xds.status import REJECTED


def shown(*traffic: TrafficView, width: int = 0) -> list[list[str]]:
    """The words of every line, without colours."""
    view = mesh(*traffic, workloads=(workload("reviews", restarts=2),))
    return [line.split() for line in click.unstyle(render(view, width=width)).split("\n")]


def test_a_workload_has_its_state_its_proxys_and_its_identity() -> None:
    lines = shown()
    assert lines[1] == [
        "default", "reviews-v1-abcde", "v1", "ready", "SYNCED", "0", "(proxy", "2)", "127.0.0.1:20001",
        "spiffe://cluster.local/ns/default/sa/reviews",
    ]  # fmt: skip


def test_traffic_has_rate_success_latencies_and_mtls() -> None:
    lines = shown(calls("productpage", "reviews"))
    assert lines[-1] == [
        "productpage.default", "v1", "reviews.default", "v1", "5.0", "100%", "0.4ms", "1.5s", "yes", "50",
    ]  # fmt: skip


@pytest.mark.parametrize(("rate", "text"), [(1.0, "100%"), (0.99999, "99.9%"), (0.5, "50.0%"), (None, "-")])
def test_success_is_never_rounded_up_to_all(rate: float | None, text: str) -> None:
    assert shown(calls("productpage", "reviews", success_rate=rate))[-1][5] == text


def test_what_cannot_be_learnt_is_said() -> None:
    view = mesh(workloads=(workload("reviews", sync=""), workload("ratings", sync=REJECTED)))
    text = click.unstyle(render(view))
    assert [line.split()[4] for line in text.split("\n")[1:3]] == ["unknown", "REJECTED"]
    assert "no traffic yet" in text
    assert "no workload is running" in render(mesh())


def test_a_narrow_terminal_is_given_what_matters_most() -> None:
    titles = shown(width=90)[0]
    assert "LISTENS" not in titles
    assert titles[-1] == "IDENTITY"


@given(
    st.lists(st.tuples(st.text("abc", max_size=4), st.sampled_from(["red", "green", ""]))), st.integers(0, 30)
)
def test_a_line_is_cut_at_its_columns_not_at_its_colours(parts: list[tuple[str, str]], width: int) -> None:
    plain = "".join(text for text, _ in parts)
    line = "".join(click.style(text, fg=color) if color else text for text, color in parts)
    assert click.unstyle(cut(line, width)) == plain[:width]


def test_a_destination_is_shown_by_its_service() -> None:
    host = Party("reviews.default.svc.cluster.local", "default", "v1")
    flow = Flow(Party("productpage"), host, False, True, True, (), (), Counts(), None, 0.0)
    assert traffic_view(flow).destination.qualified == "reviews.default"
    outside = Flow(Party("a"), Party("example.com"), True, True, None, (), (), Counts(), None, 0.0)
    assert (traffic_view(outside).destination.qualified, traffic_view(outside).protocol) == (
        "example.com",
        "tcp",
    )


def test_rates_are_those_of_the_last_ten_seconds() -> None:
    observer = Observer(Home(Path("/nowhere")))
    compared = [observer._remember(Reading(at)) for at in (0.0, 4.0, 9.0, 11.0, 30.0)]
    assert [before.at if before else None for before in compared] == [None, 0.0, 0.0, 0.0, 11.0]
    assert [reading.at for reading in observer.readings] == [11.0, 30.0]
