"""What a smoke run concludes from what was sent and what proxies report."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web
from mesh_views import calls, mesh

from marline.cli.demo_mesh import bookinfo, choose_port
from marline.cli.demo_traffic import Visitor, visitor
from marline.cli.exits import Failed
from marline.cli.mesh_view import TrafficView
from marline.cli.smoke import Summary, expected_pairs, is_complete, summarize

EXPECTED = {("ingressgateway", "productpage"), ("productpage", "reviews")}
ENTRANCE, REVIEWS = calls("ingressgateway", "productpage"), calls("productpage", "reviews")


@pytest.fixture
async def visited() -> AsyncIterator[Visitor]:
    """One whose 50 requests have all succeeded."""
    async with aiohttp.ClientSession() as session:
        yield Visitor("http://127.0.0.1:9/", session, sent=50)


def concluded(visited: Visitor, *traffic: TrafficView) -> Summary:
    return summarize(
        mesh(*traffic), visited, EXPECTED, url=visited.url, capture="explicit", seconds_to_ready=1.234
    )


async def test_all_is_well_when_all_is_well(visited: Visitor) -> None:
    summary = concluded(visited, ENTRANCE, REVIEWS)
    assert (summary.ok, summary.problems) == (True, ())
    assert (summary.requests.sent, summary.requests.succeeded) == (50, 50)
    assert [pair.requests for pair in summary.pairs] == [50, 50]


@pytest.mark.parametrize(
    ("reviews", "problem"),
    [
        (None, "no traffic from productpage to reviews"),
        (calls("productpage", "reviews", 0), "no traffic from productpage to reviews"),
        (calls("productpage", "reviews", mtls=False), "not over mutual TLS"),
        (calls("productpage", "reviews", mtls=None), "not over mutual TLS"),
        (calls("productpage", "reviews", verified=False), "no verified identity"),
        (calls("productpage", "reviews", success_rate=0.98), "2.0% failed"),
    ],
)
async def test_what_is_not_well_is_a_problem(
    visited: Visitor, reviews: TrafficView | None, problem: str
) -> None:
    summary = concluded(visited, ENTRANCE, *([reviews] if reviews else []))
    assert not summary.ok
    assert len(summary.problems) == 1
    assert problem in summary.problems[0]


async def test_a_request_that_failed_is_a_problem(visited: Visitor) -> None:
    visited.failed, visited.failures = 2, ["HTTP status 503: no healthy upstream", "later"]
    summary = concluded(visited, ENTRANCE, REVIEWS)
    assert summary.problems == ("2 of 50 requests failed, the first: HTTP status 503: no healthy upstream",)
    assert summary.requests.succeeded == 48


async def test_the_report_is_complete_once_every_request_is_counted_and_verified(visited: Visitor) -> None:
    assert is_complete(mesh(ENTRANCE, REVIEWS), visited, EXPECTED)
    assert not is_complete(mesh(ENTRANCE), visited, EXPECTED)
    assert not is_complete(mesh(calls("ingressgateway", "productpage", 49), REVIEWS), visited, EXPECTED)
    unverified = calls("productpage", "reviews", verified=False)
    assert not is_complete(mesh(ENTRANCE, unverified), visited, EXPECTED)


def test_pairs_to_expect_are_those_of_the_application_file() -> None:
    assert expected_pairs(bookinfo(8080), "productpage") == {
        ("ingressgateway", "productpage"), ("productpage", "details"), ("productpage", "reviews"),
        ("reviews", "ratings"),
    }  # fmt: skip


def test_the_sample_runs_with_the_python_of_marline_at_the_chosen_port() -> None:
    application = bookinfo(12345)
    assert all(item.spec.command[0].startswith("/") for item in application.workloads)
    assert application.gateways[0].ports[0].listen == 12345


async def test_a_port_that_somebody_has_is_refused_with_advice() -> None:
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        with pytest.raises(Failed, match=rf"needs port {port} .* another program has it; .*--port 0"):
            choose_port(port)
    finally:
        server.close()
    assert choose_port(0) > 0


@pytest.mark.parametrize(
    ("status", "text", "failure"),
    [
        (200, "<title>Simple Bookstore App</title>", ""),
        (503, "no healthy upstream", "HTTP status 503: no healthy upstream"),
        (200, "<h2>Error fetching product reviews!</h2>", "the page says 'Error fetching'"),
    ],
)
async def test_a_visit_fails_by_status_and_by_what_the_page_says(
    status: int, text: str, failure: str
) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, text=text)

    application = web.Application()
    application.router.add_get("/", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        async with visitor(f"http://127.0.0.1:{runner.addresses[0][1]}/") as visiting:
            await visiting.visit()
    finally:
        await runner.cleanup()
    assert (visiting.sent, visiting.failures) == (1, [failure] if failure else [])
