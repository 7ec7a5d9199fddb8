"""What a DestinationRule must fulfil: Istio's rules (istio.io, "Destination Rule" reference; its validation),
and what Envoy would refuse."""

from collections.abc import Mapping
from typing import Final

from marline.api import rules
from marline.api.errors import Fault
from marline.api.faults import Faults
from marline.api.networking.destination_rule import (
    ClientTLSSettings,
    ConnectionPoolSettings,
    ConsistentHash,
    DestinationRuleSpec,
    LoadBalancerSettings,
    PortTrafficPolicy,
    TrafficPolicy,
    TunnelSettings,
)
from marline.api.networking.locality_rules import locality
from marline.api.resource import Resource


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
    if spec.workload_selector is not None:
        rules.labels(spec.workload_selector.match_labels, faults.at("workloadSelector").at("matchLabels"))


def _policy(policy: TrafficPolicy, faults: Faults) -> None:
    _settings(policy, faults)
    if policy.tunnel is not None:
        _tunnel(policy.tunnel, faults.at("tunnel"))
        if policy.proxy_protocol is not None:
            faults.at("proxyProtocol").add("cannot be combined with tunnel")
    numbers = [str(item.port.number) if item.port else "" for item in policy.port_level_settings]
    rules.named_once(numbers, faults.at("portLevelSettings"), "port")
    for index, item in enumerate(policy.port_level_settings):
        where = faults.at("portLevelSettings").item(index)
        if item.port is None or item.port.number == 0:
            where.at("port").at("number").add("is required", Fault.REQUIRED)
        _settings(item, where)


def _tunnel(settings: TunnelSettings, faults: Faults) -> None:
    if faults.required(settings.target_host, "targetHost"):
        rules.host(settings.target_host, faults.at("targetHost"), wildcard=False)
    if settings.protocol not in ("", "CONNECT", "POST"):
        faults.at("protocol").add(f"{settings.protocol!r} is neither CONNECT nor POST")


def _settings(policy: TrafficPolicy | PortTrafficPolicy, faults: Faults) -> None:
    if policy.load_balancer:
        _load_balancer(policy.load_balancer, faults.at("loadBalancer"))
    if policy.connection_pool:
        validate_pool(policy.connection_pool, faults.at("connectionPool"))
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
    if settings.consistent_hash is not None:
        _consistent_hash(settings.consistent_hash, faults.at("consistentHash"))
    _warmup(settings, faults)
    if settings.locality_lb_setting is not None:
        locality(settings.locality_lb_setting, faults.at("localityLbSetting"))


def _warmup(settings: LoadBalancerSettings, faults: Faults) -> None:
    given = {"warmup": settings.warmup, "warmupDurationSecs": settings.warmup_duration_secs}
    names = [name for name, value in given.items() if value is not None]
    if len(names) > 1:
        faults.add("expected either warmup or warmupDurationSecs, found both")
    warms = settings.consistent_hash is None and settings.simple not in ("RANDOM", "PASSTHROUGH")
    for name in names if not warms else ():
        faults.at(name).add("has no effect but with simple: ROUND_ROBIN or LEAST_REQUEST")
    rules.duration(settings.warmup_duration_secs, faults.at("warmupDurationSecs"))
    if settings.warmup is not None:
        rules.duration(settings.warmup.duration, faults.at("warmup").at("duration"))


def _consistent_hash(hashing: ConsistentHash, where: Faults) -> None:
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


def validate_pool(pool: ConnectionPoolSettings, faults: Faults) -> None:
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
    given = _given(settings)
    for name in _WITHOUT_EFFECT[settings.mode]:
        if given[name]:
            faults.at(name).add(f"has no effect with mode {settings.mode}")
    if settings.credential_name:
        rules.dns_subdomain(settings.credential_name, faults.at("credentialName"))
        for name in ("clientCertificate", "privateKey", "caCertificates", "caCrl"):
            if given[name]:
                faults.at(name).add("cannot be combined with credentialName")
    if settings.ca_crl and settings.insecure_skip_verify:
        faults.at("caCrl").add("has no effect with insecureSkipVerify")
    if settings.mode == "MUTUAL" and not settings.credential_name:
        faults.required(settings.client_certificate, "clientCertificate")
        faults.required(settings.private_key, "privateKey")
    if settings.insecure_skip_verify and (settings.ca_certificates or settings.subject_alt_names):
        faults.at("insecureSkipVerify").add("cannot be combined with caCertificates or subjectAltNames")
    if settings.sni:
        rules.host(settings.sni, faults.at("sni"), wildcard=False, address=False)


def _given(settings: ClientTLSSettings) -> Mapping[str, object]:
    return {
        "clientCertificate": settings.client_certificate,
        "privateKey": settings.private_key,
        "caCertificates": settings.ca_certificates,
        "caCrl": settings.ca_crl,
        "credentialName": settings.credential_name,
        "insecureSkipVerify": settings.insecure_skip_verify,
        "subjectAltNames": settings.subject_alt_names,
        "sni": settings.sni,
    }


_OWN: Final = ("clientCertificate", "privateKey")
_PEER: Final = ("caCertificates", "caCrl", "credentialName", "insecureSkipVerify")
_WITHOUT_EFFECT: Final[Mapping[str, tuple[str, ...]]] = {
    "MUTUAL": (),
    "SIMPLE": _OWN,
    "ISTIO_MUTUAL": (*_OWN, *_PEER),
    "DISABLE": (*_OWN, *_PEER, "subjectAltNames", "sni"),
}
"""What a mode makes no use of (istio.io, `ClientTLSSettings`)."""
