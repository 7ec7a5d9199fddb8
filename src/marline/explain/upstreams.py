"""What a cluster is: how it finds endpoints, balances, limits, and secures its connections."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

from envoy.extensions.transport_sockets.proxy_protocol.v3 import upstream_proxy_protocol_pb2
from envoy.extensions.transport_sockets.tls.v3 import tls_pb2

from marline.compile.endpoints import TRANSPORT_MATCH
from marline.compile.telemetry import METADATA
from marline.compile.tls import SVID_SECRET
from marline.explain.fractions import seconds
from marline.explain.request import CannotTell
from marline.explain.view import CompiledView

_UNLIMITED: Final = 2**32 - 1
_TLS_SOCKET: Final = "envoy.transport_sockets.tls"
_PROXY_PROTOCOL_SOCKET: Final = "envoy.transport_sockets.upstream_proxy_protocol"
_PLAIN_SOCKETS: Final = ("envoy.transport_sockets.raw_buffer", "")


@dataclass(frozen=True, slots=True)
class Security:
    """How connections to an endpoint are secured."""

    kind: str
    """`plain`, `mtls` (with the workload's own SVID) or `tls`."""
    server_name: str = ""
    expected: tuple[str, ...] = ()
    """The names of which the server must have one."""
    verified: bool = True
    proxy_protocol: bool = False
    """The PROXY protocol's header, with the client's address, comes before everything else."""


PLAIN: Final = Security("plain", verified=False)


@dataclass(frozen=True, slots=True)
class Upstream:
    """One address that a cluster may send to."""

    address: str
    port: int
    weight: int
    priority: int
    locality: str
    workload: str
    namespace: str
    security: Security


def upstreams_of(cluster: Any, view: CompiledView) -> tuple[Upstream, ...] | None:
    """The endpoints, as Envoy is told them; None if it finds them by itself (by DNS, or the address that
    the application chose)."""
    if cluster.type == cluster.EDS and not cluster.HasField("cluster_type"):
        assignment = view.endpoints(cluster.eds_cluster_config.service_name or cluster.name)
    elif cluster.type == cluster.STATIC and not cluster.HasField("cluster_type"):
        assignment = cluster.load_assignment
    else:
        return None
    if assignment is None:
        raise CannotTell(f"there are no endpoints for the cluster {cluster.name!r}")
    return tuple(_upstreams(cluster, assignment))


def _upstreams(cluster: Any, assignment: Any) -> Iterator[Upstream]:
    for group in assignment.endpoints:
        parts = (group.locality.region, group.locality.zone, group.locality.sub_zone)
        for item in group.lb_endpoints:
            address = item.endpoint.address
            said = item.metadata.filter_metadata
            fields = said[METADATA].fields if METADATA in said else {}
            yield Upstream(
                address=address.pipe.path or address.socket_address.address,
                port=address.socket_address.port_value,
                weight=item.load_balancing_weight.value or 1,
                priority=group.priority,
                locality="/".join(part for part in parts if part),
                workload=fields["workload"].string_value if "workload" in fields else "",
                namespace=fields["namespace"].string_value if "namespace" in fields else "",
                security=security_of(cluster, said),
            )


def resolved_names(cluster: Any) -> list[str]:
    """The names that a cluster with DNS resolves, as `host:port`."""
    sockets = (
        item.endpoint.address.socket_address
        for group in cluster.load_assignment.endpoints
        for item in group.lb_endpoints
    )
    return [f"{item.address}:{item.port_value}" for item in sockets]


def security_of(cluster: Any, metadata: Any) -> Security:
    """Of an endpoint with this metadata: the first transport socket whose match it fulfils (Envoy
    documentation, "config.cluster.v3.Cluster", `transport_socket_matches`)."""
    given = metadata[TRANSPORT_MATCH].fields if TRANSPORT_MATCH in metadata else {}
    for item in cluster.transport_socket_matches:
        wanted = item.match.fields
        if all(name in given and given[name] == value for name, value in wanted.items()):
            return _security(item.transport_socket)
    return _security(cluster.transport_socket)


def _security(socket: Any) -> Security:
    if socket.name == _PROXY_PROTOCOL_SOCKET:
        outer = upstream_proxy_protocol_pb2.ProxyProtocolUpstreamTransport()
        if not socket.typed_config.Unpack(outer):
            raise CannotTell("the PROXY protocol of a cluster is of an unknown form")
        return replace(_security(outer.transport_socket), proxy_protocol=True)
    if socket.name in _PLAIN_SOCKETS:
        return PLAIN
    if socket.name != _TLS_SOCKET:
        raise CannotTell(f"connections by {socket.name} cannot be evaluated")
    context = tls_pb2.UpstreamTlsContext()
    if not socket.typed_config.Unpack(context):
        raise CannotTell("the TLS settings of a cluster are of an unknown form")
    common = context.common_tls_context
    secrets = [item.name for item in common.tls_certificate_sds_secret_configs]
    validation = common.combined_validation_context.default_validation_context
    if common.WhichOneof("validation_context_type") == "validation_context":
        validation = common.validation_context
    names = tuple(item.matcher.exact for item in validation.match_typed_subject_alt_names)
    kind = "mtls" if secrets == [SVID_SECRET] else "tls"
    verified = common.WhichOneof("validation_context_type") is not None
    return Security(kind, context.sni, names, verified)


_BALANCERS: Final = {
    "ROUND_ROBIN": "in turn (ROUND_ROBIN)",
    "LEAST_REQUEST": "the less busy of two chosen by chance (LEAST_REQUEST)",
    "RANDOM": "by chance (RANDOM)",
    "RING_HASH": "by a hash of the request (RING_HASH)",
    "MAGLEV": "by a hash of the request (MAGLEV)",
    "CLUSTER_PROVIDED": "the address that the connection or request names",
}


def balancing_of(cluster: Any) -> str:
    """How it chooses an endpoint, in words."""
    if cluster.HasField("load_balancing_policy"):
        names = [item.typed_extension_config.name for item in cluster.load_balancing_policy.policies]
        return f"by {', '.join(name.rpartition('.')[2] for name in names)}"
    return _BALANCERS[cluster.LbPolicy.Name(cluster.lb_policy)]


def limits_of(cluster: Any) -> list[str]:
    """The circuit breakers that are closed below infinity, and the connect timeout; not the retry budget."""
    found = [f"connect timeout {seconds(cluster.connect_timeout):g}s"]
    for limits in cluster.circuit_breakers.thresholds:
        for name in ("max_connections", "max_pending_requests", "max_requests", "max_retries"):
            value = getattr(limits, name).value
            if limits.HasField(name) and value != _UNLIMITED:
                found.append(f"{name.replace('_', ' ')} {value}")
    return found


def retry_budget_of(cluster: Any) -> str:
    """How many retries there may be beside other requests; "" if that is not limited by a budget."""
    for limits in cluster.circuit_breakers.thresholds:
        if limits.HasField("retry_budget"):
            return f"{limits.retry_budget.budget_percent.value:g} % of active requests"
    return ""


_OUTLIERS: Final = ("consecutive_5xx", "consecutive_gateway_failure", "consecutive_local_origin_failure")


def outliers_of(cluster: Any) -> list[str]:
    """When endpoints are left out for a time; nothing if never."""
    if not cluster.HasField("outlier_detection"):
        return []
    made = cluster.outlier_detection
    found = []
    for name in _OUTLIERS:
        enforced = getattr(made, f"enforcing_{name}")
        if made.HasField(name) and enforced.value:
            found.append(f"after {getattr(made, name).value} {name.replace('_', ' ')}")
    if made.HasField("base_ejection_time"):
        found.append(f"for {seconds(made.base_ejection_time):g}s at first")
    if made.HasField("max_ejection_percent"):
        found.append(f"at most {made.max_ejection_percent.value} % of them")
    return found or ["with Envoy's defaults"]
