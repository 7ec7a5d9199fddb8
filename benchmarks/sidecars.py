"""A sidecar pair of Marline: a whole mesh in a home of its own, with one caller and one application.

    load ── client sidecar ══ mTLS ══ server sidecar ── application

Capture is explicit, so it runs as any user. The caller is not an application of the mesh but the load
generator, which connects to the listener that the client's sidecar has for its declared upstream.
"""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from envoys import ask_admin, command
from handwritten import backend
from marline.mesh.proxy import from_metadata
from marline.node.application import Application, PlannedWorkload
from marline.node.control import NodeClient
from marline.node.home import Home
from marline.node.lifecycle import StartSettings, start_detached, stop
from marline.node.workload import PortSpec, UpstreamSpec, WorkloadSpec, WorkloadStatus

_READY_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class SidecarPair:
    """What there is to load and to measure."""

    port: int
    """Where the caller's sidecar stands for the application."""
    client: WorkloadStatus
    server: WorkloadStatus
    workers: int
    """Worker threads of each sidecar."""

    @property
    def pids(self) -> tuple[int, int]:
        return (self.client.envoy_pid, self.server.envoy_pid)


@contextmanager
def sidecar_pair(folder: Path, app_port: int) -> Iterator[SidecarPair]:
    """A running pair whose application listens at `app_port`. Raises `NodeError`, `SystemExit`."""
    home = Home(folder / "mesh")
    try:
        client, server = asyncio.run(_start(home, _application(folder, app_port)))
        yield SidecarPair(_upstream(Path(client.admin_socket)), client, server, _workers(client))
    finally:
        asyncio.run(stop(home))


def _application(folder: Path, app_port: int) -> Application:
    config = folder / "application.json"
    config.write_text(json.dumps(backend(app_port)))
    ports = (PortSpec("http", 80, target_port=app_port),)
    server = WorkloadSpec("echo", tuple(command(config, 1)), ports=ports)
    client = WorkloadSpec("load", ("sleep", "infinity"), upstreams=(UpstreamSpec("echo", 80),))
    return Application("benchmark", (PlannedWorkload(server), PlannedWorkload(client)))


async def _start(home: Home, application: Application) -> tuple[WorkloadStatus, WorkloadStatus]:
    await start_detached(home, StartSettings(capture="explicit"))
    agent = NodeClient(home)
    await agent.up(application)
    found = {item.service: item for item in await agent.wait(_READY_SECONDS)}
    for item in found.values():
        if not item.ready:
            raise SystemExit(f"{item.name} is not ready: {item.state}; {item.message}")
    return found["load"], found["echo"]


def _upstream(admin_socket: Path) -> int:
    """The port that a caller is told: it stands in the bootstrap, beside the admin socket."""
    node = json.loads((admin_socket.parent / "bootstrap.json").read_text())["node"]
    return from_metadata(node["id"], node["metadata"]).workloads[0].upstreams[0].listen


def _workers(client: WorkloadStatus) -> int:
    info = json.loads(ask_admin(Path(client.admin_socket), "/server_info"))
    return int(info["command_line_options"]["concurrency"])
