"""Envoy's bootstrap: who it is, where its configuration and its certificates come from. Pure.

All paths are relative to the proxy's own directory, in which Envoy is started: they stay short, and an
Envoy without any capability need not be allowed to search the directories above.
"""

from typing import Any, Final

from marline.mesh.model import Proxy
from marline.mesh.proxy import to_metadata

XDS_CLUSTER: Final = "xds-grpc"
SDS_CLUSTER: Final = "sds-grpc"
RATE_LIMIT_CLUSTER: Final = "ratelimit-grpc"
ADMIN_MODE: Final = 0o600
MAX_CONNECTIONS: Final = 100_000
DRAIN_SECONDS: Final = 3
_TYPE: Final = "type.googleapis.com/envoy"

RUNTIME: Final = {"layers": [{"name": "static", "static_layer": {"re2.max_program_size.error_level": 32768}}]}
"""Envoy refuses regular expressions whose RE2 program is longer than 100 instructions, as that of `.{64}` is;
this is Istio's limit."""

_STAT_PREFIXES: Final = (
    "istio", "cluster_manager", "listener_manager", "server.", "control_plane", "cluster.xds-grpc",
    "cluster.sds-grpc",
)  # fmt: skip
_STAT_SUFFIXES: Final = (
    "upstream_rq_total", "upstream_rq_active", "upstream_rq_pending_active", "upstream_rq_pending_overflow",
    "upstream_rq_retry", "upstream_rq_retry_success", "upstream_rq_retry_overflow", "upstream_rq_timeout",
    "upstream_cx_total", "upstream_cx_active", "upstream_cx_overflow", "upstream_cx_connect_fail",
    "membership_total", "membership_healthy", "outlier_detection.ejections_active",
    "outlier_detection.ejections_enforced_total", "downstream_cx_active", "downstream_cx_total",
    "downstream_rq_active", "downstream_rq_total", "ssl.handshake", "ssl.connection_error",
    "ssl.fail_verify_san", "ssl.fail_verify_error", "ssl.fail_verify_no_cert",
    "http_local_rate_limit.rate_limited", "http_local_rate_limit.enforced", "over_limit",
    "failure_mode_allowed", "gradient_controller.concurrency_limit", "gradient_controller.rq_blocked",
    "gradient_controller.min_rtt_msecs", "admission_control.rq_rejected",
)  # fmt: skip
"""Of the some hundred statistics of each cluster and listener those that say how it does; all of them
would be half of Envoy's memory."""
_STAT_PARTS: Final = (".rbac.", ".ext_authz.")
"""Of AuthorizationPolicies, where there are any."""


def bootstrap(
    proxy: Proxy,
    *,
    xds_socket: str,
    sds_socket: str,
    rate_limit_socket: str,
    admin_socket: str,
    cluster: str,
) -> dict[str, Any]:
    """The bootstrap as JSON. `cluster` is the node's, `<service>.<namespace>`; sockets are paths."""
    locality = proxy.workloads[0].locality
    return {
        "node": {
            "id": proxy.node_id,
            "cluster": cluster,
            "metadata": to_metadata(proxy),
            "locality": {"region": locality.region, "zone": locality.zone, "sub_zone": locality.sub_zone},
        },
        "admin": {"address": {"pipe": {"path": admin_socket, "mode": ADMIN_MODE}}},
        "dynamic_resources": {
            "ads_config": {
                "api_type": "DELTA_GRPC",
                "transport_api_version": "V3",
                "set_node_on_first_message_only": True,
                "grpc_services": [{"envoy_grpc": {"cluster_name": XDS_CLUSTER, "retry_policy": _RECONNECT}}],
            },
            "cds_config": _from_ads(),
            "lds_config": _from_ads(),
        },
        "static_resources": {
            "clusters": [
                _grpc_cluster(XDS_CLUSTER, xds_socket),
                _grpc_cluster(SDS_CLUSTER, sds_socket),
                _grpc_cluster(RATE_LIMIT_CLUSTER, rate_limit_socket),
            ]
        },
        "layered_runtime": RUNTIME,
        "overload_manager": _overload_manager(),
        "stats_config": {
            "stats_matcher": {
                "inclusion_list": {
                    "patterns": [
                        *({"prefix": prefix} for prefix in _STAT_PREFIXES),
                        *({"suffix": suffix} for suffix in _STAT_SUFFIXES),
                        *({"contains": part} for part in _STAT_PARTS),
                    ]
                }
            }
        },
    }


_RECONNECT: Final = {"retry_back_off": {"base_interval": "0.2s", "max_interval": "2s"}}
"""A control plane that was restarted is found again soon; the default may wait 30 s."""


def _from_ads() -> dict[str, Any]:
    # Without limit: an Envoy is live when it has its first configuration, not when it gave up on it.
    return {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s"}


def _grpc_cluster(name: str, socket: str) -> dict[str, Any]:
    http2 = {"connection_keepalive": {"interval": "30s", "timeout": "10s"}}
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": {"pipe": {"path": socket}}}}]}],
        },
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": f"{_TYPE}.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http2_protocol_options": http2},
            }
        },
    }


def _overload_manager() -> dict[str, Any]:
    monitor = "envoy.resource_monitors.global_downstream_max_connections"
    kind = "downstream_connections.v3.DownstreamConnectionsConfig"
    return {
        "resource_monitors": [
            {
                "name": monitor,
                "typed_config": {
                    "@type": f"{_TYPE}.extensions.resource_monitors.{kind}",
                    "max_active_downstream_connections": MAX_CONNECTIONS,
                },
            }
        ]
    }
