"""Certificates that should have been replaced: said once in the log, as Events, and in metrics."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from marline.controllers.authority import AuthorityLoop
from marline.controllers.certificate_warnings import CertificateWarnings
from marline.identity.ca_home import open_home
from marline.identity.ca_status import metrics
from marline.identity.endpoint import SignEndpoint
from marline.identity.following import Following, Held
from marline.store.embedded.store import EmbeddedStore

NOW, YEAR = 1_800_000_000.0, 365 * 86400.0


class Watched:
    """An authority and what is said of it, at a time that the test sets."""

    def __init__(self, directory: Path, store: EmbeddedStore) -> None:
        self.now = NOW
        signing = SignEndpoint(open_home(directory / "ca", "cluster.local", NOW), "cluster.local")
        self.authority = AuthorityLoop(signing, directory / "ca", "own", lambda: self.now)
        self.store = store
        self.warnings = CertificateWarnings(
            store, self.authority.status, lambda: datetime.fromtimestamp(self.now, UTC)
        )

    async def events(self) -> list[tuple[str, str]]:
        await self.warnings.look()
        found = await self.store.list("", "Event", namespace="istio-system")
        return sorted((item.spec.reason, item.spec.message) for item in found.items)


@pytest.fixture
async def watched(tmp_path: Path) -> AsyncIterator[Watched]:
    store = await EmbeddedStore.open(tmp_path / "marline.db")
    yield Watched(tmp_path, store)
    await store.close()


async def test_nothing_is_said_of_certificates_that_are_good(watched: Watched) -> None:
    watched.now += 0.6 * YEAR
    assert await watched.events() == []
    assert "marline_certificate_warning" in metrics(watched.authority.status(), watched.now)
    assert '"signing"' in metrics(watched.authority.status(), watched.now)


async def test_a_certificate_that_signs_is_warned_of_at_two_thirds_of_its_life(watched: Watched) -> None:
    watched.now += 0.7 * YEAR
    ((reason, message),) = await watched.events()
    assert reason == "CertificateEnding"
    assert "the signing certificate" in message
    assert "ends in 109 days" in message or "ends in 110 days" in message
    (warning,) = watched.authority.status().warnings
    assert warning == message
    text = metrics(watched.authority.status(), watched.now)
    assert [line[-1] for line in text.splitlines() if line.startswith("marline_certificate_warning{")] == [
        "0", "1",
    ]  # fmt: skip


async def test_a_workload_whose_renewal_fails_is_warned_of(watched: Watched) -> None:
    held = Held("spiffe://cluster.local/ns/default/sa/a", "v", NOW, NOW + 30, "the control plane is away")
    watched.authority.followers.report("node", Following("x", "", {"p": held}), NOW)
    watched.now += 10
    assert await watched.events() == []
    watched.now += 12
    ((_, message),) = await watched.events()
    assert message == (
        "the workload certificate of spiffe://cluster.local/ns/default/sa/a ends in 0.0 hours, and was not"
        " renewed: the control plane is away"
    )
    watched.now += 7.9
    assert len(await watched.events()) == 1
    watched.now += 0.2
    watched.authority.followers.report("node", Following("x", "", {"p": held}), watched.now)
    assert [reason for reason, _ in await watched.events()] == ["CertificateEnding", "CertificateExpired"]
