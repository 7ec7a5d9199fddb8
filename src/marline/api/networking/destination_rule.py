"""DestinationRule: what happens to traffic after routing (istio.io, "Destination Rule" reference)."""

from typing import Annotated, Final, Literal

from msgspec import Meta

from marline.api import rules
from marline.api.errors import Fault
from marline.api.faults import Faults
from marline.api.model import Model, NetworkingSelector
from marline.api.networking.virtual_service import PortSelector
from marline.api.refusals import Refusals
from marline.api.resource import Resource
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
    min_retry_concurrency: UnsignedCount = 0
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
    workload_selector: NetworkingSelector | None = None


_SETTINGS_REFUSED: Final[Refusals] = {
    "loadBalancer.localityLbSetting": "locality-aware load balancing",
    "loadBalancer.warmupDurationSecs": "warm-up of new endpoints",
    "loadBalancer.warmup": "warm-up of new endpoints",
    "outlierDetection.consecutiveErrors": "deprecated; use consecutive5xxErrors or consecutiveGatewayErrors",
    "tls.credentialName": "client credentials from Secrets; name files with clientCertificate and privateKey",
    "tls.caCrl": "certificate revocation lists",
}
_POLICY_REFUSED: Final[Refusals] = {
    **_SETTINGS_REFUSED,
    "tunnel": "tunnelling through another proxy",
    "proxyProtocol": "the PROXY protocol",
    "retryBudget": "retry budgets",
}

REFUSED: Final[Refusals] = {
    "workloadSelector": "DestinationRules for selected client workloads",
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


def validate(resource: Resource[DestinationRuleSpec], faults: Faults) -> None:
    """Istio's rules for a DestinationRule, and what Envoy would refuse."""
    spec = resource.spec
    if faults.required(spec.host, "host"):
        rules.host(spec.host, faults.at("host"))
    if spec.traffic_policy:
        _policy(spec.traffic_policy, faults.at("trafficPolicy"))
    rules.named_once([subset.name for subset in spec.subsets], faults.at("subsets"), "subset")
    for index, subset in enumerate(spec.subsets):
        where = faults.at("subsets").item(index)
        if where.required(subset.name, "name"):
            rules.dns_label(subset.name, where.at("name"))
        rules.labels(subset.labels, where.at("labels"))
        if subset.traffic_policy:
            _policy(subset.traffic_policy, where.at("trafficPolicy"))
    rules.export_to(spec.export_to, faults.at("exportTo"))


def _policy(policy: TrafficPolicy, faults: Faults) -> None:
    _settings(policy, faults)
    numbers = [str(item.port.number) if item.port else "" for item in policy.port_level_settings]
    rules.named_once(numbers, faults.at("portLevelSettings"), "port")
    for index, item in enumerate(policy.port_level_settings):
        where = faults.at("portLevelSettings").item(index)
        if item.port is None or item.port.number == 0:
            where.at("port").at("number").add("is required", Fault.REQUIRED)
        _settings(item, where)


def _settings(policy: TrafficPolicy | PortTrafficPolicy, faults: Faults) -> None:
    if policy.load_balancer:
        _load_balancer(policy.load_balancer, faults.at("loadBalancer"))
    if policy.connection_pool:
        _pool(policy.connection_pool, faults.at("connectionPool"))
    if policy.outlier_detection:
        where = faults.at("outlierDetection")
        rules.duration(policy.outlier_detection.interval, where.at("interval"))
        rules.duration(policy.outlier_detection.base_ejection_time, where.at("baseEjectionTime"))
        local = policy.outlier_detection.consecutive_local_origin_failures
        if local is not None and not policy.outlier_detection.split_external_local_origin_errors:
            where.at("consecutiveLocalOriginFailures").add(
                "has no effect without splitExternalLocalOriginErrors: true"
            )
    if policy.tls:
        _tls(policy.tls, faults.at("tls"))


def _load_balancer(settings: LoadBalancerSettings, faults: Faults) -> None:
    if settings.simple is not None and settings.consistent_hash is not None:
        faults.add("expected either simple or consistentHash, found both")
    hashing = settings.consistent_hash
    if hashing is None:
        return
    where = faults.at("consistentHash")
    keys = (
        hashing.http_header_name,
        hashing.http_cookie,
        hashing.use_source_ip,
        hashing.http_query_parameter_name,
    )
    if sum(bool(key) for key in keys) != 1:
        where.add("expected one of httpHeaderName, httpCookie, useSourceIp or httpQueryParameterName")
    if hashing.http_header_name:
        rules.header_name(hashing.http_header_name, where.at("httpHeaderName"))
    if hashing.http_cookie:
        where.at("httpCookie").required(hashing.http_cookie.name, "name")
        rules.header_value(hashing.http_cookie.name, where.at("httpCookie").at("name"))
        rules.header_value(hashing.http_cookie.path, where.at("httpCookie").at("path"))
        rules.duration(hashing.http_cookie.ttl, where.at("httpCookie").at("ttl"), least=0)
        for index, attribute in enumerate(hashing.http_cookie.attributes):
            at = where.at("httpCookie").at("attributes").item(index)
            rules.header_name(attribute.name, at.at("name"))
            rules.header_value(attribute.value, at.at("value"))
    if hashing.ring_hash and hashing.maglev:
        where.add("expected either ringHash or maglev, found both")
    if hashing.maglev and hashing.minimum_ring_size:
        where.at("minimumRingSize").add("has no effect with maglev")
    if hashing.maglev and hashing.maglev.table_size and not _prime(hashing.maglev.table_size):
        where.at("maglev").at("tableSize").add(f"{hashing.maglev.table_size} is not a prime number")


def _prime(number: int) -> bool:
    return number > 1 and all(number % factor for factor in range(2, int(number**0.5) + 1))


def _pool(pool: ConnectionPoolSettings, faults: Faults) -> None:
    if pool.tcp:
        where = faults.at("tcp")
        rules.duration(pool.tcp.connect_timeout, where.at("connectTimeout"))
        rules.duration(pool.tcp.max_connection_duration, where.at("maxConnectionDuration"))
        rules.duration(pool.tcp.idle_timeout, where.at("idleTimeout"), least=0)
        if pool.tcp.tcp_keepalive:
            for name in ("time", "interval"):
                value = getattr(pool.tcp.tcp_keepalive, name)
                rules.duration(value, where.at("tcpKeepalive").at(name), least=1)
    if pool.http:
        where = faults.at("http")
        rules.duration(pool.http.idle_timeout, where.at("idleTimeout"), least=0)
        if pool.http.h2_upgrade_policy == "UPGRADE" and pool.http.use_client_protocol:
            where.at("useClientProtocol").add("cannot be combined with h2UpgradePolicy: UPGRADE")


def _tls(settings: ClientTLSSettings, faults: Faults) -> None:
    for name, value in _without_effect(settings).items():
        if value:
            faults.at(name).add(f"has no effect with mode {settings.mode}")
    if settings.mode == "MUTUAL" and not settings.credential_name:
        faults.required(settings.client_certificate, "clientCertificate")
        faults.required(settings.private_key, "privateKey")
    if settings.insecure_skip_verify and (settings.ca_certificates or settings.subject_alt_names):
        faults.at("insecureSkipVerify").add("cannot be combined with caCertificates or subjectAltNames")
    if settings.sni:
        rules.host(settings.sni, faults.at("sni"), wildcard=False, address=False)


def _without_effect(settings: ClientTLSSettings) -> dict[str, object]:
    """What a mode makes no use of (istio.io, `ClientTLSSettings`)."""
    own: dict[str, object] = {
        "clientCertificate": settings.client_certificate,
        "privateKey": settings.private_key,
    }
    peer: dict[str, object] = {
        "caCertificates": settings.ca_certificates,
        "credentialName": settings.credential_name,
        "insecureSkipVerify": settings.insecure_skip_verify,
    }
    if settings.mode == "MUTUAL":
        return {}
    if settings.mode == "SIMPLE":
        return own
    if settings.mode == "ISTIO_MUTUAL":
        return {**own, **peer}
    return {**own, **peer, "subjectAltNames": settings.subject_alt_names, "sni": settings.sni}
