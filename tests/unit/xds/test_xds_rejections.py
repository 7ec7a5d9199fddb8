"""A rejection costs the resource at fault and nothing else."""

from conversations import Conversation, in_sync

from marline.xds.status import REJECTED, SYNCED

VIEW = "CDS a@1, EDS a@1, LDS l@1, RDS t@1, VHDS t/a@1 t/b@1"


def states(talk: Conversation) -> dict[str, str]:
    return {item.type_url.rpartition(".")[2]: item.state for item in talk.session.statuses()}


def test_halves_of_a_rejected_response_find_the_one_at_fault() -> None:
    talk = in_sync(VIEW)
    assert talk.change("CDS b@1 c@1 d@1 e@1") == ["CDS b@1 c@1 d@1 e@1"]
    assert talk.nack("CDS") == ["CDS b@1 c@1"]
    assert talk.ack("CDS") == ["CDS d@1 e@1"]
    assert talk.nack("CDS") == ["CDS d@1"]
    assert talk.nack("CDS", "d is bad") == ["refused CDS d: d is bad", "CDS e@1"]
    assert talk.ack("CDS") == []
    assert states(talk)["Cluster"] == REJECTED
    assert talk.session.is_settled


def test_what_is_not_at_fault_goes_on() -> None:
    talk = in_sync(VIEW)
    talk.change("VHDS t/a@2, LDS m@1")
    assert talk.nack("LDS") == ["refused LDS m: bad", "VHDS t/a@2"]
    assert talk.ack("VHDS") == []
    assert talk.change("VHDS t/a@3") == ["VHDS t/a@3"]


def test_a_refused_resource_is_not_sent_again_before_it_changes() -> None:
    talk = in_sync(VIEW)
    talk.change("VHDS t/a@2")
    assert talk.nack("VHDS") == ["refused VHDS t/a: bad"]
    assert talk.change("VHDS t/b@2") == ["VHDS t/b@2"]
    talk.ack("VHDS")
    assert talk.change("VHDS t/a@3") == ["settled VHDS t/a", "VHDS t/a@3"]
    assert talk.ack("VHDS") == []
    assert states(talk)["VirtualHost"] == SYNCED


def test_a_return_to_the_last_good_version_ends_a_refusal_without_a_word_to_the_proxy() -> None:
    talk = in_sync(VIEW)
    talk.change("VHDS t/a@2")
    talk.nack("VHDS")
    assert talk.change("VHDS t/a@1") == ["settled VHDS t/a"]
    assert states(talk)["VirtualHost"] == SYNCED


def test_the_end_of_a_refused_resource_ends_the_refusal() -> None:
    talk = in_sync(VIEW)
    talk.change("VHDS t/c@1")
    talk.nack("VHDS")
    assert talk.change(gone="VHDS t/c") == ["settled VHDS t/c"]


def test_the_last_good_version_keeps_what_it_may_refer_to() -> None:
    talk = in_sync(f"{VIEW}, CDS b@1, EDS b@1")
    assert talk.change("VHDS t/a@2", gone="CDS b, EDS b") == ["VHDS t/a@2"]
    assert talk.nack("VHDS") == ["refused VHDS t/a: bad"]
    assert talk.session.is_settled
    assert talk.change("VHDS t/a@3") == ["settled VHDS t/a", "VHDS t/a@3"]
    assert talk.ack("VHDS") == ["CDS -b"]


def test_a_refused_resource_without_a_last_good_version_holds_nothing_back() -> None:
    talk = in_sync(f"{VIEW}, CDS b@1, EDS b@1")
    talk.change("VHDS t/c@1", gone="CDS b, EDS b")
    assert talk.nack("VHDS") == ["refused VHDS t/c: bad", "CDS -b"]


def test_what_envoy_may_have_taken_of_a_rejected_response_is_taken_away_with_its_end() -> None:
    talk = in_sync(VIEW)
    talk.change("CDS b@1 c@1")
    assert talk.change(gone="CDS b") == []
    assert talk.nack("CDS") == ["CDS c@1"]
    assert talk.nack("CDS") == ["refused CDS c: bad", "CDS -b"]


def test_what_envoy_may_have_taken_of_a_rejected_response_is_taken_back() -> None:
    talk = in_sync(f"{VIEW}, CDS b@1")
    talk.change("CDS b@2 c@1")
    talk.change("CDS b@1")
    assert talk.nack("CDS") == ["CDS b@1"]
    assert talk.ack("CDS") == ["CDS c@1"]


def test_removals_of_a_rejected_response_are_repeated() -> None:
    talk = in_sync(VIEW)
    assert talk.change("VHDS t/c@1", gone="VHDS t/a") == ["VHDS t/c@1 -t/a"]
    assert talk.nack("VHDS") == ["refused VHDS t/c: bad", "VHDS -t/a"]


def test_a_rejection_of_what_has_changed_meanwhile_is_no_longer_of_interest() -> None:
    talk = in_sync(VIEW)
    talk.change("VHDS t/a@2, LDS m@1")
    talk.change(gone="LDS m")
    assert talk.nack("LDS") == ["VHDS t/a@2"]
    talk.change("VHDS t/a@3")
    assert talk.nack("VHDS") == ["VHDS t/a@3"]
    assert talk.session.messages == {}


def test_a_virtual_host_refused_for_lack_of_others_is_tried_once_more() -> None:
    talk = in_sync(VIEW)
    talk.change("VHDS t/a@2 t/b@2 t/c@1")
    assert talk.nack("VHDS") == ["VHDS t/a@2"]
    assert talk.nack("VHDS") == ["refused VHDS t/a: bad", "VHDS t/b@2 t/c@1"]
    assert talk.nack("VHDS") == ["VHDS t/b@2"]
    assert talk.ack("VHDS") == ["VHDS t/c@1"]
    assert talk.nack("VHDS") == ["refused VHDS t/c: bad", "VHDS t/a@2 t/c@1"]
    assert talk.nack("VHDS") == ["VHDS t/a@2"]
    assert talk.ack("VHDS") == ["settled VHDS t/a", "VHDS t/c@1"]
    assert talk.nack("VHDS") == ["refused VHDS t/c: bad", "VHDS t/c@1"]
    assert talk.nack("VHDS") == ["refused VHDS t/c: bad"]


def test_a_virtual_host_that_lacks_the_domain_of_another_is_tried_when_that_is_mended() -> None:
    talk = in_sync(VIEW)
    talk.change("VHDS t/a@2")
    talk.nack("VHDS")
    talk.change("VHDS t/b@2")
    assert talk.nack("VHDS", "duplicate domain") == ["refused VHDS t/b: duplicate domain"]
    assert talk.change("VHDS t/a@3") == ["settled VHDS t/a", "VHDS t/a@3"]
    assert talk.ack("VHDS") == ["VHDS t/b@2"]
    assert talk.ack("VHDS") == ["settled VHDS t/b"]


def test_a_change_during_the_search_is_part_of_it() -> None:
    talk = in_sync(VIEW)
    talk.change("CDS b@1 c@1")
    assert talk.nack("CDS") == ["CDS b@1"]
    talk.change("CDS c@2 d@1")
    assert talk.ack("CDS") == ["CDS c@2"]
    assert talk.ack("CDS") == ["CDS d@1"]
    assert talk.ack("CDS") == []


def test_a_resource_that_is_no_longer_asked_for_is_no_longer_refused() -> None:
    talk = in_sync(VIEW)
    talk.change("EDS a@2")
    talk.nack("EDS", "no")
    assert talk.session.messages
    assert talk.ask("EDS", without=["a"]) == ["settled EDS a"]
    assert not talk.session.messages


def test_what_is_refused_may_be_tried_again_and_stays_refused_until_it_is_taken() -> None:
    talk = in_sync(VIEW)
    talk.change("LDS m@1")
    talk.nack("LDS", "port taken")
    assert talk.try_again() == ["LDS m@1"]
    assert states(talk)["Listener"] == REJECTED
    assert talk.nack("LDS", "port taken") == ["refused LDS m: port taken"]
    assert talk.change("LDS l@2") == ["LDS l@2"]
    talk.ack("LDS")
    assert talk.try_again() == ["LDS m@1"]
    assert talk.ack("LDS") == ["settled LDS m"]
    assert talk.try_again() == []
