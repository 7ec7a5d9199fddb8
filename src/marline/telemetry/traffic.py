"""Who calls whom, how often, how well, and proven by which identities: the service graph as rows.

Both ends of a call report it. Requests, successes and latencies are taken from the client's proxy: they
are what the caller saw, with its retries counted once and with the failures that never reached a server.
What the server's proxy says proves who the caller is, and counts only where no client's proxy reports
the same calls, such as for callers without a sidecar. So nothing is counted twice.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from marline.telemetry.counts import Counted, Counts, Tags, counted
from marline.telemetry.reading import Reading

UNKNOWN: Final = "unknown"


@dataclass(frozen=True, slots=True, order=True)
class Party:
    """One end of a flow: a version of a service."""

    name: str
    """A service's name, as far as it is known; of a destination: its host."""
    namespace: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True)
class Flow:
    """All calls from one party to another."""

    source: Party
    destination: Party
    tcp: bool
    from_source: bool
    """Counted by the client's proxy; otherwise by the server's."""
    mtls: bool | None
    """Every call was over mutual TLS; None: no call has reached a server yet."""
    source_identities: tuple[str, ...]
    """SPIFFE IDs of the callers, as the servers' proxies verified them."""
    destination_identities: tuple[str, ...]
    """SPIFFE IDs of the servers, as the clients' proxies verified them."""
    all: Counts
    """Since the proxies were started."""
    recent: Counts | None
    """Between the two readings."""
    seconds: float
    """The time between them."""

    @property
    def rate(self) -> float | None:
        """Requests (or connections that ended) per second; None without an earlier reading."""
        if self.recent is None or self.seconds <= 0:
            return None
        return (self.recent.connections if self.tcp else self.recent.requests) / self.seconds

    @property
    def success_rate(self) -> float | None:
        """Of the recent requests if there are any, else of all; None for TCP, which does not tell."""
        recent = self.recent.success_rate if self.recent is not None else None
        return self.all.success_rate if recent is None else recent

    def latency(self, share: float) -> float | None:
        """A quantile in milliseconds: of the recent requests if there are any, else of all."""
        recent = self.recent.latency.quantile(share) if self.recent is not None else None
        return self.all.latency.quantile(share) if recent is None else recent


Workloads = Mapping[tuple[str, str], Party]
"""Namespace and name of a workload → the version of the service that it is."""


def flows(after: Reading, before: Reading | None, workloads: Workloads) -> tuple[Flow, ...]:
    """The traffic that proxies have reported, by source and destination."""
    every = list(counted(after, before))
    callers = _verified_callers(every)
    reported = {_as_the_server_sees(item.tags) for item in every if item.tags.from_source}
    groups: dict[tuple[Party, Party, bool, bool], list[Counted]] = {}
    for item in every:
        tags = item.tags
        if not tags.from_source and (tags.source_principal, tags.destination_service) in reported:
            continue
        key = (_source(tags, workloads), _destination(tags, workloads), tags.tcp, tags.from_source)
        groups.setdefault(key, []).append(item)
    seconds = after.at - before.at if before is not None else 0.0
    return tuple(_flow(*key, groups[key], callers, seconds) for key in sorted(groups))


def _flow(
    source: Party,
    destination: Party,
    tcp: bool,
    from_source: bool,
    items: list[Counted],
    callers: Mapping[tuple[str, str], set[str]],
    seconds: float,
) -> Flow:
    tags = [item.tags for item in items]
    seen_by_servers = {
        item.source_principal
        for item in tags
        if item.source_principal in callers.get((item.destination_service, item.destination_workload), ())
    }
    recent = [item.recent for item in items if item.recent is not None]
    return Flow(
        source=source,
        destination=destination,
        tcp=tcp,
        from_source=from_source,
        mtls=_mtls(tags),
        source_identities=tuple(sorted(seen_by_servers)),
        destination_identities=tuple(sorted({item.destination_principal for item in tags} - {""})),
        all=Counts.sum([item.all for item in items]),
        recent=Counts.sum(recent) if recent else None,
        seconds=seconds,
    )


def _verified_callers(items: Iterable[Counted]) -> dict[tuple[str, str], set[str]]:
    """Destination service and workload → the identities that it has verified."""
    found: dict[tuple[str, str], set[str]] = {}
    for item in items:
        tags = item.tags
        if not tags.from_source and tags.mutual_tls and tags.source_principal:
            server = (tags.destination_service, tags.destination_workload)
            found.setdefault(server, set()).add(tags.source_principal)
    return found


def _as_the_server_sees(tags: Tags) -> tuple[str, str]:
    """Caller and service as the server's proxy reports them: in plain text it cannot name the caller."""
    return ("" if _is_secured(tags) is False else tags.source_principal, tags.destination_service)


def _mtls(tags: Iterable[Tags]) -> bool | None:
    said = {_is_secured(item) for item in tags} - {None}
    return None if not said else said == {True}


def _is_secured(tags: Tags) -> bool | None:
    """The client's proxy knows by the server's verified identity. A call for which it had no connection,
    which its flags tell (Envoy, "Response Flags"), says nothing."""
    if not tags.from_source:
        return tags.mutual_tls
    if tags.destination_principal:
        return True
    return False if tags.destination_workload and not tags.response_flags else None


def _source(tags: Tags, workloads: Workloads) -> Party:
    namespace, account = _of_principal(tags.source_principal)
    if tags.source_workload:
        given = Party(tags.source_workload, namespace)
        return workloads.get((namespace, tags.source_workload), given)
    return Party(account or UNKNOWN, namespace)


def _destination(tags: Tags, workloads: Workloads) -> Party:
    host = tags.destination_service or UNKNOWN
    before, is_service, _ = host.partition(".svc.")
    namespace = before.rpartition(".")[2] if is_service else ""
    home = _of_principal(tags.destination_principal)[0] or namespace
    found = workloads.get((home, tags.destination_workload))
    return Party(host, namespace, found.version if found is not None else "")


def _of_principal(spiffe_id: str) -> tuple[str, str]:
    """Namespace and service account of a workload's SPIFFE ID (istio.io, "Istio identity")."""
    match spiffe_id.removeprefix("spiffe://").split("/"):
        case [_, "ns", namespace, "sa", account]:
            return namespace, account
    return "", ""
