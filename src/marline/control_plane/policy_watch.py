"""Watches which rules of AuthorizationPolicies match, and keeps when they last did in a file.

For `marline audit report never-matched`: the proxies of this machine are asked every few seconds.
"""

import asyncio
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from marline.node.admin import Admin
from marline.node.errors import AdminError
from marline.node.home import Home, write_private
from marline.node.records import recorded
from marline.node.workload import WorkloadStatus
from marline.telemetry.policy_hits import PATH, RuleId, policy_hits
from marline.telemetry.policy_matches import Matches, seen
from marline.xds.hub import Hub

_SECONDS: Final = 15.0
"""What a proxy counts in the last seconds of its life is not seen."""

_log = logging.getLogger(__name__)


class PolicyWatch:
    """The matches of one home's mesh."""

    def __init__(self, home: Home, hub: Hub) -> None:
        self._home, self._hub = home, hub
        self._matches = _kept(home.policy_matches)

    async def run(self, followed: asyncio.Event) -> None:
        """For ever, from when it is known which policies there are."""
        await followed.wait()
        while True:
            await self.once(time.time())
            await asyncio.sleep(_SECONDS)

    async def once(self, now: float) -> None:
        """Ask all proxies."""
        running = [item for item in await asyncio.to_thread(recorded, self._home) if item.envoy_pid]
        answers = await asyncio.gather(*(_counted(item) for item in running))
        found = {f"{item.id}/{item.envoy_pid}": rules for item, rules in zip(running, answers, strict=True)}
        every = (item for items in self._hub.snapshot.rules.authorization.values() for item in items)
        policies = {f"{item.namespace}/{item.name}" for item in every}
        matches = seen(self._matches, found, policies, now)
        if matches == self._matches and self._home.policy_matches.exists():
            return
        self._matches = matches
        try:
            await asyncio.to_thread(write_private, self._home.policy_matches, msgspec.json.encode(matches))
        except OSError as error:
            _log.error("%s cannot be written: %s", self._home.policy_matches, error)


def _kept(file: Path) -> Matches:
    """What was seen before, or nothing, from now on."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=Matches)
    except FileNotFoundError:
        return Matches(time.time())
    except (OSError, msgspec.DecodeError) as error:
        _log.error("%s cannot be read, policies are watched anew: %s", file, error)
        return Matches(time.time())


async def _counted(status: WorkloadStatus) -> Mapping[RuleId, int] | None:
    try:
        return policy_hits([await Admin(Path(status.admin_socket)).get(PATH)])
    except AdminError as error:
        _log.info("what %s has counted is not known: %s", status.name, error)
        return None
