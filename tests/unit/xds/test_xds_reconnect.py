"""A proxy that comes back says what it has, and hears only of what differs."""

from conversations import Conversation

VIEW = "CDS a@1 b@1, EDS a@1 b@1, LDS l@1, RDS t@1, VHDS t/a@1"


def returning(view: str, clusters: str = "a@1 b@1", hosts: str = "t/a@1") -> tuple[Conversation, list[str]]:
    """An Envoy that comes back, in the order in which it repeats its subscriptions; what it is told."""
    talk = Conversation(view)
    told = talk.ask("CDS", has=clusters)
    told += talk.ask("EDS", "a", "b", has="a@1 b@1")
    told += talk.ask("LDS", has="l@1")
    told += talk.ask("RDS", "t", has="t@1")
    told += talk.ask("VHDS", has=hosts)
    return talk, told


def test_nothing_that_is_current_is_sent_again() -> None:
    talk, told = returning(VIEW)
    assert told == []
    assert talk.session.is_settled
    assert all(item.acknowledged == item.subscribed for item in talk.session.statuses())


def test_what_has_changed_meanwhile_is_sent() -> None:
    talk, told = returning(f"{VIEW}, VHDS t/a@2, EDS b@2")
    assert told == ["EDS b@2"]
    assert talk.ack("EDS") == ["VHDS t/a@2"]


def test_what_is_gone_meanwhile_is_removed_after_what_is_new() -> None:
    talk, told = returning("CDS a@1, EDS a@1, LDS l@1, RDS t@1, VHDS t/a@2")
    assert told == ["CDS"]
    assert talk.ack("CDS") == ["VHDS t/a@2"]
    assert talk.ack("VHDS") == ["CDS -b"]
    assert talk.ask("EDS", without=["b"]) == []


def test_a_cluster_that_has_changed_meanwhile_is_told_its_endpoints_again() -> None:
    _, told = returning(f"{VIEW}, CDS b@2")
    assert told == ["CDS b@2", "EDS b@1"]


def test_a_table_that_was_still_awaited_gets_its_virtual_hosts_whatever_the_proxy_says_it_has() -> None:
    talk = Conversation(VIEW)
    talk.ask("CDS", has="a@1 b@1")
    talk.ask("EDS", "a", "b", has="a@1 b@1")
    talk.ask("LDS", has="l@1")
    assert talk.ask("RDS", "t") == ["RDS t@1"]
    assert talk.ask("VHDS", has="t/a@1") == []
    assert talk.ack("RDS") == ["VHDS t/a@1"]


def test_a_new_proxy_that_says_it_has_something_else_is_brought_to_the_view() -> None:
    talk = Conversation("CDS a@1")
    assert talk.ask("CDS", has="other@9") == ["CDS a@1"]
    assert talk.ack("CDS") == ["CDS -other"]


def test_a_proxy_that_says_nothing_of_clusters_yet_waits_for_endpoints_whatever_it_says_it_has() -> None:
    talk = Conversation(f"{VIEW}, VHDS t/a@2")
    assert talk.ask("EDS", "a", "b", has="a@1 b@1") == ["EDS a@1 b@1"]
    talk.ask("LDS", has="l@1")
    talk.ask("RDS", "t", has="t@1")
    talk.ask("VHDS", has="t/a@1")
    assert talk.ack("EDS") == []
    assert talk.ask("CDS", has="a@1 b@1") == ["VHDS t/a@2"]
