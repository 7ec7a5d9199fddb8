"""What a proxy asks for it gets, once, in whatever way it asks."""

from conversations import Conversation, begun, in_sync

from marline.compile.resource import CLUSTER
from marline.xds.messages import Request, Response
from marline.xds.session import Session
from marline.xds.status import PENDING, SYNCED
from marline.xds.view import View

VIEW = "CDS a@1, EDS a@1 b@1, LDS l@1, RDS t@1 u@1, VHDS t/a@1"


def test_whoever_asks_for_all_of_nothing_is_answered_once() -> None:
    talk = Conversation()
    assert talk.ask("CDS") == ["CDS"]
    assert talk.ack("CDS") == []
    assert talk.change("CDS a@1") == ["CDS a@1"]


def test_a_star_asks_for_all_as_no_name_does() -> None:
    assert Conversation(VIEW).ask("CDS", "*") == ["CDS a@1"]
    assert begun(VIEW).ask("LDS", "*") == ["LDS l@1"]


def test_of_other_types_no_name_asks_for_nothing() -> None:
    talk = Conversation(VIEW)
    assert talk.ask("EDS") == []
    assert talk.ask("RDS") == []


def test_only_what_is_asked_for_by_name_is_sent() -> None:
    talk = Conversation(VIEW)
    assert talk.ask("EDS", "a") == ["EDS a@1"]
    talk.ack("EDS")
    assert talk.change("EDS b@2") == []
    assert talk.ask("EDS", "b") == ["EDS b@2"]


def test_what_does_not_exist_yet_is_sent_when_it_does() -> None:
    talk = begun()
    assert talk.ask("RDS", "t") == []
    assert talk.change("RDS t@1") == ["RDS t@1"]


def test_endpoints_that_do_not_exist_are_said_not_to_until_they_do() -> None:
    talk = Conversation()
    assert talk.ask("EDS", "a") == ["EDS -a"]
    assert talk.ack("EDS") == []
    assert talk.change("EDS a@1") == ["EDS a@1"]


def test_what_is_asked_for_again_is_sent_again() -> None:
    talk = in_sync(VIEW)
    assert talk.ask("RDS", "t") == ["RDS t@1"]


def test_what_is_asked_for_while_it_is_under_way_is_sent_after_it() -> None:
    talk = in_sync(VIEW)
    talk.change("EDS a@2")
    assert talk.ask("EDS", "a") == []
    assert talk.ack("EDS") == ["EDS a@2"]
    assert talk.ack("EDS") == []


def test_what_is_no_longer_asked_for_is_no_longer_sent() -> None:
    talk = in_sync(VIEW)
    assert talk.ask("EDS", without=["a", "never"]) == []
    assert talk.change("EDS a@2 b@2") == ["EDS b@2"]
    talk.ack("EDS")
    assert talk.ask("EDS", "a") == ["EDS a@2"]


def test_a_name_given_up_by_whoever_asks_for_all_is_told_whether_it_is_one_of_all() -> None:
    talk = begun("VHDS t/a@1")
    talk.ask("VHDS", "*", "t/a", "t/gone")
    talk.ack("VHDS")
    assert talk.ask("VHDS", without=["t/a", "t/gone"]) == ["VHDS t/a@1 -t/gone"]


def test_whoever_gives_up_the_star_keeps_what_it_named() -> None:
    talk = Conversation("CDS a@1 b@1")
    talk.ask("CDS", "*", "a")
    talk.ack("CDS")
    assert talk.ask("CDS", without=["*"]) == []
    assert talk.change("CDS a@2 b@2") == ["CDS a@2"]


def test_an_answer_to_an_older_response_answers_nothing() -> None:
    session = Session(View())
    (empty,) = session.receive(Request(CLUSTER))
    assert isinstance(empty, Response)
    for nonce in ("0", "99", "x"):
        assert session.receive(Request(CLUSTER, nonce=nonce, error="bad")) == ()
    assert not session.is_settled
    assert session.receive(Request(CLUSTER, nonce=empty.nonce)) == ()
    assert session.is_settled


def test_a_subscription_counts_even_with_a_nonce_that_is_stale() -> None:
    talk = in_sync(VIEW)
    request = Request("type.googleapis.com/envoy.config.route.v3.RouteConfiguration", ("t",), nonce="0")
    assert talk.say(request) == ["RDS t@1"]


def test_a_type_that_is_never_sent_is_answered_empty_so_that_nobody_waits() -> None:
    talk = Conversation(VIEW)
    request = Request("type.googleapis.com/envoy.service.runtime.v3.Runtime", ("r",))
    (answer,) = talk.session.receive(request)
    assert isinstance(answer, Response)
    assert (answer.blobs, answer.removed) == ((), ())
    assert talk.session.receive(Request(request.type_url, nonce=answer.nonce)) == ()


def test_a_status_says_how_far_a_proxy_is() -> None:
    talk = Conversation("CDS a@1 b@1")
    assert talk.session.statuses() == ()
    talk.ask("CDS")
    (before,) = talk.session.statuses()
    assert (before.state, before.subscribed, before.acknowledged) == (PENDING, 2, 0)
    talk.ack("CDS")
    (after,) = talk.session.statuses()
    assert (after.state, after.subscribed, after.acknowledged) == (SYNCED, 2, 2)
