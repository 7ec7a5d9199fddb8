"""Which proxies have not acknowledged the authority as it is, by what nodes say of them."""

from marline.identity.following import HOLD_SECONDS, Followers, Following, Held

ID = "spiffe://cluster.local/ns/default/sa/reviews"


def said(agent: str = "a", **authorities: str) -> Following:
    return Following(agent, "v1", {name: Held(ID, version) for name, version in authorities.items()})


def test_a_proxy_waits_until_its_node_says_that_it_has_the_newest() -> None:
    followers = Followers()
    assert followers.pending("v2", ["p"], 0) == ("p",)
    followers.report("node", said(p="v1"), 0)
    assert followers.pending("v2", ["p"], 0) == ("p",)
    followers.report("node", said(p=""), 1)
    assert followers.pending("v2", ["p"], 1) == ("p",)
    followers.report("node", said(p="v2"), 2)
    assert followers.pending("v2", ["p"], 2) == ()


def test_a_proxy_that_is_not_connected_is_waited_for_while_its_node_speaks_of_it() -> None:
    followers = Followers()
    followers.report("node", said(p="v1"), 0)
    assert followers.pending("v2", [], 1) == ("p",)
    followers.report("node", said(), 2)
    assert followers.pending("v2", [], 3) == ()


def test_a_node_that_says_nothing_any_more_is_forgotten() -> None:
    followers = Followers()
    followers.report("node", said(p="v1"), 0)
    assert followers.pending("v2", [], 4 * HOLD_SECONDS) == ()
    assert followers.pending("v2", ["p"], 4 * HOLD_SECONDS) == ("p",)


def test_nobody_can_acknowledge_for_anothers_proxy() -> None:
    followers = Followers()
    followers.report("node", said(p="v1"), 0)
    followers.report("liar", said(p="v2"), 0)
    followers.report("node", said("another process", q="v2"), 0)
    assert followers.pending("v2", ["p", "q"], 0) == ("p",)
