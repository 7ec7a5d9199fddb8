"""`marline proxy-config cluster`: the clusters of a proxy, by the service that they stand for."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from marline.cli.envoy_dump import ClusterName, Object
from marline.cli.output import Column


@dataclass(frozen=True, slots=True)
class ClusterRow:
    """One cluster."""

    host: str
    port: str
    subset: str
    direction: str
    type: str
    policy: str
    """How it chooses an endpoint."""
    source: Object

    def fits(self, fqdn: str, port: int | None, subset: str, direction: str) -> bool:
        """Is it what the filters of the command ask for?"""
        return (
            (not fqdn or fqdn in self.host)
            and (port is None or self.port == str(port))
            and (not subset or self.subset == subset)
            and (not direction or self.direction == direction)
        )


def cluster_rows(clusters: Iterable[Object]) -> Iterator[ClusterRow]:
    """Sorted by service and port."""
    yield from sorted(map(_row, clusters), key=lambda row: (row.host, row.direction, row.port, row.subset))


def _row(cluster: Object) -> ClusterRow:
    name = ClusterName.parse(str(cluster["name"]))
    told = cluster.get("metadata", {}).get("filter_metadata", {}).get("marline", {})
    kind = cluster.get("cluster_type", {}).get("name") or cluster.get("type") or "STATIC"
    return ClusterRow(
        host=name.host or str(told.get("service", "")),
        port=name.port,
        subset=name.subset,
        direction=name.direction,
        type=str(kind).removeprefix("envoy.clusters."),
        policy=_policy(cluster),
        source=cluster,
    )


def _policy(cluster: Object) -> str:
    policies = cluster.get("load_balancing_policy", {}).get("policies", ())
    for policy in policies:
        name = str(policy.get("typed_extension_config", {}).get("name", ""))
        return name.rpartition(".")[2].upper()
    return str(cluster.get("lb_policy", "ROUND_ROBIN"))


COLUMNS: Final = (
    Column[ClusterRow]("SERVICE", lambda row: row.host),
    Column[ClusterRow]("PORT", lambda row: row.port, right=True),
    Column[ClusterRow]("SUBSET", lambda row: row.subset),
    Column[ClusterRow]("DIRECTION", lambda row: row.direction),
    Column[ClusterRow]("TYPE", lambda row: row.type),
    Column[ClusterRow]("BALANCING", lambda row: row.policy),
)
