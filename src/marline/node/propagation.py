"""When the whole mesh knows what was written: the control plane tells when every proxy has it."""

import logging
from collections.abc import Awaitable, Callable
from typing import Final

from marline.store.interface import StoreError
from marline.store.remote.client import RemoteStore
from marline.xds.status import PATH, SETTLED_AT, TIMEOUT_SECONDS

Propagated = Callable[[str], Awaitable[None]]
"""`(resource_version)`: returns when every connected proxy has what follows from it, or cannot be told."""

_SECONDS: Final = 30.0

_log = logging.getLogger(__name__)


def propagation(store: RemoteStore) -> Propagated:
    """Asks this control plane."""

    async def propagated(resource_version: str) -> None:
        params = {SETTLED_AT: resource_version, TIMEOUT_SECONDS: str(_SECONDS)}
        try:
            await store.request("GET", PATH, params=params)
        except StoreError as error:
            _log.info("nobody tells who has version %s: %s", resource_version, error)

    return propagated
