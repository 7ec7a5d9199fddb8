"""What proxies agree on when they connect to each other: versions and key exchanges of TLS."""

from dataclasses import dataclass
from enum import Enum
from typing import Final

from marline.api.mesh_config.model import MeshConfig


class Exchange(Enum):
    """Which key exchanges are offered and accepted."""

    HYBRID = "hybrid"
    """The post-quantum one first, then those that every proxy has."""
    POST_QUANTUM = "pqc"
    """The post-quantum one alone."""
    FIPS = "fips-140-2"
    """Those of NIST, with AES-GCM alone."""


@dataclass(frozen=True, slots=True)
class MeshTls:
    """TLS between proxies; equal for all of a mesh."""

    exchange: Exchange = Exchange.HYBRID
    allows_tls1_2: bool = False


ORDINARY: Final = MeshTls()
"""What is agreed on unless a MeshConfig says otherwise."""


@dataclass(frozen=True, slots=True)
class MeshPeers:
    """What holds for every mTLS connection of the mesh, at both of its ends."""

    agreed: MeshTls = ORDINARY
    trust_domains: tuple[str, ...] = ("cluster.local",)
    """Those whose identities may call: the mesh's own, its aliases, and those it is federated with."""
    revoked: frozenset[str] = frozenset()
    """SPIFFE IDs that nobody accepts."""


def mesh_tls(config: MeshConfig) -> MeshTls:
    """What a MeshConfig says of it (istio.io, "Global Mesh Options", `meshMTLS`). TLS 1.3 is the least, but
    for FIPS, which was written for TLS 1.2."""
    exchange = Exchange(config.compliance_policy) if config.compliance_policy else Exchange.HYBRID
    least = config.mesh_mtls.min_protocol_version if config.mesh_mtls is not None else "TLS_AUTO"
    if least == "TLS_AUTO":
        return MeshTls(exchange, allows_tls1_2=exchange is Exchange.FIPS)
    return MeshTls(exchange, allows_tls1_2=least == "TLSV1_2" and exchange is not Exchange.POST_QUANTUM)
