"""How an Envoy is to be started: asked of the mesh each time, since it cannot be told afterwards."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from marline.mesh.model import MeshSettings, Workload
from marline.mesh.proxy_config import PROXY_CONFIG, ProxySettings, proxy_settings
from marline.store.interface import ResourceStore, StoreError

_PATIENCE_SECONDS: Final = 5.0
"""A control plane that is away must not keep proxies from starting again."""

_ROOT: Final = MeshSettings().root_namespace

_log = logging.getLogger(__name__)

Configured = Callable[[], Awaitable[ProxySettings]]


@dataclass(slots=True)
class FromStore:
    """What the mesh's ProxyConfigs say of a workload, or said when they could last be read."""

    store: ResourceStore
    workload: Workload
    root_namespace: str = _ROOT
    known: ProxySettings = field(default_factory=ProxySettings)

    async def __call__(self) -> ProxySettings:
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                listing = await self.store.list(*PROXY_CONFIG)
        except (StoreError, TimeoutError) as error:
            _log.warning("%s starts as before: ProxyConfigs cannot be read: %s", self.workload.name, error)
            return self.known
        labels = dict(self.workload.labels)
        self.known = proxy_settings(listing.items, self.root_namespace, self.workload.namespace, labels)
        return self.known


async def unconfigured() -> ProxySettings:
    """What holds without any ProxyConfig."""
    return ProxySettings()
