"""Writing a status: what a resource is told about itself, retried while the store is away."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from datetime import datetime
from typing import Any, Final

from marline.api.errors import InvalidResource
from marline.api.resource import Ref
from marline.store.interface import NotFound, ResourceStore, StoreError, Unavailable

_RETRY_SECONDS: Final = 1.0

_log = logging.getLogger(__name__)


def rfc3339(now: datetime) -> str:
    """A time as the API writes it."""
    return now.strftime("%Y-%m-%dT%H:%M:%SZ")


async def write_status(store: ResourceStore, ref: Ref, status: dict[str, Any]) -> None:
    """Merge into the status, unless the resource is gone or the server will not have it. Raises
    `Unavailable`."""
    try:
        await store.patch_status(ref, status)
    except NotFound:
        return
    except Unavailable:
        raise
    except (StoreError, InvalidResource) as error:
        _log.error("the status of %s cannot be written: %s", ref, error)


async def keep_trying(attempt: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Until it no longer raises `Unavailable`."""
    while True:
        try:
            return await attempt()
        except Unavailable as error:
            _log.info("the store is away: %s", error)
            await asyncio.sleep(_RETRY_SECONDS)
