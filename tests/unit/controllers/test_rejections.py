"""A rejection shows in the status of the resource at fault for as long as some proxy rejects it."""

from marline.api.resource import Ref
from marline.controllers.rejections import Rejection, Rejections, with_condition

RULE = Ref("networking.istio.io", "VirtualService", "default", "reviews")
ONE = Rejection("sidecar~default~a~node", "Cluster", "outbound|9080||a", "bad value")
TWO = Rejection("sidecar~default~b~node", "Cluster", "outbound|9080||a", "bad value")


def test_a_rejection_is_written_once_and_names_proxy_resource_and_reason() -> None:
    rejections = Rejections()
    assert rejections.rejected(ONE, [RULE]) == {RULE}
    assert rejections.rejected(ONE, [RULE]) == frozenset()
    condition = rejections.condition(RULE)
    assert condition["status"] == "False"
    for fact in (ONE.node_id, ONE.name, ONE.message):
        assert fact in condition["message"]


def test_the_fault_ends_when_the_last_proxy_accepts_or_leaves() -> None:
    rejections = Rejections()
    rejections.rejected(ONE, [RULE])
    rejections.rejected(TWO, [RULE])
    assert rejections.condition(RULE)["message"].startswith("2 proxies rejected")
    assert rejections.accepted(ONE.node_id, ONE.type_url, [ONE.name]) == {RULE}
    assert rejections.condition(RULE)["status"] == "False"
    assert rejections.gone(TWO.node_id) == {RULE}
    assert rejections.condition(RULE)["status"] == "True"


def test_an_accepted_resource_that_was_never_at_fault_is_not_touched() -> None:
    assert Rejections().accepted(ONE.node_id, ONE.type_url, [ONE.name]) == frozenset()
    healthy = Rejections().condition(RULE)
    assert with_condition({}, healthy, "2026-01-01T00:00:00Z") is None


def test_the_time_of_transition_moves_only_with_the_status() -> None:
    rejections = Rejections()
    rejections.rejected(ONE, [RULE])
    status = with_condition({"conditions": [{"type": "Other"}]}, rejections.condition(RULE), "t1")
    assert status is not None
    assert status["conditions"][0] == {"type": "Other"}
    rejections.rejected(TWO, [RULE])
    status = with_condition(status, rejections.condition(RULE), "t2")
    assert status is not None
    assert status["conditions"][1]["lastTransitionTime"] == "t1"
    assert with_condition(status, rejections.condition(RULE), "t3") is None
