"""`marline describe`: all that is known of one resource, or of one workload of this machine."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import click

from marline.api.resource import Ref
from marline.cli import description, proxy_status
from marline.cli.completing import complete_kind
from marline.cli.get import without_managed_fields
from marline.cli.kinds import Target, choose_targets, ref_to
from marline.cli.mesh import connected_proxies, open_api, running_workloads
from marline.cli.mesh_facts import (
    SERVICE_KINDS,
    WORKLOAD_KIND,
    ServiceFacts,
    WorkloadFacts,
    read_mesh,
    service_facts,
    workload_facts,
)
from marline.cli.options import Settings, mesh_options
from marline.cli.output import JSON, TABLE, YAML, dump, grid, output_option
from marline.cli.workloads import choose_workload, listens, state_of
from marline.mesh.model import MeshSettings
from marline.node.home import Home, load_config
from marline.node.workload import WorkloadStatus
from marline.store.interface import NotFound
from marline.store.remote.client import RemoteStore
from marline.xds.status import ProxyStatus

_WORKLOAD_WORDS: Final = ("workload", "workloads")


@dataclass(frozen=True, slots=True)
class Known:
    """All that was found out about one thing."""

    resource: dict[str, Any] | None = None
    events: tuple[dict[str, Any], ...] = ()
    services: tuple[ServiceFacts, ...] = ()
    workload: WorkloadFacts | None = None
    process: WorkloadStatus | None = None
    proxy: ProxyStatus | None = None

    def plain(self) -> dict[str, Any]:
        """As JSON says it; what is not known is left out."""
        found = {
            "resource": self.resource,
            "process": self.process,
            "proxy": self.proxy,
            "services": self.services,
            "workload": self.workload,
            "events": self.events,
        }
        return {name: value for name, value in found.items() if value not in (None, ())}


@click.command()
@click.argument("words", nargs=-1, required=True, metavar="KIND NAME", shell_complete=complete_kind)
@click.option("-n", "--namespace", default="default", show_default=True, metavar="NAMESPACE")
@output_option(TABLE, JSON, YAML)
@mesh_options
@click.pass_obj
def command(settings: Settings, words: tuple[str, ...], namespace: str, output: str) -> None:
    """Tell all about one resource: what stands in it, its conditions and events, and for services and
    workloads what the mesh makes of them.

    KIND is a kind of resource, or 'workload': then NAME is a workload of this machine, by its name, its
    beginning, or its service's name.
    """
    known = asyncio.run(_find_out(settings.home, words, namespace))
    if output == TABLE:
        click.echo(render(known, datetime.now(UTC)))
    else:
        dump(known.plain(), output)


async def _find_out(home: Home, words: Sequence[str], namespace: str) -> Known:
    kind, slash, name = words[0].partition("/")
    if kind in _WORKLOAD_WORDS:
        names = [name] if slash else words[1:]
        if len(names) != 1:
            raise click.UsageError("name one workload")
        return await _about_workload(home, names[0])
    targets = choose_targets(words)
    if len(targets) != 1 or not targets[0].name:
        raise click.UsageError("name one resource, as KIND NAME")
    return await _about_resource(home, targets[0], namespace)


async def _about_resource(home: Home, target: Target, namespace: str) -> Known:
    ref = ref_to(target, namespace)
    async with open_api(home) as store:
        obj = await store.get_object(ref)
        events = await store.list_objects("", "Event", ref.namespace)
        services: tuple[ServiceFacts, ...] = ()
        workload = None
        if (ref.group, ref.kind) in SERVICE_KINDS:
            services = service_facts(await read_mesh(store, settings_of(home)), ref)
        elif (ref.group, ref.kind) == WORKLOAD_KIND:
            workload = workload_facts(await read_mesh(store, settings_of(home)), ref)
    about = tuple(event for event in events if concerns(event, ref))
    return Known(without_managed_fields(obj), about, services, workload)


def concerns(event: dict[str, Any], ref: Ref) -> bool:
    """Is an Event about this resource?"""
    about = event.get("involvedObject", {})
    return (about.get("kind"), about.get("name"), about.get("namespace", "")) == (
        ref.kind,
        ref.name,
        ref.namespace,
    )


async def _about_workload(home: Home, name: str) -> Known:
    status = choose_workload(name, await running_workloads(home))
    ref = Ref(*WORKLOAD_KIND, status.namespace, status.name)
    async with open_api(home) as store:
        proxies = (await connected_proxies(store)).proxies
        mesh = await read_mesh(store, settings_of(home))
        events = await store.list_objects("", "Event", status.namespace)
        resource = await _entry(store, ref)
    return Known(
        resource=resource,
        events=tuple(event for event in events if concerns(event, ref)),
        workload=workload_facts(mesh, ref),
        process=status,
        proxy=next((item for item in proxies if item.node_id == status.node_id), None),
    )


async def _entry(store: RemoteStore, ref: Ref) -> dict[str, Any] | None:
    """The workload's entry; gateways have none."""
    try:
        return without_managed_fields(await store.get_object(ref))
    except NotFound:
        return None


def settings_of(home: Home) -> MeshSettings:
    """What is fixed about the mesh of a home."""
    config = load_config(home)
    if config is None:
        return MeshSettings()
    return MeshSettings(trust_domain=config.trust_domain, cluster_domain=config.cluster_domain)


def render(known: Known, now: datetime) -> str:
    """As text."""
    return description.sections(
        [
            describe_process(known.process) if known.process else "",
            f"Proxy:\n{proxy_status.render([known.proxy], time.time())}" if known.proxy else "",
            description.describe_object(known.resource, now) if known.resource and not known.process else "",
            *(description.describe_service(item) for item in known.services),
            description.describe_workload(known.workload) if known.workload else "",
            description.describe_events(known.events, now),
        ]
    )


def describe_process(status: WorkloadStatus) -> str:
    """A workload as its machine sees it."""
    return grid(
        [
            line
            for line in (
                ("Name:", status.name),
                ("Namespace:", status.namespace),
                ("Kind:", status.kind),
                ("Service:", status.service),
                ("Version:", status.version),
                ("State:", state_of(status)),
                ("Message:", status.message),
                ("Identity:", status.spiffe_id),
                ("Capture:", status.capture),
                ("Listens:", listens(status)),
                ("Application:", _process(status.app_pid, status.app_restarts)),
                ("Envoy:", _process(status.envoy_pid, status.envoy_restarts)),
                ("Hosted by:", f"process {status.owner_pid} ({status.application or 'marline run'})"),
                ("Log:", status.log_file),
            )
            if line[1]
        ]
    )


def _process(pid: int, restarts: int) -> str:
    return f"process {pid}, started again {restarts} times" if pid else ""
