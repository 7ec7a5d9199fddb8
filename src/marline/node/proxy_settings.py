"""How an Envoy is to be started: asked of the mesh each time, since it cannot be told afterwards."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Final

from marline.compile.patch_bootstrap import bootstrap_patches
from marline.mesh.model import MeshSettings, Proxy
from marline.mesh.patches import ENVOY_FILTER
from marline.mesh.proxy_config import PROXY_CONFIG, ProxySettings, proxy_settings
from marline.store.interface import ResourceStore, StoreError

_PATIENCE_SECONDS: Final = 5.0
"""A control plane that is away must not keep proxies from starting again."""

_ROOT: Final = MeshSettings().root_namespace

_log = logging.getLogger(__name__)

Configured = Callable[[], Awaitable[ProxySettings]]


@dataclass(slots=True)
class FromStore:
    """What the mesh's ProxyConfigs and EnvoyFilters say of a proxy, or said when they could last be read."""

    store: ResourceStore
    proxy: Proxy
    root_namespace: str = _ROOT
    known: ProxySettings = field(default_factory=ProxySettings)

    async def __call__(self) -> ProxySettings:
        workload = self.proxy.workloads[0]
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                configs = await self.store.list(*PROXY_CONFIG)
                filters = await self.store.list(*ENVOY_FILTER)
        except (StoreError, TimeoutError) as error:
            _log.warning(
                "%s starts as before: ProxyConfigs and EnvoyFilters cannot be read: %s", workload.name, error
            )
            return self.known
        settings = proxy_settings(
            configs.items, self.root_namespace, workload.namespace, dict(workload.labels)
        )
        patches = bootstrap_patches(filters.items, self.root_namespace, self.proxy)
        self.known = replace(settings, patches=patches)
        return self.known


async def unconfigured() -> ProxySettings:
    """What holds without any ProxyConfig."""
    return ProxySettings()
