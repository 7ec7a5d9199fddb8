"""ProxyConfig: what counts for one workload's Envoy.

istio.io, "ProxyConfig" reference: a workload's configuration is merged over its namespace's, and that over
the mesh's (in the root namespace); of several for the same the oldest counts.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from marline.api.networking.proxy_config import ProxyConfigSpec
from marline.api.resource import Resource
from marline.mesh.patches import Patch
from marline.mesh.visibility import age

PROXY_CONFIG: Final = ("networking.istio.io", "ProxyConfig")
DEFAULT_CONCURRENCY: Final = 2
"""Istio's."""


@dataclass(frozen=True, slots=True)
class ProxySettings:
    """How an Envoy is started."""

    concurrency: int = DEFAULT_CONCURRENCY
    """Worker threads; 0: one for each core."""
    environment: Mapping[str, str] = field(default_factory=dict)
    patches: tuple[Patch, ...] = ()
    """Of its bootstrap."""


def proxy_settings(
    configs: Iterable[Resource[ProxyConfigSpec]],
    root_namespace: str,
    namespace: str,
    labels: Mapping[str, str],
) -> ProxySettings:
    """What all ProxyConfigs together say of a workload."""
    ordered = sorted(configs, key=age)
    general = [item for item in ordered if not _selector(item)]
    layers = (
        next((item for item in general if item.namespace == root_namespace), None),
        next((item for item in general if item.namespace == namespace), None),
        next((item for item in ordered if item.namespace == namespace and _selects(item, labels)), None),
    )
    concurrency, environment = DEFAULT_CONCURRENCY, dict[str, str]()
    for item in layers:
        if item is not None:
            environment |= item.spec.environment_variables
            concurrency = concurrency if item.spec.concurrency is None else item.spec.concurrency
    return ProxySettings(concurrency, environment)


def _selector(item: Resource[ProxyConfigSpec]) -> Mapping[str, str]:
    return item.spec.selector.match_labels if item.spec.selector is not None else {}


def _selects(item: Resource[ProxyConfigSpec], labels: Mapping[str, str]) -> bool:
    selector = _selector(item)
    return bool(selector) and selector.items() <= labels.items()
