"""An identity kept current: asked for, published, kept while the authority is away."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from identity_material import NOW, self_signed_authority

from marline.identity.agent import SvidSource
from marline.identity.errors import SignFailed
from marline.identity.spiffe import parse
from marline.identity.svid import SignedSvid, Svid

ID = parse("spiffe://cluster.local/ns/default/sa/reviews")
AUTHORITY = self_signed_authority()


class Clock:
    """Time that stands still unless it is moved, and begins NOW."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


class Asked:
    """An authority that answers as it is told, and remembers what it was asked."""

    def __init__(self, clock: Clock, *answers: str) -> None:
        self.requests: list[str] = []
        self._clock, self._answers = clock, list(answers)

    async def __call__(self, csr_pem: str, spiffe_id: str) -> SignedSvid:
        self.requests.append(csr_pem)
        answer = self._answers.pop(0) if self._answers else "sign"
        if answer == "away":
            raise SignFailed("the control plane is away")
        other = "spiffe://cluster.local/ns/default/sa/ratings"
        wanted = parse(other if answer == "another identity" else spiffe_id)
        return AUTHORITY.sign(csr_pem, wanted, 1.0, self._clock())


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 (of another task)
            await asyncio.sleep(0.01)


def source_of(
    sign: Callable[[str, str], Awaitable[SignedSvid]], clock: Clock
) -> tuple[SvidSource, list[Svid]]:
    published: list[Svid] = []
    return SvidSource(ID, sign, published.append, clock=clock, chance=lambda: 0.0), published


async def test_the_first_svid_is_published() -> None:
    clock = Clock()
    source, published = source_of(Asked(clock), clock)
    async with source:
        assert await source.first() == source.current == published[0]
    assert "BEGIN PRIVATE KEY" in published[0].key_pem


async def test_every_renewal_has_a_new_key() -> None:
    clock = Clock()
    asked = Asked(clock)
    source, published = source_of(asked, clock)
    async with source:
        await source.first()
        clock.now += 0.6
        await until(lambda: len(published) == 2)
    assert len({svid.key_pem for svid in published}) == 2
    assert len(set(asked.requests)) == 2


async def test_a_failure_is_retried_and_the_last_good_one_kept() -> None:
    clock = Clock()
    asked = Asked(clock, "sign", "away", "away")
    source, published = source_of(asked, clock)
    async with source:
        first = await source.first()
        clock.now += 0.6
        await until(lambda: source.last_failure)
        assert source.current is first
        while len(published) == 1:
            clock.now += 0.5
            await asyncio.sleep(0.05)
    assert len(asked.requests) == 4
    assert source.last_failure == ""


async def test_an_answer_for_another_identity_is_not_used(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    source, published = source_of(Asked(clock, "another identity"), clock)
    async with source:
        await until(lambda: source.last_failure)
        assert published == []
        assert "is not for" in caplog.text


async def test_expiry_is_said(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    source, _ = source_of(Asked(clock, "sign", *["away"] * 50), clock)
    async with source:
        await source.first()
        clock.now += 5
        await until(lambda: "has expired" in caplog.text)


async def test_it_ends_while_the_authority_does_not_answer() -> None:
    asked = asyncio.Event()

    async def silent(csr_pem: str, spiffe_id: str) -> SignedSvid:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    source, _ = source_of(silent, Clock())
    async with asyncio.timeout(5), source:
        await asked.wait()


async def test_a_defect_is_not_hidden(caplog: pytest.LogCaptureFixture) -> None:
    async def broken(csr_pem: str, spiffe_id: str) -> SignedSvid:
        raise ZeroDivisionError

    source, _ = source_of(broken, Clock())
    with pytest.raises(ZeroDivisionError):
        async with source:
            await until(lambda: "renews no more" in caplog.text)
