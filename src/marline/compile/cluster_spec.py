"""What an outbound cluster is made of: the value that determines it."""

from dataclasses import dataclass
from enum import Enum

from marline.api.policy.resilience import RetryBudget
from marline.compile.backend_tls import BackendTls
from marline.compile.locality import LocalityPolicy
from marline.mesh.destinations import DestinationPolicy
from marline.mesh.mesh_tls import MeshPeers
from marline.mesh.model import Endpoint, Port


class Discovery(Enum):
    """Where a cluster's endpoints come from."""

    EDS = "EDS"
    STRICT_DNS = "STRICT_DNS"
    LOGICAL_DNS = "LOGICAL_DNS"
    ORIGINAL = "ORIGINAL_DST"
    """The address that the application connected to."""
    FORWARD = "FORWARD"
    """The host that the request names."""


@dataclass(frozen=True, slots=True)
class ClusterSpec:
    name: str
    hostname: str
    port: Port
    follows_client: bool
    """The port declares no protocol, and requests go on as they came."""
    subset: str
    rule: DestinationPolicy | None
    by_client: bool
    """The service wants all calls of a client at one endpoint."""
    discovery: Discovery
    expected: tuple[str, ...]
    """The SPIFFE IDs (or other names) that peers may have."""
    listed: tuple[Endpoint, ...]
    """Endpoints that DNS resolves."""
    prefers: LocalityPolicy
    """How its client orders those."""
    all_mtls: bool
    """All endpoints take mTLS: what counts where they are not listed one by one."""
    credential: str
    """The SDS name of the Secret that `credentialName` means to its client; "": none."""
    backend_tls: BackendTls | None
    """What a BackendTLSPolicy says, which counts before the rule's TLS settings."""
    system_ca_file: str
    budget: RetryBudget
    """Of retries, unless the rule has something to say of them."""
    connect_seconds: float
    """The time for a connection, unless the rule says another."""
    dns_refresh_seconds: float
    peers: MeshPeers
    """What holds for proxies that are called."""
    external: bool
    """Outside the mesh: nobody there has a SPIFFE identity."""
