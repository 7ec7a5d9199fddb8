"""`marline audit report never-matched`: AuthorizationPolicies none of whose rules has matched for a while."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

import click
import msgspec

from marline.api.resource import Resource
from marline.api.security.authorization_policy import AuthorizationPolicySpec
from marline.cli.exits import Failed
from marline.cli.explain_mesh import KnownMesh, running_mesh
from marline.cli.options import Settings, mesh_options
from marline.cli.output import Column, emit, output_option
from marline.mesh.workload_policies import policies_for
from marline.node.home import Home
from marline.store.spans import human_duration
from marline.telemetry.policy_matches import Matches

_COUNTED: Final = "requests"
_NOT_COUNTED: Final = "requests, not connections"


class Unmatched(msgspec.Struct, frozen=True, rename="camel"):
    """A policy that has not matched anything."""

    namespace: str
    name: str
    action: str
    last_matched: datetime | None
    """None: never, as far as it was watched."""
    watched_since: datetime
    counted: str
    """Of connections that are not HTTP proxies do not count rules: whether there may be some."""


@click.command("never-matched")
@click.option("--days", type=click.IntRange(min=1), default=30, show_default=True, help="For how long.")
@output_option()
@mesh_options
@click.pass_obj
def never_matched(settings: Settings, days: int, output: str) -> None:
    """List AuthorizationPolicies that have matched nothing for so many days.

    The control plane watches what proxies count. Of connections that are not HTTP they count no rules.
    """
    matches, now = _matches(settings.home), datetime.now(UTC)
    mesh = asyncio.run(running_mesh(settings.home))
    watched = now - datetime.fromtimestamp(matches.since, UTC)
    if watched < timedelta(days=days):
        shown = human_duration(watched.total_seconds())
        click.echo(f"marline: policies have been watched for {shown} only, not for {days} days", err=True)
    earliest = now - timedelta(days=days)
    emit(list(unmatched(mesh, matches, earliest)), _columns(now), output, empty="every policy has matched")


def _matches(home: Home) -> Matches:
    """Raises `Failed`."""
    try:
        return msgspec.json.decode(home.policy_matches.read_bytes(), type=Matches)
    except FileNotFoundError as error:
        raise Failed(f"nobody has watched yet: there is no {home.policy_matches}") from error
    except (OSError, msgspec.DecodeError) as error:
        raise Failed(f"{home.policy_matches} cannot be read: {error}") from error


def unmatched(mesh: KnownMesh, matches: Matches, earliest: datetime) -> Iterator[Unmatched]:
    """Policies that have not matched since then, by namespace and name."""
    every = [item for items in mesh.snapshot.rules.authorization.values() for item in items]
    with_connections = _with_connections(mesh)
    since = datetime.fromtimestamp(matches.since, UTC)
    for item in sorted(every, key=lambda each: each.ref):
        at = matches.last_of(item.namespace, item.name)
        last = datetime.fromtimestamp(at, UTC) if at is not None else None
        if last is None or last < earliest:
            counted = _NOT_COUNTED if (item.namespace, item.name) in with_connections else _COUNTED
            begun = max(since, _created(item) or since)
            yield Unmatched(item.namespace, item.name, item.spec.action, last, begun, counted)


def _created(item: Resource[AuthorizationPolicySpec]) -> datetime | None:
    text = item.metadata.creation_timestamp
    return datetime.fromisoformat(text) if text else None


def _with_connections(mesh: KnownMesh) -> set[tuple[str, str]]:
    """The policies that are for a workload with a port that is not HTTP."""
    return {
        (item.namespace, item.name)
        for proxy in mesh.proxies
        for workload in proxy.workloads
        if any(not port.protocol.is_http for port in workload.inbound)
        for item in policies_for(mesh.snapshot, mesh.snapshot.rules.authorization, proxy, workload)
    }


def _columns(now: datetime) -> tuple[Column[Unmatched], ...]:
    def ago(time: datetime) -> str:
        return human_duration((now - time).total_seconds())

    return (
        Column("NAMESPACE", lambda row: row.namespace),
        Column("POLICY", lambda row: row.name),
        Column("ACTION", lambda row: row.action),
        Column("LAST MATCHED", lambda row: f"{ago(row.last_matched)} ago" if row.last_matched else "never"),
        Column("WATCHED FOR", lambda row: ago(row.watched_since)),
        Column("COUNTED", lambda row: row.counted),
    )
