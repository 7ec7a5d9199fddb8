"""The parts of a proxy's view that are compiled together (`catalog`)."""

from dataclasses import dataclass

from marline.mesh.model import Upstream


@dataclass(frozen=True, slots=True)
class HostUnit:
    """The clusters and virtual hosts of one host."""

    hostname: str


@dataclass(frozen=True, slots=True)
class EndpointsUnit:
    """The endpoints of one host's clusters."""

    hostname: str


@dataclass(frozen=True, slots=True)
class PortUnit:
    """The listener of a port for all addresses, and its route table."""

    port: int


@dataclass(frozen=True, slots=True)
class AddressUnit:
    """The listener of one virtual IP and port."""

    address: str
    port: int


@dataclass(frozen=True, slots=True)
class OutboundUnit:
    """Where everything goes first, and what is unknown goes last."""


@dataclass(frozen=True, slots=True)
class InboundUnit:
    """What one workload of the proxy (by its index) receives."""

    workload: int


@dataclass(frozen=True, slots=True)
class UpstreamUnit:
    """Explicit capture: the listener of one declared upstream."""

    upstream: Upstream


@dataclass(frozen=True, slots=True)
class HttpProxyUnit:
    """Explicit capture: the application's HTTP proxy."""


@dataclass(frozen=True, slots=True)
class GatewayUnit:
    """All that a gateway listens to."""


@dataclass(frozen=True, slots=True)
class GatewayHostUnit:
    """What a gateway routes for one host (or wildcard)."""

    host: str


@dataclass(frozen=True, slots=True)
class CredentialUnit:
    """The Secrets of a name that DestinationRules refer to."""

    name: str


@dataclass(frozen=True, slots=True)
class AddedUnit:
    """What EnvoyFilters add."""


@dataclass(frozen=True, slots=True)
class EgressUnit:
    """The egress listeners of a Sidecar that are at places of their own."""


_OutboundUnit = EgressUnit | PortUnit | AddressUnit | OutboundUnit | UpstreamUnit | HttpProxyUnit
OwnUnit = CredentialUnit | _OutboundUnit | InboundUnit | GatewayUnit | GatewayHostUnit | AddedUnit
Unit = HostUnit | EndpointsUnit | OwnUnit
