"""A match that is said to cover another takes all its requests; what is said to be unreachable is."""

from typing import Any

import msgspec
import pytest

from documented_routing import Asked, Documented
from marline.analyze.shadowing import covers
from marline.api.decode import decode
from marline.api.networking.virtual_service import HTTPMatchRequest, L4MatchAttributes, TLSMatchAttributes
from traffic_maker import LABELS, Maker

READ = Documented((), (), (), {}, LABELS)


def match(plain: dict[str, Any]) -> HTTPMatchRequest:
    return msgspec.convert(plain, HTTPMatchRequest)


def matches_of(maker: Maker, number: int) -> tuple[list[dict[str, Any]], list[Asked]]:
    combination = maker.combination(number)
    rules = combination.virtual_service["spec"]["http"]
    found = [each for rule in rules for each in rule.get("match", [{}])]
    return found, maker.requests(combination, 6)


@pytest.mark.parametrize("seed", range(4))
def test_what_covers_another_takes_all_its_requests(seed: int) -> None:
    maker = Maker(seed)
    made = [matches_of(maker, number) for number in range(60)]
    plain = [each for matches, _ in made for each in matches if _is_valid(each)]
    requests = [asked for _, several in made for asked in several]
    models = [match(each) for each in plain]
    covered = 0
    for one, earlier in zip(plain, models, strict=True):
        for other, later in zip(plain, models, strict=True):
            if one is other or not covers(earlier, later):
                continue
            covered += 1
            for asked in requests:
                if READ.fits(other, asked):
                    assert READ.fits(one, asked), f"{one} does not cover {other}: {asked}"
    assert covered > 50


def _is_valid(plain: dict[str, Any]) -> bool:
    uri = plain.get("uri", {})
    return "hedaers" not in plain and len(uri) < 2 and uri.get("regex") != "("


@pytest.mark.parametrize(
    ("earlier", "later", "wanted"),
    [
        ({"uri": {"prefix": "/a"}}, {"uri": {"exact": "/a"}}, True),
        ({"uri": {"prefix": "/A"}, "ignoreUriCase": True}, {"uri": {"exact": "/a/b"}}, True),
        ({"uri": {"prefix": "/a"}}, {"uri": {"exact": "/A"}, "ignoreUriCase": True}, False),
        ({"uri": {"prefix": "/a"}}, {"uri": {"prefix": "/"}}, False),
        ({"headers": {"x": {}}}, {"headers": {"x": {"exact": "1"}}}, True),
        ({"headers": {"x": {"exact": "1"}}}, {}, False),
        ({"method": {"exact": "GET"}}, {"method": {"exact": "GET"}, "port": 80}, True),
        ({"port": 80}, {}, False),
        ({"gateways": ["mesh"]}, {}, False),
        ({"sourceLabels": {"a": "b"}}, {"sourceLabels": {"a": "b", "c": "d"}}, True),
        ({"uri": {"regex": "/a.*"}}, {"uri": {"exact": "/ab"}}, False),
    ],
)
def test_conditions_follow_from_others(earlier: dict[str, Any], later: dict[str, Any], wanted: bool) -> None:
    assert covers(match(earlier), match(later)) is wanted


def test_layer_4_matches_cover_as_well() -> None:
    assert covers(L4MatchAttributes(), L4MatchAttributes(port=80))
    assert not covers(L4MatchAttributes(destination_subnets=("10.0.0.0/8",)), L4MatchAttributes())
    wide, narrow = TLSMatchAttributes(("*.example.com",)), TLSMatchAttributes(("a.example.com",))
    assert covers(wide, narrow)
    assert not covers(narrow, wide)


def test_the_model_is_the_one_that_is_served() -> None:
    head = {"apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": {"name": "v"}}
    made = decode({**head, "spec": {"hosts": ["a"], "http": [{"match": [{"uri": {"exact": "/"}}]}]}})
    assert made.spec.http[0].match == (match({"uri": {"exact": "/"}}),)
