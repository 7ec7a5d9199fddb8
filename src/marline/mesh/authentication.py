"""PeerAuthentication: which inbound connections a workload accepts, port by port.

Istio, "PeerAuthentication" reference: a workload's policy overrides its namespace's, that the mesh's;
of several with the same scope the oldest counts. Unlike Istio the default is STRICT.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from marline.api.resource import Ref, Resource
from marline.api.security.peer_authentication import PeerAuthenticationSpec


class MtlsMode(Enum):
    DISABLE = "DISABLE"
    PERMISSIVE = "PERMISSIVE"
    STRICT = "STRICT"


DEFAULT_MODE: Final = MtlsMode.STRICT


@dataclass(frozen=True, slots=True)
class PeerPolicy:
    """What a workload accepts: on all ports, and on some of them."""

    mode: MtlsMode = DEFAULT_MODE
    ports: tuple[tuple[int, MtlsMode], ...] = ()
    sources: tuple[Ref, ...] = ()

    def for_port(self, *numbers: int) -> MtlsMode:
        """The mode of a port, which may be known by several numbers."""
        for number, mode in self.ports:
            if number in numbers:
                return mode
        return self.mode


def resolve_policy(
    policies: Mapping[str, tuple[Resource[PeerAuthenticationSpec], ...]],
    root_namespace: str,
    namespace: str,
    labels: Mapping[str, str],
) -> PeerPolicy:
    """The policy of a workload; `policies` by namespace, oldest first."""
    own = policies.get(namespace, ())
    selecting = _first(item for item in own if _selects(item, labels))
    general = _first(item for item in own if not _selector(item))
    mesh = _first(item for item in policies.get(root_namespace, ()) if not _selector(item))
    mode = DEFAULT_MODE
    for policy in (mesh, general, selecting):
        mode = _mode(policy, mode)
    ports: tuple[tuple[int, MtlsMode], ...] = ()
    if selecting is not None:
        ports = tuple(
            (number, mode if mtls.mode == "UNSET" else MtlsMode(mtls.mode))
            for number, mtls in sorted(selecting.spec.port_level_mtls.items())
        )
    return PeerPolicy(mode, ports, tuple(item.ref for item in (selecting, general, mesh) if item is not None))


def _first(
    items: Iterable[Resource[PeerAuthenticationSpec]],
) -> Resource[PeerAuthenticationSpec] | None:
    return next(iter(items), None)


def _selector(item: Resource[PeerAuthenticationSpec]) -> Mapping[str, str]:
    return item.spec.selector.match_labels if item.spec.selector is not None else {}


def _selects(item: Resource[PeerAuthenticationSpec], labels: Mapping[str, str]) -> bool:
    selector = _selector(item)
    return bool(selector) and all(labels.get(key) == value for key, value in selector.items())


def _mode(policy: Resource[PeerAuthenticationSpec] | None, inherited: MtlsMode) -> MtlsMode:
    if policy is None or policy.spec.mtls is None or policy.spec.mtls.mode == "UNSET":
        return inherited
    return MtlsMode(policy.spec.mtls.mode)
