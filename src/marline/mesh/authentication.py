"""PeerAuthentication: which inbound connections a workload accepts, port by port.

Istio, "PeerAuthentication" reference: a workload's policy overrides its namespace's, that the mesh's;
of several with the same scope the oldest counts. Unlike Istio the default is STRICT.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from marline.api.resource import Ref, Resource
from marline.api.security.peer_authentication import MutualTLS, PeerAuthenticationSpec
from marline.mesh.model import Port


class MtlsMode(Enum):
    DISABLE = "DISABLE"
    PERMISSIVE = "PERMISSIVE"
    STRICT = "STRICT"


DEFAULT_MODE: Final = MtlsMode.STRICT


@dataclass(frozen=True, slots=True)
class Decision:
    """A mode, and what decides it."""

    mode: MtlsMode = DEFAULT_MODE
    source: Ref | None = None
    """None: no policy says anything; the default counts."""
    field: str = ""


@dataclass(frozen=True, slots=True)
class PeerPolicy:
    """What a workload accepts: on all ports, and on some of them."""

    general: Decision = Decision()
    decided: tuple[tuple[int, Decision], ...] = ()
    sources: tuple[Ref, ...] = ()

    @property
    def mode(self) -> MtlsMode:
        return self.general.mode

    @property
    def ports(self) -> tuple[tuple[int, MtlsMode], ...]:
        return tuple((number, decision.mode) for number, decision in self.decided)

    def decision(self, *numbers: int) -> Decision:
        """What counts for a port, which may be known by several numbers."""
        found = (decision for number, decision in self.decided if number in numbers)
        return next(found, self.general)

    def for_port(self, *numbers: int) -> MtlsMode:
        """The mode of a port, which may be known by several numbers."""
        return self.decision(*numbers).mode


def numbers_of(port: Port | None) -> tuple[int, ...]:
    """The numbers by which a policy may mean a service's port: Istio means the workload's."""
    if port is None:
        return ()
    return (port.number, port.target) if isinstance(port.target, int) and port.target else (port.number,)


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
    decided = Decision()
    for policy in (mesh, general, selecting):
        if policy is not None:
            decided = _decide(policy, "spec.mtls.mode", policy.spec.mtls, decided)
    ports: tuple[tuple[int, Decision], ...] = ()
    if selecting is not None:
        ports = tuple(
            (number, _decide(selecting, f"spec.portLevelMtls.{number}.mode", mtls, decided))
            for number, mtls in sorted(selecting.spec.port_level_mtls.items())
        )
    found = dict.fromkeys(item.ref for item in (selecting, general, mesh) if item is not None)
    return PeerPolicy(decided, ports, tuple(found))


def _decide(
    policy: Resource[PeerAuthenticationSpec], field: str, mtls: MutualTLS | None, inherited: Decision
) -> Decision:
    if mtls is None or mtls.mode == "UNSET":
        return inherited
    return Decision(MtlsMode(mtls.mode), policy.ref, field)


def _first(
    items: Iterable[Resource[PeerAuthenticationSpec]],
) -> Resource[PeerAuthenticationSpec] | None:
    return next(iter(items), None)


def _selector(item: Resource[PeerAuthenticationSpec]) -> Mapping[str, str]:
    return item.spec.selector.match_labels if item.spec.selector is not None else {}


def _selects(item: Resource[PeerAuthenticationSpec], labels: Mapping[str, str]) -> bool:
    selector = _selector(item)
    return bool(selector) and all(labels.get(key) == value for key, value in selector.items())
