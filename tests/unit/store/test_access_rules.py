"""What rules allow, and what of one rule others cover."""

from hypothesis import given
from hypothesis import strategies as st

from marline.api.rbac import PolicyRule
from marline.store.embedded.access.attributes import Attributes
from marline.store.embedded.access.rules import ALL, allows, uncovered

VERBS = st.sampled_from(["get", "list", "create", "*"])
GROUPS = st.sampled_from(["", "networking.istio.io", "*"])
RESOURCES = st.sampled_from(["services", "services/status", "gateways", "gateways/status", "*/status", "*"])
NAMES = st.sampled_from(["a", "b"])


def tuples(values: st.SearchStrategy[str], least: int = 1) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(values, min_size=least, max_size=2, unique=True).map(tuple)


RULES = st.builds(PolicyRule, tuples(VERBS), tuples(GROUPS), tuples(RESOURCES), tuples(NAMES, 0))
ASKED = st.builds(
    Attributes, st.sampled_from(["get", "list", "create"]), st.sampled_from(["", "networking.istio.io"]),
    st.sampled_from(["services", "gateways"]), st.sampled_from(["", "status"]), st.just("default"),
    st.sampled_from(["", "a", "b", "c"]),
)  # fmt: skip


@given(st.lists(RULES, max_size=3), st.lists(RULES, max_size=3), ASKED)
def test_what_is_covered_allows_nothing_more(
    wanted: list[PolicyRule], held: list[PolicyRule], asked: Attributes
) -> None:
    """The one property that escalation prevention rests on."""
    if not uncovered(wanted, held) and any(allows(rule, asked) for rule in wanted):
        assert any(allows(rule, asked) for rule in held)


@given(RULES)
def test_every_rule_covers_itself_and_is_covered_by_all(rule: PolicyRule) -> None:
    assert uncovered([rule], [rule]) == []
    assert uncovered([rule], [ALL]) == []


def test_a_resource_is_not_its_subresource() -> None:
    plain = PolicyRule(("get",), ("",), ("services",))
    assert not allows(plain, Attributes("get", "", "services", "status"))
    assert allows(PolicyRule(("get",), ("",), ("*/status",)), Attributes("get", "", "services", "status"))
    assert not allows(PolicyRule(("get",), ("",), ("*/status",)), Attributes("get", "", "services"))


def test_names_restrict_and_do_not_allow_what_has_none() -> None:
    named = PolicyRule(("get", "list"), ("",), ("services",), ("a",))
    assert allows(named, Attributes("get", "", "services", name="a"))
    assert not allows(named, Attributes("get", "", "services", name="b"))
    assert not allows(named, Attributes("list", "", "services"))


def test_paths_are_matched_whole_or_by_what_they_begin_with() -> None:
    rule = PolicyRule(("get",), non_resource_urls=("/healthz", "/marline/*"))
    for path, expected in {
        "/healthz": True,
        "/healthz/": False,
        "/marline/v1/x": True,
        "/marlin": False,
    }.items():
        assert allows(rule, Attributes("get", path=path)) is expected
    assert not allows(rule, Attributes("get", "", "services"))
    assert not allows(ALL, Attributes("get", path="/healthz"))
    part = [PolicyRule(("get",), non_resource_urls=("/marline/v1/*",))]
    assert uncovered(part, [rule]) == []
    assert uncovered([PolicyRule(("get",), non_resource_urls=("*",))], [rule]) != []
