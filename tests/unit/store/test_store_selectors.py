"""Label and field selectors."""

import pytest

from marline.store.selectors import FieldSelector, LabelSelector

LABELS = {"app": "web", "tier": "front", "n": "5"}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("", True),
        ("app=web", True),
        ("app==web", True),
        ("app = web , tier=front", True),
        ("app!=web", False),
        ("other!=x", True),
        ("app", True),
        ("!app", False),
        ("!other", True),
        ("app in (web, db)", True),
        ("app in(web)", True),
        ("app notin (web,db),tier", False),
        ("other notin (a)", True),
        ("other in (a)", False),
        ("n>4", True),
        ("n<4", False),
        ("app>4", False),
        ("app=", False),
        ("example.com/x=y", False),
    ],
)
def test_label_selector(text: str, matches: bool) -> None:
    assert LabelSelector.parse(text).matches(LABELS) is matches


@pytest.mark.parametrize(
    "text", ["app=web,", "=x", "app in web", "app in (a", "a b", "n>x", "app=a/b", ",", "!"]
)
def test_malformed_label_selector_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        LabelSelector.parse(text)


def test_field_selector_compares_paths() -> None:
    obj = {"metadata": {"name": "a"}, "involvedObject": {"kind": "Service"}, "source": {"component": "x"}}
    assert FieldSelector.parse("involvedObject.kind=Service,metadata.name!=b", "", "Event").matches(obj)
    assert FieldSelector.parse("source=x", "", "Event").matches(obj)
    assert not FieldSelector.parse("metadata.name=b", "", "Event").matches(obj)


def test_field_that_cannot_be_selected_by_is_refused() -> None:
    with pytest.raises(ValueError, match="not supported"):
        FieldSelector.parse("spec.hosts=a", "networking.istio.io", "VirtualService")
    with pytest.raises(ValueError, match="invalid"):
        FieldSelector.parse("metadata.name", "", "Event")
