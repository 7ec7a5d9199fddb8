"""`marline authz`: the policies of a mesh, for whom they are, and how often their rules counted."""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

import click
import msgspec

from marline.api.security.authorization_policy import is_tried
from marline.cli.explain_mesh import KnownMesh, running_mesh
from marline.cli.mesh import running_workloads
from marline.cli.output import Column, emit
from marline.mesh.workload_policies import policies_for
from marline.node.admin import Admin
from marline.node.errors import AdminError
from marline.node.home import Home
from marline.node.workload import WorkloadStatus
from marline.telemetry.policy_hits import PATH, RuleId, policy_hits

_SHOWN: Final = 3


class PolicyRow(msgspec.Struct, frozen=True, rename="camel"):
    """One AuthorizationPolicy."""

    namespace: str
    name: str
    action: str
    dry_run: bool
    workloads: tuple[str, ...]
    """Those for which it counts and whose proxy is connected, as `namespace/name`."""
    hits: tuple[int, ...]
    """Of each of its rules: how many requests it covered. In a dry run without any effect."""


_COLUMNS: Final[tuple[Column[PolicyRow], ...]] = (
    Column("NAMESPACE", lambda row: row.namespace),
    Column("POLICY", lambda row: row.name),
    Column("ACTION", lambda row: f"{row.action} (dry run)" if row.dry_run else row.action),
    Column("WORKLOADS", lambda row: _few(row.workloads)),
    Column("HITS", lambda row: ", ".join(map(str, row.hits)) or "-"),
)


def list_policies(home: Home, output: str) -> None:
    """Print all of them. Raises `NotRunning` and `StoreError`s."""
    mesh, texts = asyncio.run(_look(home))
    emit(rows(mesh, policy_hits(texts)), _COLUMNS, output, empty="there are no AuthorizationPolicies")


async def _look(home: Home) -> tuple[KnownMesh, list[str]]:
    mesh = await running_mesh(home)
    answers = await asyncio.gather(*(_statistics(item) for item in await running_workloads(home)))
    return mesh, answers


async def _statistics(status: WorkloadStatus) -> str:
    if not status.envoy_pid or not status.admin_socket:
        return ""
    try:
        return await Admin(Path(status.admin_socket)).get(PATH)
    except AdminError as error:
        click.echo(f"marline: what {status.name} has counted is not known: {error}", err=True)
        return ""


def rows(mesh: KnownMesh, hits: Mapping[RuleId, int]) -> Iterator[PolicyRow]:
    """All policies, by namespace and name."""
    snapshot = mesh.snapshot
    chosen: dict[tuple[str, str], list[str]] = {}
    for proxy in mesh.proxies:
        for workload in proxy.workloads:
            for item in policies_for(snapshot, snapshot.rules.authorization, proxy, workload):
                known = chosen.setdefault((item.namespace, item.name), [])
                known.append(f"{workload.namespace}/{workload.name}")
    every = (item for items in snapshot.rules.authorization.values() for item in items)
    for item in sorted(every, key=lambda each: each.ref):
        yield PolicyRow(
            item.namespace,
            item.name,
            item.spec.action,
            is_tried(item),
            tuple(sorted(chosen.get((item.namespace, item.name), ()))),
            tuple(
                hits.get(RuleId(item.namespace, item.name, index), 0) for index in range(len(item.spec.rules))
            ),
        )


def _few(names: Iterable[str]) -> str:
    listed = tuple(names)
    more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
    return ", ".join(listed[:_SHOWN]) + more or "none"
