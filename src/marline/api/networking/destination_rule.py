"""DestinationRule: what happens to traffic after routing (istio.io, "Destination Rule" reference)."""

from typing import Annotated, Final, Literal

from msgspec import Meta

from marline.api.model import Model, Selector
from marline.api.networking.virtual_service import PortSelector
from marline.api.refusals import Refusals
from marline.api.scalars import Duration

Count = Annotated[int, Meta(ge=0, le=2**31 - 1)]
UnsignedCount = Annotated[int, Meta(ge=0, le=2**32 - 1)]
WholePercent = Annotated[int, Meta(ge=0, le=100)]


class HTTPCookieAttribute(Model, frozen=True):
    name: str
    value: str = ""


class HTTPCookie(Model, frozen=True):
    name: str
    path: str = ""
    ttl: Duration | None = None
    attributes: tuple[HTTPCookieAttribute, ...] = ()


class RingHash(Model, frozen=True):
    minimum_ring_size: Annotated[int, Meta(ge=0, le=8_388_608)] = 0


class Maglev(Model, frozen=True):
    table_size: Annotated[int, Meta(ge=0, le=5_000_011)] = 0


class ConsistentHash(Model, frozen=True):
    http_header_name: str | None = None
    http_cookie: HTTPCookie | None = None
    use_source_ip: bool | None = None
    http_query_parameter_name: str | None = None
    ring_hash: RingHash | None = None
    maglev: Maglev | None = None
    minimum_ring_size: Annotated[int, Meta(ge=0, le=8_388_608)] = 0


class Distribute(Model, frozen=True):
    from_: str = ""
    to: dict[str, UnsignedCount] = {}


class Failover(Model, frozen=True):
    from_: str = ""
    to: str = ""


class LocalityLoadBalancerSetting(Model, frozen=True):
    distribute: tuple[Distribute, ...] = ()
    failover: tuple[Failover, ...] = ()
    failover_priority: tuple[str, ...] = ()
    enabled: bool | None = None


class Warmup(Model, frozen=True):
    duration: Duration
    minimum_percent: Annotated[float, Meta(ge=0, le=100)] | None = None
    aggression: Annotated[float, Meta(ge=1)] | None = None


class LoadBalancerSettings(Model, frozen=True):
    simple: (
        Literal["UNSPECIFIED", "LEAST_CONN", "RANDOM", "PASSTHROUGH", "ROUND_ROBIN", "LEAST_REQUEST"] | None
    ) = None
    consistent_hash: ConsistentHash | None = None
    locality_lb_setting: LocalityLoadBalancerSetting | None = None
    warmup_duration_secs: Duration | None = None
    warmup: Warmup | None = None


class TcpKeepalive(Model, frozen=True):
    probes: UnsignedCount = 0
    time: Duration | None = None
    interval: Duration | None = None


class TCPSettings(Model, frozen=True):
    max_connections: Count = 0
    connect_timeout: Duration | None = None
    tcp_keepalive: TcpKeepalive | None = None
    max_connection_duration: Duration | None = None
    idle_timeout: Duration | None = None


class HTTPSettings(Model, frozen=True):
    http1_max_pending_requests: Count = 0
    http2_max_requests: Count = 0
    max_requests_per_connection: Count = 0
    max_retries: Count = 0
    idle_timeout: Duration | None = None
    h2_upgrade_policy: Literal["DEFAULT", "DO_NOT_UPGRADE", "UPGRADE"] = "DEFAULT"
    use_client_protocol: bool = False
    max_concurrent_streams: Count = 0


class ConnectionPoolSettings(Model, frozen=True):
    tcp: TCPSettings | None = None
    http: HTTPSettings | None = None


class OutlierDetection(Model, frozen=True):
    consecutive_errors: Count = 0
    split_external_local_origin_errors: bool = False
    consecutive_local_origin_failures: UnsignedCount | None = None
    consecutive_gateway_errors: UnsignedCount | None = None
    consecutive5xx_errors: UnsignedCount | None = None
    interval: Duration | None = None
    base_ejection_time: Duration | None = None
    max_ejection_percent: WholePercent = 0
    min_health_percent: WholePercent = 0


class ClientTLSSettings(Model, frozen=True):
    mode: Literal["DISABLE", "SIMPLE", "MUTUAL", "ISTIO_MUTUAL"] = "DISABLE"
    client_certificate: str = ""
    private_key: str = ""
    ca_certificates: str = ""
    credential_name: str = ""
    subject_alt_names: tuple[str, ...] = ()
    sni: str = ""
    insecure_skip_verify: bool | None = None
    ca_crl: str = ""


class TunnelSettings(Model, frozen=True):
    target_host: str
    target_port: Annotated[int, Meta(ge=1, le=65535)]
    protocol: str = ""


class ProxyProtocol(Model, frozen=True):
    version: Literal["V1", "V2"] = "V1"


class RetryBudget(Model, frozen=True):
    percent: Annotated[float, Meta(ge=0, le=100)] | None = None
    min_retry_concurrency: UnsignedCount | None = None
    budget_interval: Duration | None = None


class PortTrafficPolicy(Model, frozen=True):
    port: PortSelector | None = None
    load_balancer: LoadBalancerSettings | None = None
    connection_pool: ConnectionPoolSettings | None = None
    outlier_detection: OutlierDetection | None = None
    tls: ClientTLSSettings | None = None


class TrafficPolicy(Model, frozen=True):
    load_balancer: LoadBalancerSettings | None = None
    connection_pool: ConnectionPoolSettings | None = None
    outlier_detection: OutlierDetection | None = None
    tls: ClientTLSSettings | None = None
    port_level_settings: tuple[PortTrafficPolicy, ...] = ()
    tunnel: TunnelSettings | None = None
    proxy_protocol: ProxyProtocol | None = None
    retry_budget: RetryBudget | None = None


class Subset(Model, frozen=True):
    name: str
    labels: dict[str, str] = {}
    traffic_policy: TrafficPolicy | None = None


class DestinationRuleSpec(Model, frozen=True):
    host: str
    traffic_policy: TrafficPolicy | None = None
    subsets: tuple[Subset, ...] = ()
    export_to: tuple[str, ...] = ()
    workload_selector: Selector | None = None


_SETTINGS_REFUSED: Final[Refusals] = {
    "outlierDetection.consecutiveErrors": "deprecated; use consecutive5xxErrors or consecutiveGatewayErrors",
}
_POLICY_REFUSED: Final[Refusals] = {
    **_SETTINGS_REFUSED,
    "retryBudget.budgetInterval": "Envoy counts the requests that are active; leave it out",
}

REFUSED: Final[Refusals] = {
    **{
        f"{place}.{path}": reason
        for place in ("trafficPolicy", "subsets[].trafficPolicy")
        for path, reason in _POLICY_REFUSED.items()
    },
    **{
        f"{place}.portLevelSettings[].{path}": reason
        for place in ("trafficPolicy", "subsets[].trafficPolicy")
        for path, reason in _SETTINGS_REFUSED.items()
    },
}


def credentials_of(spec: DestinationRuleSpec) -> frozenset[str]:
    """The names of the Secrets that a rule refers to."""
    policies = (spec.traffic_policy, *(subset.traffic_policy for subset in spec.subsets))
    given = [policy for policy in policies if policy is not None]
    settings = [policy.tls for policy in given]
    settings += [item.tls for policy in given for item in policy.port_level_settings]
    return frozenset(item.credential_name for item in settings if item is not None and item.credential_name)
