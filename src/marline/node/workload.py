"""What is to run: one workload or gateway, as an application file or `marline run` describes it.

Plain frozen values that also travel over the agent's control socket, as JSON.
"""

import msgspec

from marline.mesh.model import Protocol
from marline.mesh.protocol import select_protocol


class Frozen(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, rename="camel"):
    """A value of this room that has a JSON form."""


class PortSpec(Frozen, frozen=True):
    """A port that a workload serves."""

    name: str
    """Says the protocol, as in Istio: `http`, `grpc-api`, `tcp`, `udp-dns`."""
    port: int
    """The service's port: what callers name."""
    target_port: int = 0
    """Where the application listens. 0: the same number in transparent mode, a free one in explicit mode,
    told in `PORT` and `PORT_<NAME>`."""
    app_protocol: str = ""

    @property
    def takes_datagrams(self) -> bool:
        """Does no proxy stand in front of it? Gateways send to the application itself."""
        return select_protocol(self.port, self.name, self.app_protocol or None) is Protocol.UDP


class UpstreamSpec(Frozen, frozen=True):
    """A service port that a workload calls."""

    host: str
    port: int
    env: str = ""
    """The prefix of the variables `<env>_URL`, `_HOST` and `_PORT`; "": from the host's first label."""

    @property
    def variable(self) -> str:
        name = self.env or self.host.split(".")[0]
        return "".join(c if c.isalnum() else "_" for c in name).upper()


class HttpCheck(Frozen, frozen=True):
    path: str = "/"
    port: int = 0
    """The service's port, or the application's; 0: the first."""
    headers: dict[str, str] = {}


class TcpCheck(Frozen, frozen=True):
    port: int = 0


class GrpcCheck(Frozen, frozen=True):
    """The gRPC health checking protocol."""

    port: int = 0
    service: str = ""


class ExecCheck(Frozen, frozen=True):
    """Ready when the command ends with 0."""

    command: tuple[str, ...]


class ProbeSpec(Frozen, frozen=True):
    """A probe; times in seconds, meanings and defaults as in Kubernetes (core/v1 `Probe`)."""

    http: HttpCheck | None = None
    tcp: TcpCheck | None = None
    grpc: GrpcCheck | None = None
    exec: ExecCheck | None = None
    initial_delay: float = 0.0
    period: float = 10.0
    timeout: float = 1.0
    success_threshold: int = 1
    failure_threshold: int = 3


class WorkloadSpec(Frozen, frozen=True):
    """One instance of a service: a process and its sidecar."""

    service: str
    command: tuple[str, ...]
    namespace: str = "default"
    name: str = ""
    """Unique in its namespace; "": one is made from service, version and a random suffix."""
    version: str = ""
    service_account: str = "default"
    labels: dict[str, str] = {}
    ports: tuple[PortSpec, ...] = ()
    upstreams: tuple[UpstreamSpec, ...] = ()
    environment: dict[str, str] = {}
    working_directory: str = ""
    user: str = ""
    """The user to run as, by name or number; needs root. "": the one that runs Marline."""
    readiness: ProbeSpec | None = None
    """None: ready once its ports accept connections."""
    weight: int = 0
    locality: str = ""
    restart: bool = True
    """Start the application again when it ends (with back-off)."""
    grace_seconds: float = 10.0
    """Between SIGTERM and SIGKILL."""


class GatewayPortSpec(Frozen, frozen=True):
    port: int
    """What a Gateway's `servers[].port.number` says."""
    listen: int = 0
    """Where Envoy listens; 0: the same."""
    name: str = ""
    """Of the Service's port; it says the protocol."""


class GatewaySpec(Frozen, frozen=True):
    """An Envoy without an application, at the edge of the mesh."""

    name: str
    ports: tuple[GatewayPortSpec, ...] = ()
    """Empty: it listens where its Gateways say."""
    namespace: str = "istio-system"
    bind: str = "127.0.0.1"
    """"": an address of its own."""
    service_account: str = ""
    """"": the gateway's name."""
    labels: dict[str, str] = {}
    """Gateways select on them; `istio: <name>` and `app: <name>` are added."""


class IdentitySpec(Frozen, frozen=True):
    """An identity for processes that Marline does not run."""

    name: str
    selectors: tuple[str, ...]
    """All of which are true of a process that has it (`identity.selectors`)."""
    namespace: str = "default"
    service_account: str = ""
    """"": its name."""


class WorkloadStatus(msgspec.Struct, frozen=True, rename="camel"):
    """A running workload or gateway, or an identity, as `list` shows it and `workload.json` keeps it."""

    id: str
    name: str
    namespace: str
    service: str
    version: str
    kind: str
    """`sidecar`, `gateway` or `identity`."""
    node_id: str
    """Envoy's node id: the key of its sync state in `GET /marline/v1/proxies`."""
    spiffe_id: str
    address: str
    ports: dict[str, int]
    """Where peers connect, by port name (gateway: by number)."""
    admin_socket: str
    log_file: str
    state: str = "starting"
    """`starting`, `waiting for configuration`, `running`, `stopping`, `backing off`, `stopped`."""
    ready: bool = False
    application: str = ""
    """The application file's name; "": started with `marline run`."""
    owner_pid: int = 0
    app_pid: int = 0
    envoy_pid: int = 0
    app_restarts: int = 0
    envoy_restarts: int = 0
    capture: str = "explicit"
    message: str = ""
    """What keeps it from being ready, if anything does."""
