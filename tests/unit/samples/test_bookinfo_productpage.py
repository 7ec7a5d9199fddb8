"""The page, its JSON, its users, and what it shows when others fail."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from bookstore import Recorder, ask, running

from marline.samples.bookinfo import details
from marline.samples.bookinfo.productpage import ProductPage
from marline.samples.bookinfo.ratings import Ratings
from marline.samples.bookinfo.reviews import Reviews, settings
from marline.samples.server import Handler, error_response, json_response

NOBODY = "http://127.0.0.1:9"


@contextmanager
def store(reviews: Handler | None = None, patience: float = 3.0) -> Iterator[str]:
    """All four services; `reviews` in place of its second version."""
    with ExitStack() as stack:
        ratings = stack.enter_context(running(Ratings().answer))
        second = settings({"SERVICE_VERSION": "v2", "ENABLE_RATINGS": "true"})
        reviewing = stack.enter_context(running(reviews or Reviews(second, ratings).answer))
        about = stack.enter_context(running(details.answer))
        page = ProductPage(about, reviewing, ratings, patience)
        yield stack.enter_context(running(page.answer))


def test_the_page_shows_details_reviews_and_stars() -> None:
    with store() as base:
        page = ask(base, "/productpage")
    assert page.status == 200
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "<title>Simple Bookstore App</title>" in page.text
    assert "1234567890" in page.text
    assert page.text.count("★★★★") == 2
    assert "Error fetching" not in page.text


def test_the_same_is_there_as_json() -> None:
    with store() as base:
        assert ask(base, "/api/v1/products").json[0]["title"] == "The Comedy of Errors"
        assert ask(base, "/api/v1/products/0").json["publisher"] == "PublisherA"
        assert len(ask(base, "/api/v1/products/0/reviews").json["reviews"]) == 2
        assert ask(base, "/api/v1/products/0/ratings").json["ratings"]["Reviewer1"] == 5
        assert ask(base, "/api/v1/products/x").status == 400
        assert ask(base, "/health").text == "Product page is healthy"


def test_a_user_who_has_logged_in_is_known_to_other_services() -> None:
    recorder = Recorder(json_response({"reviews": []}))
    with store(recorder.answer) as base:
        there = ask(base, "/login", "POST", "username=jason&passwd=")
        cookie = there.headers["Set-Cookie"].partition(";")[0]
        page = ask(base, "/productpage", headers={"Cookie": cookie, "end-user": "mallory"})
        gone = ask(base, "/logout", headers={"Cookie": cookie})
    assert (there.status, there.headers["Location"]) == (302, "/productpage")
    assert recorder.seen[0].headers["end-user"] == "jason"
    assert "jason" in page.text
    assert "Max-Age=0" in gone.headers["Set-Cookie"]


def test_a_user_name_that_could_break_a_header_is_refused() -> None:
    recorder = Recorder(json_response({"reviews": []}))
    with store(recorder.answer) as base:
        assert ask(base, "/login", "POST", "username=a%0d%0ax-evil:+1").status == 400
        ask(base, "/productpage", headers={"Cookie": "session=a%0d%0ax-evil%3A1"})
    assert "end-user" not in recorder.seen[0].headers


def test_reviews_that_do_not_come_are_asked_for_twice_and_then_missed() -> None:
    forever = threading.Event()
    recorder = Recorder(json_response({}), hangs=forever)
    with store(recorder.answer, patience=0.1) as base:
        page = ask(base, "/productpage")
        forever.set()
    assert len(recorder.seen) == 2
    assert page.status == 200
    assert "Error fetching product reviews" in page.text
    assert "Sorry, product reviews are currently unavailable for this book." in page.text
    assert "Error fetching product details" not in page.text


def test_the_status_of_a_failure_is_handed_on_as_json() -> None:
    failing = Recorder(error_response(503, "no"))
    with store(failing.answer) as base:
        answer = ask(base, "/api/v1/products/0/reviews")
    assert (answer.status, answer.json["error"].startswith("Sorry")) == (503, True)


def test_details_that_nobody_serves_are_missed() -> None:
    with running(ProductPage(NOBODY, NOBODY, NOBODY).answer) as base:
        assert "Error fetching product details" in ask(base, "/productpage").text


def test_nothing_that_others_say_becomes_markup() -> None:
    hostile = {"reviews": [{"reviewer": "<b>", "text": "<script>"}], "podname": "<i>"}
    with store(Recorder(json_response(hostile)).answer) as base:
        text = ask(base, "/productpage").text
    assert not any(tag in text for tag in ("<script>", "<b>", "<i>"))
