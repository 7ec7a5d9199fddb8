"""What is referred to comes first and goes last, each step after the acknowledgement of the one before."""

from conversations import Conversation, in_sync

VIEW = "CDS a@1, EDS a@1, LDS l@1, RDS t@1, VHDS t/a@1"


def test_a_starting_proxy_is_given_each_type_when_it_has_what_that_refers_to() -> None:
    talk = Conversation(VIEW)
    assert talk.ask("CDS") == ["CDS a@1"]
    assert talk.ask("EDS", "a") == ["EDS a@1"]
    assert talk.ask("LDS") == []
    assert talk.ack("EDS") == []
    assert talk.ack("CDS") == ["LDS l@1"]
    assert talk.ask("RDS", "t") == []
    assert talk.ack("LDS") == ["RDS t@1"]
    assert talk.ask("VHDS") == []
    assert talk.ack("RDS") == ["VHDS t/a@1"]
    assert talk.ack("VHDS") == []
    assert talk.session.is_settled


def test_a_route_to_a_new_cluster_waits_until_that_is_warm() -> None:
    talk = in_sync(VIEW)
    assert talk.change("CDS b@1, EDS b@1, VHDS t/a@2") == ["CDS b@1"]
    assert talk.ask("EDS", "b") == ["EDS b@1"]
    assert talk.ack("EDS") == []
    assert talk.ack("CDS") == ["VHDS t/a@2"]


def test_a_route_waits_for_endpoints_that_are_acknowledged_after_their_cluster() -> None:
    talk = in_sync(VIEW)
    talk.change("CDS b@1, EDS b@1, VHDS t/a@2")
    talk.ask("EDS", "b")
    assert talk.ack("CDS") == []
    assert talk.ack("EDS") == ["VHDS t/a@2"]


def test_a_cluster_that_changes_is_told_its_endpoints_again_or_it_would_not_get_warm() -> None:
    talk = in_sync(VIEW)
    assert talk.change("CDS a@2") == ["CDS a@2", "EDS a@1"]
    assert talk.ack("EDS") == []
    assert talk.ack("CDS") == []


def test_endpoints_under_way_when_their_cluster_changes_are_sent_again_after_it() -> None:
    talk = in_sync(VIEW)
    assert talk.change("EDS a@2") == ["EDS a@2"]
    assert talk.change("CDS a@2") == ["CDS a@2"]
    assert talk.ack("EDS") == ["EDS a@2"]


def test_a_warming_cluster_whose_endpoints_are_gone_is_told_so() -> None:
    talk = in_sync(VIEW)
    assert talk.change("CDS b@1, EDS b@1") == ["CDS b@1"]
    assert talk.change(gone="CDS b, EDS b") == []
    assert talk.ask("EDS", "b") == ["EDS -b"]
    talk.ack("EDS")
    assert talk.ack("CDS") == ["CDS -b"]


def test_what_is_no_longer_needed_goes_last_and_in_the_reverse_order() -> None:
    talk = in_sync(f"{VIEW}, CDS b@1, EDS b@1, LDS m@1, RDS u@1, VHDS u/b@1")
    assert talk.change("CDS a@2", gone="CDS b, EDS b, LDS m, RDS u, VHDS u/b") == ["CDS a@2", "EDS a@1"]
    talk.ack("EDS")
    assert talk.ack("CDS") == ["VHDS -u/b"]
    assert talk.ack("VHDS") == ["LDS -m"]
    assert talk.ack("LDS") == ["CDS -b"]
    assert talk.ask("EDS", without=["b"]) == []
    assert talk.ack("CDS") == []


def test_a_virtual_host_that_takes_over_a_domain_comes_with_the_end_of_the_other() -> None:
    talk = in_sync(VIEW)
    assert talk.change("VHDS t/b@1", gone="VHDS t/a") == ["VHDS t/b@1 -t/a"]


def test_an_endpoint_change_touches_nothing_else() -> None:
    talk = in_sync(VIEW)
    assert talk.change("EDS a@2") == ["EDS a@2"]
    assert talk.ack("EDS") == []


def test_a_slow_proxy_gets_the_latest_state_and_never_a_queue() -> None:
    talk = in_sync(VIEW)
    assert talk.change("VHDS t/a@2") == ["VHDS t/a@2"]
    for version in range(3, 9):
        assert talk.change(f"VHDS t/a@{version}") == []
    assert talk.ack("VHDS") == ["VHDS t/a@8"]
    assert talk.ack("VHDS") == []


def test_what_returns_while_its_removal_is_under_way_is_sent_again() -> None:
    talk = in_sync(VIEW)
    assert talk.change(gone="VHDS t/a, CDS a, EDS a") == ["VHDS -t/a"]
    assert talk.change("VHDS t/a@1, CDS a@1, EDS a@1") == ["EDS a@1"]
    assert talk.ack("VHDS") == []
    assert talk.ack("EDS") == ["VHDS t/a@1"]
    assert talk.ack("VHDS") == []


def test_virtual_hosts_are_sent_to_a_table_that_a_new_listener_brings() -> None:
    talk = in_sync(VIEW)
    assert talk.change("LDS m@1, RDS u@1, VHDS u/b@1") == ["LDS m@1"]
    talk.ask("RDS", "u")
    assert talk.ack("LDS") == ["RDS u@1"]
    assert talk.ack("RDS") == ["VHDS u/b@1"]


def test_virtual_hosts_that_a_proxy_has_already_are_sent_again_to_a_table_asked_for_anew() -> None:
    talk = in_sync(VIEW)
    talk.ask("RDS", without=["t"])
    assert talk.ask("RDS", "t") == ["RDS t@1"]
    assert talk.ack("RDS") == ["VHDS t/a@1"]
