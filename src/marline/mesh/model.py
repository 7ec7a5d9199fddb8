"""The mesh's nouns as frozen values: what `compile` reads, whatever resource they came from."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from marline.api.mesh_config.model import Normalization
from marline.api.mesh_config.providers import ExtensionProvider
from marline.api.networking.virtual_service import HTTPRetry
from marline.api.resource import Ref, Resource
from marline.mesh.mesh_tls import ORDINARY, MeshTls
from marline.mesh.selection import Selection
from marline.mesh.token_keys import FetchedKeys

Labels = tuple[tuple[str, str], ...]
"""Sorted pairs: labels as a hashable value."""


@dataclass(frozen=True, slots=True)
class MeshSettings:
    """What holds for the whole mesh: what a control plane was started with, and then what its MeshConfig
    says (`mesh_settings`)."""

    trust_domain: str = "cluster.local"
    cluster_domain: str = "cluster.local"
    federated_trust_domains: tuple[str, ...] = ()
    """Others whose workloads may call, by their own identities."""
    root_namespace: str = "istio-system"
    """Where mesh-wide policies live, named as in Istio so that its files apply unchanged."""
    module_directory: str = "../../wasm"
    """Where WebAssembly modules are, as an Envoy finds it from the directory in which it runs."""
    allow_any_outbound: bool = True
    """Istio's `outboundTrafficPolicy: ALLOW_ANY`: unknown destinations pass through unencrypted."""
    trust_domain_aliases: tuple[str, ...] = ()
    """Other names of the trust domain: policies mean them, too."""
    path_normalization: Normalization = "DEFAULT"
    """What is done to the paths of requests before anything looks at them."""
    trusted_proxies: int = 0
    """So many proxies before gateways tell truly who their clients are."""
    proxy_protocol: bool = False
    """Connections to gateways begin with a header of the PROXY protocol."""
    connect_seconds: float = 10.0
    """The time for a connection to be made, unless a DestinationRule says another."""
    dns_refresh_seconds: float = 60.0
    default_retries: HTTPRetry | None = None
    """The retries of routes that say nothing of them; None: Istio's."""
    extension_providers: tuple[ExtensionProvider, ...] = ()
    mesh_tls: MeshTls = ORDINARY
    """What proxies agree on when they connect to each other."""


class Protocol(Enum):
    """A service port's protocol, selected by `appProtocol` or port name as in Istio
    (istio.io, "Protocol Selection")."""

    HTTP = "HTTP"
    HTTP2 = "HTTP2"
    GRPC = "GRPC"
    HTTPS = "HTTPS"
    TLS = "TLS"
    TCP = "TCP"
    UDP = "UDP"
    AUTO = "AUTO"
    """Undeclared: HTTP/1.1 and HTTP/2 are detected, everything else is TCP."""

    @property
    def is_http(self) -> bool:
        return self in (Protocol.HTTP, Protocol.HTTP2, Protocol.GRPC)

    @property
    def may_be_http(self) -> bool:
        return self.is_http or self is Protocol.AUTO


class Resolution(Enum):
    """How a client finds a service's endpoints (ServiceEntry.Resolution)."""

    EDS = "EDS"
    """From the control plane: `Service`s, and `ServiceEntry` with `resolution: STATIC`."""
    DNS = "DNS"
    DNS_ROUND_ROBIN = "DNS_ROUND_ROBIN"
    DYNAMIC_DNS = "DYNAMIC_DNS"
    """Each host of a wildcard is resolved when it is called."""
    NONE = "NONE"
    """The original destination address is used."""


@dataclass(frozen=True, slots=True)
class Port:
    """A port of a service."""

    number: int
    name: str
    protocol: Protocol
    target: int | str = 0
    """The workload's port, by number or name; 0: the same number."""


@dataclass(frozen=True, slots=True)
class Service:
    """A name that can be called."""

    hostname: str
    """FQDN such as `reviews.default.svc.cluster.local`, or a ServiceEntry's host."""
    namespace: str
    name: str
    ports: tuple[Port, ...]
    source: Ref
    addresses: tuple[str, ...] = ()
    """Virtual IPs; empty for a headless service or a ServiceEntry without address."""
    resolution: Resolution = Resolution.EDS
    external: bool = False
    """ServiceEntry `location: MESH_EXTERNAL`: the peers have no SPIFFE identity."""
    export_to: tuple[str, ...] = ("*",)
    selector: tuple[tuple[str, str], ...] = ()
    subject_alt_names: tuple[str, ...] = ()
    headless: bool = False
    traffic_distribution: str = ""
    """How near its endpoints should be to their clients (Kubernetes' `trafficDistribution`)."""
    client_affinity: bool = False
    """All calls of a client go to one endpoint (`sessionAffinity: ClientIP`)."""
    publishes_not_ready: bool = False
    """Endpoints count before they are ready (`publishNotReadyAddresses`)."""
    node_local: bool = False
    """Only endpoints on the client's own node count (`internalTrafficPolicy: Local`)."""

    def port(self, number: int) -> Port | None:
        """The port of this number that takes connections."""
        return self._port(number, datagrams=False)

    def datagram_port(self, number: int) -> Port | None:
        """The port of this number that takes datagrams: a service may have both."""
        return self._port(number, datagrams=True)

    def _port(self, number: int, *, datagrams: bool) -> Port | None:
        return next(
            (
                port
                for port in self.ports
                if port.number == number and (port.protocol is Protocol.UDP) == datagrams
            ),
            None,
        )


@dataclass(frozen=True, slots=True)
class Locality:
    region: str = ""
    zone: str = ""
    sub_zone: str = ""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address of a workload under one service port."""

    service_port: str
    """The name of the service's port that it serves."""
    address: str
    """IP address, host name (DNS resolution) or `unix://` path."""
    port: int
    labels: tuple[tuple[str, str], ...] = ()
    """Sorted; subsets select on them."""
    spiffe_id: str = ""
    """The identity that a client must verify; "" when the peer has none."""
    mtls: bool = False
    """A proxy of the mesh terminates mTLS there (label `security.istio.io/tlsMode: istio`)."""
    locality: Locality = Locality()
    weight: int = 0
    """Relative load-balancing weight; 0: unset."""
    healthy: bool = True
    workload: str = ""
    namespace: str = ""
    network: str = ""


@dataclass(frozen=True, slots=True)
class InboundPort:
    """A port on which a workload serves, as its own sidecar sees it."""

    name: str
    """Service port name, such as `http` or `grpc-api`."""
    listen: int
    """Where peers connect: the endpoint's port. In transparent mode the same as `app_port`."""
    app_address: str
    """Where the application listens: an address, or a path (a Unix socket)."""
    app_port: int
    protocol: Protocol = Protocol.AUTO


@dataclass(frozen=True, slots=True)
class Upstream:
    """Explicit capture: a loopback listener that stands for one service port."""

    host: str
    """As the user declared it; resolved in the workload's namespace."""
    port: int
    listen: int


class Capture(Enum):
    """How a workload's traffic reaches its proxy."""

    TRANSPARENT = "transparent"
    """nftables redirects inside the workload's network namespace (Istio: REDIRECT)."""
    EXPLICIT = "explicit"
    """The application is told loopback addresses (Istio: `interceptionMode: NONE`)."""


@dataclass(frozen=True, slots=True)
class Workload:
    """One running instance behind a proxy."""

    namespace: str
    name: str
    service_account: str = "default"
    labels: tuple[tuple[str, str], ...] = ()
    address: str = ""
    inbound: tuple[InboundPort, ...] = ()
    upstreams: tuple[Upstream, ...] = ()
    http_proxy_port: int = 0
    """Explicit capture: the loopback port of the HTTP proxy listener; 0: none."""
    netns: str = ""
    """Path of the workload's network namespace when the proxy serves it from outside; "": same."""
    locality: Locality = Locality()


class Role(Enum):
    SIDECAR = "sidecar"
    GATEWAY = "gateway"
    NODE = "node"


@dataclass(frozen=True, slots=True)
class GatewayPort:
    """Where a gateway listens for a `servers[].port.number` (a Service's port → targetPort)."""

    number: int
    listen: int


@dataclass(frozen=True, slots=True, order=True)
class PatchId:
    """One of the patches of a resource."""

    source: Ref
    index: int


@dataclass(frozen=True, slots=True)
class BootstrapPatches:
    """What patches did to a proxy's bootstrap when it was started."""

    applied: tuple[PatchId, ...] = ()
    refused: tuple[PatchId, ...] = ()
    """Those with which it would not have started, and was started without."""
    message: str = ""
    """Why not, in Envoy's words."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """One connected Envoy, as it described itself in its node metadata."""

    node_id: str
    role: Role
    capture: Capture
    workloads: tuple[Workload, ...]
    """One for a sidecar or a gateway, many for a node proxy; never empty."""
    bind_address: str = ""
    """Gateway: the address to listen on. Sidecar in explicit mode: the loopback address."""
    gateway_ports: tuple[GatewayPort, ...] = ()
    privileged_ports: bool = False
    """It may bind ports below 1024."""
    outbound_capture_port: int = 15001
    inbound_capture_port: int = 15006
    status_port: int = 0
    system_ca_file: str = "/etc/ssl/certs/ca-certificates.crt"
    """The CA certificates that the proxy's machine trusts, for TLS to servers outside the mesh."""
    mesh_address: str = ""
    """Gateway: where workloads reach it, if that is another address; it listens there, too."""
    bootstrap: BootstrapPatches = BootstrapPatches()


@dataclass(frozen=True, slots=True)
class ChangeSet:
    """The resources added, changed and removed since a snapshot, at one resourceVersion."""

    changed: tuple[Resource[object], ...] = ()
    removed: tuple[Ref, ...] = ()
    resource_version: str = ""
    keys: tuple[FetchedKeys, ...] = ()
    """Key sets of tokens that were fetched for the first time, or differ from those before."""


@dataclass(frozen=True, slots=True)
class PatchImpact:
    """What a change of patches touches: all that the selected proxies have of their own, and these hosts."""

    selection: Selection
    hosts: frozenset[str] = frozenset()
    every_host: bool = False


@dataclass(frozen=True, slots=True)
class Impact:
    """What a change touches; from this follow the affected Envoy resources."""

    hosts: frozenset[str] = frozenset()
    """Services whose clusters, routes or listeners may differ."""
    endpoints: frozenset[str] = frozenset()
    """Services of which only the endpoints differ."""
    ports: frozenset[int] = frozenset()
    """Port numbers whose set of services (or their protocols) differs."""
    addresses: frozenset[tuple[str, int]] = frozenset()
    """Virtual IPs and ports of which the set of services (or what listens there) differs."""
    gateways: bool = False
    """What gateways' listeners are made of differs: a Gateway, a route of connections, a Secret."""
    gateway_hosts: frozenset[str] = frozenset()
    """Hosts (also wildcards) to which gateways may route requests in another way."""
    routes: frozenset[Ref] = frozenset()
    """Routes and BackendTLSPolicies of the Gateway API that differ, or of which something does that decides
    what their status says."""
    servers: frozenset[Ref] = frozenset()
    """Gateways and ListenerSets of the Gateway API that may be told something else: they differ, or one that
    wants the same does, or what they read, or which routes are at their listeners."""
    every_server: bool = False
    """So may all of them, and all routes."""
    credentials: frozenset[str] = frozenset()
    """Names of Secrets that DestinationRules refer to, of which a content or a rule differs."""
    inbound: frozenset[str] = frozenset()
    """Namespaces whose workloads' inbound policy may differ; "*" for all."""
    patches: frozenset[PatchImpact] = frozenset()
    """EnvoyFilters and the like differ."""
    selected: frozenset[Selection] = frozenset()
    """Workloads of which what they receive may be treated otherwise."""
    policies: frozenset[Ref] = frozenset()
    """Policies that may be attached otherwise than before: what their status says may differ."""
    scopes: frozenset[str] = frozenset()
    """Namespaces whose workloads may see something else of the mesh: recompute all of theirs."""
    everything: bool = False
    """The first snapshot, or a change of what all see: recompute all."""


def labels_of(mapping: Mapping[str, str] | Iterable[tuple[str, str]]) -> Labels:
    """Labels as a sorted, hashable value."""
    items = mapping.items() if isinstance(mapping, Mapping) else mapping
    return tuple(sorted(items))
