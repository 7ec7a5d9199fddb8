"""Which patches match nothing follows from what proxies are given, as it changes."""

from typing import Any

from marline.api.decode import decode
from marline.api.resource import Resource
from marline.controllers.patch_matches import PatchMatches
from marline.mesh.model import PatchId


def envoy_filter(number: int) -> Resource[Any]:
    """One with so many patches."""
    patch = {"applyTo": "CLUSTER", "patch": {"operation": "REMOVE"}}
    return decode(
        {
            "apiVersion": "networking.istio.io/v1alpha3",
            "kind": "EnvoyFilter",
            "metadata": {"name": "x", "namespace": "default"},
            "spec": {"configPatches": [patch] * number},
        }
    )


ITEM = envoy_filter(2)
ONE, TWO = PatchId(ITEM.ref, 0), PatchId(ITEM.ref, 1)


def status(matches: PatchMatches) -> tuple[str, str]:
    condition = matches.condition(ITEM)
    return condition["status"], condition["message"]


def test_a_patch_that_is_in_nothing_is_named() -> None:
    matches = PatchMatches()
    assert status(matches)[0] == "False"
    assert matches.given("a", frozenset({TWO})) == {ITEM.ref}
    said = status(matches)
    assert said[0] == "False"
    assert "configPatches[0] (CLUSTER REMOVE)" in said[1]
    assert "configPatches[1]" not in said[1]
    matches.given("b", frozenset({ONE}))
    assert status(matches) == ("True", "")


def test_only_the_first_and_the_last_proxy_change_what_is_said() -> None:
    matches = PatchMatches()
    both = frozenset({ONE, TWO})
    assert matches.given("a", both) == {ITEM.ref}
    assert matches.given("b", both) == frozenset()
    assert matches.given("a", frozenset()) == frozenset()
    assert matches.given("b", frozenset({ONE})) == {ITEM.ref}
    assert "configPatches[1]" in status(matches)[1]
    assert matches.given("b", frozenset()) == {ITEM.ref}
    assert matches == PatchMatches()
