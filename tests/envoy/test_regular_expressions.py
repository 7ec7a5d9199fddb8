"""Envoy takes the regular expressions that Marline takes, and Marline reads them as Envoy does."""

import asyncio
import warnings
from typing import Any

import aiohttp
import pytest
from routing_envoy import RoutedClient, route_listener, run_envoy, validate

from marline.api.faults import Faults
from marline.api.rules import regex
from marline.explain.patterns import expression
from marline.explain.request import CannotTell
from marline.node.bootstrap import RUNTIME

TAKEN = (
    r"[[:alpha:]]+", r"[[:^digit:]x]", r"[[:alpha:]-z]", "[[a]", "[[.a.]]", "[a&&b]", "[--a]", "[a-b-c]",
    r"[\d-a]", "[]a]", "[^]a]", r"[\w-]", r"[\x{41}-\x{5a}]", r"[^\S]", r"[\pL]", r"\pL+", r"\p{Greek}",
    r"\P{^Lu}", r"\Qa.b\E+", r"\Qa.b", r"a\z", r"a\C", r"\x41\101\0", r"\12", r"\a\f\t\n\r\v", r"\_\<\.",
    "(?<name>a)b",
    "(?P<n>a)(?P<n>b)", "a(?i)b", "(?i)a", "(?i-s:a)b", "(?-s)a", "(?U)a*", "(?)", "(?:)", "(?im)^a$", "a??",
    "a*?", "a{2}?", "a{,3}", "a{", "a{1000}", "((a{10}){10}){10}", "^*a", "$*", r"\b*a", "a||b", "()",
    ".{64}", r"[a-z]{1,63}(\.[a-z]{1,63}){1,10}",
)  # fmt: skip
REFUSED = (
    "[[:nope:]]", r"[a-\d]", r"[\b]", r"\p{Nope}", r"\x{110000}", r"a\Z", r"(a)\1", r"\u0041", "(?x)a",
    "(?=a)", "(?>a)", "a**", "a*+", "a{2}{3}", "a{1001}", "((a{10}){10}){11}",
)  # fmt: skip
"""Each of these is shown to Envoy alone."""
REFUSED_LIKEWISE = (
    "[z-a]", r"[\Qa\E]", "[", "[]", r"\pQ", r"\1", r"\8", r"\e", r"\K", "\\", "(?a)b", "(?!a)", "(?<=a)b",
    "(?P=n)", "(?#c)", "a?+", "a{2}+", "a{2,1}", "*a", "+", "(", ")",
)  # fmt: skip
TEXTS = (
    "a",
    "A",
    "b",
    "ab",
    "aB",
    "a.b",
    "z",
    "-",
    "]",
    "[",
    "1",
    "_",
    "&",
    "aa",
    "aaa",
    "a{",
    "B",
    "{,3}",
)


def faults_of(pattern: str) -> list[str]:
    faults = Faults()
    regex(pattern, faults)
    return [error.message for error in faults.errors]


def route(pattern: str, path: str = "/") -> dict[str, Any]:
    """It answers 200 where the header `x-text` matches."""
    headers = [{"name": "x-text", "string_match": {"safe_regex": {"regex": pattern}}}]
    return {"match": {"path": path, "headers": headers}, "direct_response": {"status": 200}}


def listener(*routes: dict[str, Any]) -> dict[str, Any]:
    made = route_listener([])
    config = made["filter_chains"][0]["filters"][0]["typed_config"]["route_config"]
    config["virtual_hosts"] = [{"name": "all", "domains": ["*"], "routes": list(routes)}]
    return {"static_resources": {"listeners": [made]}, "layered_runtime": RUNTIME}


async def test_envoy_refuses_what_marline_refuses() -> None:
    running = asyncio.Semaphore(2)

    async def taken(pattern: str) -> bool:
        async with running:
            return not await validate(listener(route(pattern)))

    verdicts = await asyncio.gather(*map(taken, REFUSED))
    assert [pattern for pattern, verdict in zip(REFUSED, verdicts, strict=True) if verdict] == []
    assert [pattern for pattern in (*REFUSED, *REFUSED_LIKEWISE) if not faults_of(pattern)] == []


async def test_envoy_takes_what_marline_takes_and_matches_the_same() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [pattern for pattern in TAKEN if faults_of(pattern)] == []
    made = listener(*(route(pattern, f"/{index}") for index, pattern in enumerate(TAKEN)))
    told = 0
    async with (
        run_envoy(made["static_resources"]) as envoy,
        aiohttp.ClientSession() as session,
    ):
        client = RoutedClient(session, envoy.ports["routes"])
        for index, pattern in enumerate(TAKEN):
            try:
                expected = expression(pattern)
            except CannotTell:
                continue
            told += 1
            for text in TEXTS:
                status = (await client.send(f"/{index}", **{"x-text": text})).status
                assert (status == 200) == bool(expected.fullmatch(text)), (pattern, text)
    assert told > 40


@pytest.mark.parametrize("pattern", [r"\1", "(?=a)", "a**"])
def test_what_is_refused_is_shown(pattern: str) -> None:
    (message,) = faults_of(pattern)
    assert repr(pattern) in message
