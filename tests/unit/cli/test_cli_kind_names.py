"""Resources as users name them."""

import click
import pytest

from marline.cli.kinds import choose_kind, choose_kinds, choose_targets, ref_to, said


@pytest.mark.parametrize(
    "word",
    ["vs", "VirtualService", "virtualservices", "virtualservices.networking.istio.io", "virtualservice.net"],
)
def test_a_kind_has_many_names(word: str) -> None:
    assert choose_kind(word).kind == "VirtualService"


def test_a_name_of_two_kinds_lists_both() -> None:
    with pytest.raises(click.UsageError) as caught:
        choose_kind("gateway")
    assert "gateways.networking.istio.io or gateways.gateway.networking.k8s.io" in caught.value.message
    assert choose_kind("gateway.gateway").group == "gateway.networking.k8s.io"
    assert choose_kind("gw").group == "networking.istio.io"


def test_a_misspelt_kind_gets_a_suggestion() -> None:
    with pytest.raises(click.UsageError, match="did you mean 'virtualservices'"):
        choose_kind("virtualsevices")


def test_an_unknown_kind_lists_those_that_are_known() -> None:
    with pytest.raises(click.UsageError, match="known are authorizationpolicies, backendtlspolicies"):
        choose_kind("pods")


def test_lists_and_categories_mean_several_kinds_each_once() -> None:
    kinds = [kind.kind for kind in choose_kinds("vs,dr,virtualservice")]
    assert kinds == ["VirtualService", "DestinationRule"]
    assert {"VirtualService", "PeerAuthentication"} <= {kind.kind for kind in choose_kinds("istio-io")}


def test_targets_are_named_in_two_ways() -> None:
    assert choose_targets(["vs", "a", "b"]) == choose_targets(["vs/a", "virtualservice/b"])
    assert [target.name for target in choose_targets(["vs"])] == [""]


@pytest.mark.parametrize("words", [[], ["vs,dr", "a"], ["vs/a", "b"], ["vs/"], ["vs/a/b"]])
def test_targets_that_mean_nothing_are_usage_errors(words: list[str]) -> None:
    with pytest.raises(click.UsageError):
        choose_targets(words)


def test_kinds_without_namespaces_have_none() -> None:
    assert ref_to(choose_targets(["ns/shop"])[0], "default").namespace == ""
    assert ref_to(choose_targets(["vs/a"])[0], "shop").namespace == "shop"


def test_what_was_done_is_said_as_kubectl_says_it() -> None:
    assert said(ref_to(choose_targets(["vs/a"])[0], "x")) == "virtualservice.networking.istio.io/a"
    assert said(ref_to(choose_targets(["svc/a"])[0], "x")) == "service/a"
