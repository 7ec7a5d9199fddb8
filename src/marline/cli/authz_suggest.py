"""`marline authz suggest`: policies that allow no more than what was seen."""

import asyncio
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

import click

from marline.api.yaml_values import write_yaml
from marline.cli.exits import Failed
from marline.cli.explain_mesh import KnownMesh, running_mesh
from marline.cli.mesh import running_workloads
from marline.cli.mesh_view import read_statistics
from marline.cli.options import Settings, mesh_options, seconds
from marline.compile.routes import carries_http
from marline.mesh.model import Service
from marline.mesh.snapshot import MeshSnapshot
from marline.node.home import Home
from marline.telemetry.callers import Callers, callers
from marline.telemetry.counts import counted
from marline.telemetry.reading import Reading

_DRY_RUN: Final = "istio.io/dry-run"


@click.command(name="suggest")
@click.option(
    "--window", metavar="DURATION", callback=seconds,
    help="Watch for so long from now on. By default: all calls that proxies still count.",
)  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Policies that are only tried: apply them and see.")
@mesh_options
@click.pass_obj
def suggest(settings: Settings, window: float | None, dry_run: bool) -> None:
    """Print AuthorizationPolicies that allow the calls that were seen, and no others.

    They are for the services of this machine that were called. Proxies count calls by the caller's verified
    identity, the service and whether it is HTTP; not by method or path, so the policies name none. Whoever
    calls rarely may not have been seen: read them before you apply them.
    """
    mesh, before, after = asyncio.run(_watch(settings.home, window))
    every = list(counted(after, before))
    seen = callers(every, recent=before is not None)
    policies = list(suggested(mesh.snapshot, seen, dry_run=dry_run))
    if not policies:
        raise Failed("no call of a service with a proxy was seen; is there traffic?")
    span = (
        f"in {window:g} seconds" if window is not None else "so far; a proxy counts anew when it is changed"
    )
    click.echo(f"# From the statistics of {len(after.proxies)} proxies: calls {span}.")
    click.echo("# Callers are verified identities. Methods and paths are not counted, so none is named.")
    for reason in after.unreadable.values():
        click.echo(f"# Not all is known: {reason}")
    for policy, notes in policies:
        click.echo("---")
        for note in notes:
            click.echo(f"# {note}")
        click.echo(write_yaml(policy).rstrip())


async def _watch(home: Home, window: float | None) -> tuple[KnownMesh, Reading | None, Reading]:
    mesh = await running_mesh(home)
    before = None
    if window is not None:
        before = await read_statistics(await running_workloads(home), time.monotonic)
        await asyncio.sleep(window)
    return mesh, before, await read_statistics(await running_workloads(home), time.monotonic)


def suggested(
    snapshot: MeshSnapshot, seen: Mapping[tuple[str, bool], Callers], *, dry_run: bool
) -> Iterator[tuple[dict[str, Any], list[str]]]:
    """A policy for each service that was called, and what is to be said of it."""
    for hostname in sorted({host for host, _ in seen}):
        service = snapshot.services.get(hostname)
        if service is None or not service.selector:
            continue
        rules, notes = [], []
        for tcp in (False, True):
            known = seen.get((hostname, tcp), Callers())
            kind = "connections" if tcp else "requests"
            if known.identities:
                rules.append(_rule(snapshot, service, known, tcp=tcp))
                total = round(sum(known.identities.values()))
                notes.append(f"{total} {kind} of {len(known.identities)} identities")
            if known.nameless:
                notes.append(f"{round(known.nameless)} {kind} without an identity, which are NOT allowed")
        yield _policy(service, rules, dry_run=dry_run), notes


def _rule(snapshot: MeshSnapshot, service: Service, known: Callers, *, tcp: bool) -> dict[str, Any]:
    principals = [item.removeprefix("spiffe://") for item in sorted(known.identities)]
    rule: dict[str, Any] = {"from": [{"source": {"principals": principals}}]}
    wanted = {
        port.name for port in service.ports if (not port.protocol.is_http if tcp else carries_http(port))
    }
    numbers = sorted({item.port for item in snapshot.all_endpoints(service) if item.service_port in wanted})
    if numbers:
        rule["to"] = [{"operation": {"ports": [str(number) for number in numbers]}}]
    return rule


def _policy(service: Service, rules: list[dict[str, Any]], *, dry_run: bool) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": f"{service.name}-callers", "namespace": service.namespace}
    if dry_run:
        metadata["annotations"] = {_DRY_RUN: "true"}
    spec: dict[str, Any] = {"selector": {"matchLabels": dict(service.selector)}, "action": "ALLOW"}
    if rules:
        spec["rules"] = rules
    return {
        "apiVersion": "security.istio.io/v1",
        "kind": "AuthorizationPolicy",
        "metadata": metadata,
        "spec": spec,
    }
