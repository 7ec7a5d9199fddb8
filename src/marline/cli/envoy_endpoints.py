"""`marline proxy-config endpoint`: the addresses that a proxy may send to, and how they do.

Source: Envoy's `envoy/admin/v3/clusters.proto`, the answer of `/clusters?format=json`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from marline.cli.envoy_dump import ClusterName, Object, address_of
from marline.cli.output import Column, bad, doubtful, good

_FAILED: Final = (
    ("failed_active_health_check", "health check failed"),
    ("failed_outlier_check", "ejected as outlier"),
    ("pending_active_hc", "not checked yet"),
    ("pending_dynamic_removal", "being removed"),
)


@dataclass(frozen=True, slots=True)
class EndpointRow:
    """One address of one cluster."""

    endpoint: str
    status: str
    """As the control plane and Envoy's own checks say: `HEALTHY`, `DEGRADED`, `UNHEALTHY`, …"""
    notes: str
    weight: int
    requests: int
    errors: int
    cluster: str
    source: Object

    def fits(self, cluster: str, fqdn: str, port: int | None, subset: str, status: str) -> bool:
        """Is it what the filters of the command ask for?"""
        name = ClusterName.parse(self.cluster)
        return (
            (not cluster or self.cluster == cluster)
            and (not fqdn or fqdn in name.host)
            and (port is None or name.port == str(port))
            and (not subset or name.subset == subset)
            and (not status or self.status == status.upper())
        )


def endpoint_rows(clusters: Object) -> Iterator[EndpointRow]:
    """Of all clusters, by their names."""
    for cluster in sorted(clusters.get("cluster_statuses", ()), key=lambda item: str(item["name"])):
        for host in cluster.get("host_statuses", ()):
            health = host.get("health_status", {})
            yield EndpointRow(
                endpoint=address_of(host.get("address", {})),
                status=str(health.get("eds_health_status", "HEALTHY")),
                notes=", ".join(words for flag, words in _FAILED if health.get(flag)),
                weight=int(host.get("weight", 1)),
                requests=_stat(host, "rq_total"),
                errors=_stat(host, "rq_error"),
                cluster=str(cluster["name"]),
                source=host,
            )


def _stat(host: Object, name: str) -> int:
    """Zero is left out of Envoy's answer."""
    return next((int(item.get("value", 0)) for item in host.get("stats", ()) if item["name"] == name), 0)


def _coloured(row: EndpointRow) -> str:
    style = good if row.status == "HEALTHY" and not row.notes else doubtful
    text = f"{row.status} ({row.notes})" if row.notes else row.status
    return (bad if row.status in ("UNHEALTHY", "TIMEOUT") else style)(text)


COLUMNS: Final = (
    Column[EndpointRow]("ENDPOINT", lambda row: row.endpoint),
    Column[EndpointRow]("STATUS", _coloured),
    Column[EndpointRow]("WEIGHT", lambda row: row.weight, right=True),
    Column[EndpointRow]("REQUESTS", lambda row: row.requests, right=True),
    Column[EndpointRow]("ERRORS", lambda row: row.errors, right=True),
    Column[EndpointRow]("CLUSTER", lambda row: row.cluster),
)
