"""Generated rules and requests: real Envoys accept and refuse what a direct reading of the rules says."""

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from end_user_tokens import SigningKey, key_set, token_policy
from policy_mesh import Caller, protected_service

ISSUERS = ("a", "b", "c")
KEYS = {issuer: SigningKey.new("ES256", issuer) for issuer in ISSUERS}
FORGED = {issuer: SigningKey.new("ES256", issuer) for issuer in ISSUERS}
PLACES = ("x-one", "x-two", "q", "r", "one", "two")
"""Headers, parameters and cookies."""
AUDIENCES = ("shop", "bank")
REQUESTS = 60


@dataclass(frozen=True)
class Rule:
    """Which tokens are looked for where, and the header that says that this rule has accepted one."""

    issuer: str
    places: frozenset[str]
    audience: str
    header: str

    def written(self) -> dict[str, Any]:
        own = sorted(self.places)
        return {
            "issuer": self.issuer,
            "jwks": key_set(KEYS[self.issuer]),
            "audiences": [self.audience] if self.audience else [],
            "fromHeaders": [{"name": name} for name in own if name in PLACES[:2]],
            "fromParams": [name for name in own if name in PLACES[2:4]],
            "fromCookies": [name for name in own if name in PLACES[4:]],
            "outputClaimToHeaders": [{"header": self.header, "claim": "sub"}],
        }


@dataclass(frozen=True)
class Token:
    issuer: str
    audience: str
    forged: bool
    expired: bool

    def __str__(self) -> str:
        signing = (FORGED if self.forged else KEYS)[self.issuer]
        expires = int(time.time()) + (-3600 if self.expired else 3600)
        return signing.token({"iss": self.issuer, "aud": self.audience, "exp": expires})

    def is_valid_by(self, rule: Rule) -> bool:
        known = self.issuer == rule.issuer and rule.audience in ("", self.audience)
        return known and not (self.forged or self.expired)


def rules_of(draw: random.Random) -> list[Rule]:
    return [
        Rule(
            draw.choice(ISSUERS),
            frozenset(draw.sample(PLACES, draw.choice((1, 1, 2)))),
            draw.choice(("", "", *AUDIENCES)),
            f"x-accepted-{index}",
        )
        for index in range(draw.randint(1, 4))
    ]


def shown_by(draw: random.Random) -> dict[str, Token]:
    """The tokens of a request, by place."""
    return {
        place: Token(draw.choice(ISSUERS), draw.choice(AUDIENCES), draw.random() < 0.15, draw.random() < 0.15)
        for place in draw.sample(PLACES, draw.choice((0, 1, 1, 2)))
    }


def groups(rules: list[Rule]) -> Iterator[list[Rule]]:
    """Rules that share places, also by way of others."""
    left = list(rules)
    while left:
        group = [left.pop()]
        for rule in group:
            near = [other for other in left if other.places & rule.places]
            group += near
            left = [other for other in left if other not in near]
        yield group


def accepting(rules: list[Rule], place: str, token: Token) -> set[str]:
    """The headers of the rules that look for tokens at a place and accept this one."""
    return {rule.header for rule in rules if place in rule.places and token.is_valid_by(rule)}


def looked_at(rules: list[Rule], shown: dict[str, Token]) -> set[str]:
    return {place for rule in rules for place in rule.places} & shown.keys()


async def sent(caller: Caller, shown: dict[str, Token]) -> tuple[int, set[str]]:
    """The status, and which rules the application is told of."""
    texts = {place: str(token) for place, token in shown.items()}
    headers = {place: text for place, text in texts.items() if place in PLACES[:2]}
    cookies = "; ".join(f"{place}={text}" for place, text in texts.items() if place in PLACES[4:])
    if cookies:
        headers["cookie"] = cookies
    query = "&".join(f"{place}={text}" for place, text in texts.items() if place in PLACES[2:4])
    async with caller.session.get(f"{caller.base}/?{query}", headers=headers) as response:
        said = (await response.json())["headers"] if response.status == 200 else {}
        return response.status, {name for name in said if name.startswith("x-accepted-")}


@pytest.mark.parametrize("seed", [0, 1, 2, 3, 4, 11, 17, 20, 35, 36])
async def test_envoy_does_with_tokens_what_the_rules_say(seed: int) -> None:
    draw = random.Random(seed)
    rules = rules_of(draw)
    async with protected_service(token_policy([rule.written() for rule in rules])) as caller:
        for _ in range(REQUESTS):
            shown = shown_by(draw)
            seen = looked_at(rules, shown)
            status, told = await sent(caller, shown)
            assert status in (200, 401, 403)
            believed = {place: accepting(rules, place, shown[place]) for place in seen}
            assert told <= {header for headers in believed.values() for header in headers}
            if not all(believed.values()):
                assert status != 200, "a token is not valid by any rule that looks for one there"
            elif all(len(looked_at(group, shown)) < 2 for group in groups(rules)):
                assert status == 200, "each is valid by one of the rules that look for it"
                assert all(told & headers for headers in believed.values())
