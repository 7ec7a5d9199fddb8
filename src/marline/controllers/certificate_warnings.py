"""Certificates that should have been replaced by now: a line in the log and an Event for each.

They are looked at once a minute, since only time makes them so. The API has them as metrics, too
(`identity.ca_status`).
"""

import asyncio
import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from marline.api.errors import InvalidResource
from marline.identity.ca_status import CaStatus, Certificate
from marline.identity.errors import InvalidAuthority
from marline.store.interface import ResourceStore, StoreError

_NAMESPACE: Final = "istio-system"
_LOOK_SECONDS: Final = 60.0

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class CertificateWarnings:
    """Says each warning once, and again when it has been something else in between."""

    store: ResourceStore
    status: Callable[[], CaStatus]
    now: Callable[[], datetime]
    _said: frozenset[tuple[str, str, bool]] = field(default_factory=frozenset)

    async def run(self) -> None:
        """For ever."""
        while True:
            try:
                await self.look()
            except (StoreError, InvalidResource, InvalidAuthority) as error:
                _log.error("nothing can be said of certificates that end: %s", error)
            await asyncio.sleep(_LOOK_SECONDS)

    async def look(self) -> None:
        """Say what is new. Raises `StoreError`, `InvalidResource`, `InvalidAuthority`."""
        now = self.now()
        seconds = now.timestamp()
        due = {
            (item.role, item.name, item.not_after <= seconds): item
            for item in self.status().certificates
            if item.warning(seconds)
        }
        for what, item in due.items():
            if what not in self._said:
                _log.warning("%s", item.warning(seconds))
                await self.store.apply(_event(item, now), field_manager="marline", force=True)
        self._said = frozenset(due)


def _event(item: Certificate, now: datetime) -> dict[str, Any]:
    """One for each certificate and what is to be said of it, the newest in place of the last."""
    reason = "CertificateExpired" if item.not_after <= now.timestamp() else "CertificateEnding"
    digest = hashlib.sha256(f"{item.role} {item.name} {reason}".encode()).hexdigest()[:16]
    at = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"certificate.{digest}", "namespace": _NAMESPACE},
        "involvedObject": {
            "apiVersion": "v1", "kind": "Namespace", "name": _NAMESPACE, "namespace": _NAMESPACE,
        },
        "type": "Warning",
        "reason": reason,
        "message": item.warning(now.timestamp()),
        "source": {"component": "marline"},
        "firstTimestamp": at,
        "lastTimestamp": at,
        "count": 1,
    }  # fmt: skip
