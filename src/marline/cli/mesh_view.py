"""A running mesh as `status` and `demo` show it: its workloads, their proxies' state, and who calls whom.

`Observer` gathers; the values that it returns are what `-o json` prints.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from marline.cli.mesh import connected_proxies, open_api
from marline.node.admin import Admin
from marline.node.control import NodeClient
from marline.node.errors import AdminError, NotRunning
from marline.node.home import Home
from marline.node.records import recorded
from marline.node.workload import WorkloadStatus
from marline.store.interface import StoreError
from marline.telemetry.reading import Reading, Unreadable, read
from marline.telemetry.traffic import Flow, Party, flows
from marline.xds.status import ProxyStatus

WINDOW_SECONDS: Final = 10.0
"""Rates are averages over this time; Envoy completes histograms every 5 s ("stats_flush_interval")."""
_PATIENCE_SECONDS: Final = 2.0
_P50, _P99 = 0.5, 0.99


class View(msgspec.Struct, frozen=True, rename="camel"):
    """A value that has a JSON form."""


class WorkloadView(View, frozen=True):
    """A workload or gateway, and its proxy."""

    status: WorkloadStatus
    sync: str
    """Of its proxy, see `xds.status`; "": the control plane does not know it, or does not answer."""


class EndView(View, frozen=True):
    """One end of traffic."""

    service: str
    namespace: str
    version: str
    identities: tuple[str, ...]
    """SPIFFE IDs, as the other end's proxy has verified them."""

    @property
    def qualified(self) -> str:
        return f"{self.service}.{self.namespace}" if self.namespace else self.service


class TrafficView(View, frozen=True):
    """All calls from one version of a service to another. Totals count since the proxies were started;
    rates, shares and latencies are of the last seconds where there was traffic in them."""

    source: EndView
    destination: EndView
    protocol: str
    """`http` or `tcp`."""
    counted_by: str
    """`source` or `destination`: whose proxy."""
    requests: int
    """TCP: connections that have ended."""
    success_rate: float | None
    requests_per_second: float | None
    p50_milliseconds: float | None
    p99_milliseconds: float | None
    mtls: bool | None


class MeshView(View, frozen=True):
    """The whole mesh on this machine."""

    workloads: tuple[WorkloadView, ...]
    traffic: tuple[TrafficView, ...]
    notes: tuple[str, ...]
    """What could not be learnt."""


@dataclass(slots=True)
class Observer:
    """Looks at one mesh, again and again: what changed between two looks gives the rates."""

    home: Home
    clock: Callable[[], float] = time.monotonic
    readings: list[Reading] = field(default_factory=list)

    async def look(self) -> MeshView:
        """The mesh now. Raises `NotRunning` if there is nothing to see at all."""
        notes: list[str] = []
        statuses = await self._workloads(notes)
        proxies = await self._proxies(notes)
        reading = await read_statistics(statuses, self.clock)
        for status in statuses:
            reason = reading.unreadable.get(_key(status))
            if reason and status.ready:
                notes.append(f"the statistics of {status.name} are missing: {reason}")
        before = self._remember(reading)
        return MeshView(
            tuple(
                WorkloadView(item, proxies[item.node_id].state if item.node_id in proxies else "")
                for item in statuses
            ),
            tuple(traffic_view(flow) for flow in flows(reading, before, _parties(statuses))),
            tuple(notes),
        )

    async def _workloads(self, notes: list[str]) -> tuple[WorkloadStatus, ...]:
        try:
            return await NodeClient(self.home).list()
        except NotRunning as error:
            alone = recorded(self.home)
            if not alone:
                raise
            notes.append(f"{error}; what `marline run` hosts goes on")
            return alone

    async def _proxies(self, notes: list[str]) -> Mapping[str, ProxyStatus]:
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS), open_api(self.home) as store:
                return {item.node_id: item for item in (await connected_proxies(store)).proxies}
        except TimeoutError:
            reason = f"no answer within {_PATIENCE_SECONDS:g} s"
        except (StoreError, NotRunning) as error:
            reason = str(error)
        notes.append(f"the control plane does not answer, proxies keep what they have: {reason}")
        return {}

    def _remember(self, reading: Reading) -> Reading | None:
        """Keeps the reading; returns the one to compare it with: the newest that is a window old, else the
        first."""
        before = self.readings[0] if self.readings else None
        self.readings.append(reading)
        while len(self.readings) > 1 and self.readings[1].at <= reading.at - WINDOW_SECONDS:
            before = self.readings[1]
            del self.readings[0]
        return before


async def read_statistics(statuses: Iterable[WorkloadStatus], clock: Callable[[], float]) -> Reading:
    """What the proxies of these workloads have counted until now."""
    return await read(_admins(statuses), clock)


def _key(status: WorkloadStatus) -> str:
    """A proxy that was started again counts from zero, so it is another one."""
    return f"{status.id}/{status.envoy_pid}"


def _admins(statuses: Iterable[WorkloadStatus]) -> dict[str, Callable[[str], Awaitable[str]]]:
    return {
        _key(status): _asker(Admin(Path(status.admin_socket)))
        for status in statuses
        if status.envoy_pid and status.admin_socket
    }


def _asker(admin: Admin) -> Callable[[str], Awaitable[str]]:
    async def ask(path: str) -> str:
        try:
            return await admin.get(path)
        except AdminError as error:
            raise Unreadable(str(error)) from error

    return ask


def _parties(statuses: Iterable[WorkloadStatus]) -> dict[tuple[str, str], Party]:
    return {
        (item.namespace, item.name): Party(item.service, item.namespace, item.version) for item in statuses
    }


def traffic_view(flow: Flow) -> TrafficView:
    """A flow as it is shown: the destination by its service's name rather than its host."""
    destination = flow.destination
    service = destination.name.partition(".")[0] if destination.namespace else destination.name
    count = flow.all.connections if flow.tcp else flow.all.requests
    return TrafficView(
        source=EndView(flow.source.name, flow.source.namespace, flow.source.version, flow.source_identities),
        destination=EndView(service, destination.namespace, destination.version, flow.destination_identities),
        protocol="tcp" if flow.tcp else "http",
        counted_by="source" if flow.from_source else "destination",
        requests=round(count),
        success_rate=flow.success_rate,
        requests_per_second=flow.rate,
        p50_milliseconds=flow.latency(_P50),
        p99_milliseconds=flow.latency(_P99),
        mtls=flow.mtls,
    )
