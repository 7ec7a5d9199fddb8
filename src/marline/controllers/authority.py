"""The authority while the mesh runs: nodes follow it, a change of the root goes from phase to phase.

A phase ends when every proxy has acknowledged it (`identity.following`). What is under way stands in the
authority's directory, so that a control plane that is started again goes on with it.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from marline.identity.ca_home import advance_rotation, begin_rotation
from marline.identity.ca_status import CaStatus, Certificate, Rotation, authority_certificates
from marline.identity.endpoint import SignEndpoint
from marline.identity.errors import IdentityError, InvalidAuthority
from marline.identity.following import HOLD_SECONDS, Followers, Following, Newest
from marline.identity.root_rotation import RootRotation, under_way

SETTLE_SECONDS: Final = 5.0
"""So long after its start a control plane waits for nodes to say what their proxies have."""
_LOOK_SECONDS: Final = 1.0

_log = logging.getLogger(__name__)


class NotOurs(IdentityError):
    """Plugged-in certificates are replaced where they come from."""

    def __str__(self) -> str:
        return (
            "the authority is plugged in (pluginCa): put both roots into root-cert.pem, restart the control"
            " plane, and go on when `marline ca status` says that every proxy has them"
        )


@dataclass(slots=True)
class AuthorityLoop:
    """Who signs, and what is known of those for whom it signs."""

    signing: SignEndpoint
    directory: Path | None
    """Of the mesh's own authority; None: it is plugged in."""
    source: str
    clock: Callable[[], float]
    connected: Callable[[], Iterable[str]] = lambda: ()
    """The node ids of the proxies that are connected."""
    absent: Callable[[], Iterable[str]] = lambda: ()
    """The names of workloads that are registered and whose proxies are not connected: they may come back."""
    followers: Followers = field(default_factory=Followers)
    _woken: asyncio.Event = field(default_factory=asyncio.Event)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    """Replaced by a new one whenever the authority changes."""
    _settled_at: float = 0.0

    def __post_init__(self) -> None:
        self._settled_at = self.clock() + SETTLE_SECONDS

    async def follow(self, user: str, said: Following) -> Newest:
        """A node asks: answered when there is something else than it knows, or after a while."""
        self.followers.report(user, said, self.clock())
        self._woken.set()
        if said.known == self.signing.authority.version:
            changed = self._changed
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(HOLD_SECONDS):
                    await changed.wait()
        return Newest(self.signing.authority.version)

    def rotate(self) -> None:
        """Begin to change the root, unless that is under way. Raises `NotOurs`, `InvalidAuthority`."""
        if self.directory is None:
            raise NotOurs
        begin_rotation(self.directory, self.signing.trust_domain, self.clock())
        self.reload()

    def reload(self) -> None:
        """Read the authority's files again. Raises `InvalidAuthority`."""
        self.signing.reload(self.clock())
        self._changed.set()
        self._changed = asyncio.Event()
        self._woken.set()

    def pending(self) -> tuple[str, ...]:
        """The proxies that have not acknowledged the authority as it is."""
        waiting = self.followers.pending(self.signing.authority.version, self.connected(), self.clock())
        return (*waiting, *sorted(self.absent()))

    async def run(self) -> None:
        """Bring a change of the root from phase to phase, for ever."""
        while True:
            rotation = under_way(self.directory) if self.directory is not None else None
            if rotation is not None and self.clock() >= self._settled_at and not self.pending():
                self._advance(rotation)
                continue
            self._woken.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_SECONDS if rotation is not None else None):
                    await self._woken.wait()

    def _advance(self, rotation: RootRotation) -> None:
        assert self.directory is not None  # noqa: S101 (there is a rotation)
        try:
            advance_rotation(self.directory, rotation, self.clock())
            self.reload()
        except InvalidAuthority as error:
            _log.error("the change of the root stays at %s: %s", rotation.phase.value, error)
            self._settled_at = self.clock() + HOLD_SECONDS
        else:
            _log.info("every proxy has acknowledged %s of the root's change", rotation.phase.value)

    def status(self) -> CaStatus:
        """Raises `InvalidAuthority`."""
        now = self.clock()
        rotation = under_way(self.directory) if self.directory is not None else None
        said = self.followers.proxies(now)
        workloads = (
            Certificate("workload", held.spiffe_id, held.not_before, held.not_after, "", held.failure)
            for items in said.values()
            for held in items
            if held.not_after
        )
        certificates = (*authority_certificates(self.signing.authority), *workloads)
        return CaStatus(
            self.signing.trust_domain,
            self.source,
            self.signing.authority.version,
            certificates,
            Rotation(rotation.phase.value, rotation.since) if rotation is not None else None,
            len({*said, *self.connected()}),
            self.pending(),
            tuple(dict.fromkeys(text for item in certificates if (text := item.warning(now)))),
        )
