"""`details`, `ratings` and the three versions of `reviews`, asked over HTTP."""

import json

import pytest
from bookstore import Recorder, ask, running

from marline.samples.bookinfo import details
from marline.samples.bookinfo.ratings import Ratings
from marline.samples.bookinfo.reviews import Reviews, Settings, settings
from marline.samples.server import Handler, Response, error_response, json_response

NOBODY = "http://127.0.0.1:9"
V1 = settings({"SERVICE_VERSION": "v1", "MARLINE_WORKLOAD": "reviews-v1-abcde"})
V2 = settings({"SERVICE_VERSION": "v2", "ENABLE_RATINGS": "true", "STAR_COLOR": "black"})
V3 = settings({"SERVICE_VERSION": "v3", "ENABLE_RATINGS": "true", "STAR_COLOR": "red"})


def test_details_are_those_of_the_book_that_is_asked_for() -> None:
    with running(details.answer) as base:
        book = ask(base, "/details/7")
        assert (book.status, book.json["id"], book.json["ISBN-10"]) == (200, 7, "1234567890")
        assert ask(base, "/health").json == {"status": "Details is healthy"}


@pytest.mark.parametrize(
    ("handler", "path"),
    [
        (details.answer, "/details/x"),
        (Ratings().answer, "/ratings/x"),
        (Reviews(V1, NOBODY).answer, "/reviews/x"),
    ],
)
def test_a_product_that_is_no_number_is_refused(handler: Handler, path: str) -> None:
    with running(handler) as base:
        assert (ask(base, path).status, "numeric" in ask(base, path).json["error"]) == (400, True)
        assert ask(base, "/elsewhere").status == 404


def test_ratings_are_kept_for_each_product() -> None:
    with running(Ratings().answer) as base:
        assert ask(base, "/ratings/0").json == {"id": 0, "ratings": {"Reviewer1": 5, "Reviewer2": 4}}
        assert ask(base, "/ratings/0", "POST", json.dumps({"Reviewer1": 1})).status == 200
        assert ask(base, "/ratings/0").json["ratings"] == {"Reviewer1": 1}
        assert ask(base, "/ratings/1").json["ratings"] == {"Reviewer1": 5, "Reviewer2": 4}


@pytest.mark.parametrize("body", ["", "[1]", '{"Reviewer1": 6}', '{"Reviewer1": true}', '{"Reviewer1": "5"}'])
def test_what_are_no_ratings_is_refused(body: str) -> None:
    with running(Ratings().answer) as base:
        assert ask(base, "/ratings/0", "POST", body).status == 400


def test_the_first_version_of_reviews_asks_for_no_ratings() -> None:
    with running(Reviews(V1, NOBODY).answer) as base:
        answer = ask(base, "/reviews/0").json
    assert answer["podname"] == "reviews-v1-abcde"
    assert [sorted(review) for review in answer["reviews"]] == [["reviewer", "text"]] * 2


@pytest.mark.parametrize(("chosen", "color"), [(V2, "black"), (V3, "red")])
def test_later_versions_show_stars_in_their_color(chosen: Settings, color: str) -> None:
    with running(Ratings().answer) as ratings, running(Reviews(chosen, ratings).answer) as base:
        found = [review["rating"] for review in ask(base, "/reviews/0").json["reviews"]]
    assert found == [{"stars": 5, "color": color}, {"stars": 4, "color": color}]


@pytest.mark.parametrize("response", [error_response(500, "no"), json_response([])])
def test_reviews_without_ratings_are_still_reviews(response: Response) -> None:
    failing = Recorder(response)
    with running(failing.answer) as ratings, running(Reviews(V2, ratings).answer) as base:
        answer = ask(base, "/reviews/0")
    assert answer.status == 200
    assert {review["rating"]["error"] for review in answer.json["reviews"]} == {
        "Ratings service is currently unavailable"
    }


def test_what_a_trace_and_a_rule_for_a_user_need_goes_along() -> None:
    recorder = Recorder(json_response({"ratings": {}}))
    sent = {"end-user": "jason", "traceparent": "00-1-2-01", "X-Request-Id": "7", "x-private": "stays"}
    with running(recorder.answer) as ratings, running(Reviews(V2, ratings).answer) as base:
        ask(base, "/reviews/0", headers=sent)
    received = recorder.seen[0].headers
    assert [received.get(name) for name in ("end-user", "traceparent", "x-request-id")] == [
        "jason", "00-1-2-01", "7",
    ]  # fmt: skip
    assert "x-private" not in received


@pytest.mark.parametrize("wrong", [{"ENABLE_RATINGS": "yes"}, {"STAR_COLOR": "blue"}])
def test_an_environment_that_is_not_understood_is_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="expected"):
        settings(wrong)
