"""How fast a change reaches every proxy, and what that costs the control plane.

    python benchmarks/control_plane.py [--services 1000] [--endpoints 2] [--clients 100] [--changes 30]
                                       [--json FILE] [--quick]

The control plane is the real process with its database on disk. A mesh is written through its HTTP API;
simulated proxies connect to its Unix socket (ads_clients.py); then single changes are written through the
API, each after the one before has been acknowledged by all. A change's time is from before the request
is sent until the last proxy has acknowledged. docs/benchmarks.md has more.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from ending import run_to_the_end
from envoys import cpu_seconds, resident_mb
from marline.node.agent import ControlPlane
from marline.node.home import Home, MeshConfig, new_mesh_id, save_config
from marline.node.ports import Reservations
from marline.store.remote.client import RemoteStore
from marline.xds import status
from population import Change, endpoint_changes, weight_changes, write
from report import document, quantile, save, say, table

_CLIENTS = Path(__file__).with_name("ads_clients.py")
_START_SECONDS = 30.0
_SYNC_SECONDS = 120.0
_CHANGE_SECONDS = 30.0


@asynccontextmanager
async def control_plane(home: Home) -> AsyncIterator[ControlPlane]:
    """The process, started and watched as the node agent does. Raises `StartFailed`."""
    home.create()
    ports = Reservations()
    try:
        save_config(home, MeshConfig(mesh_id=new_mesh_id(), api_port=ports.port()))
        plane = ControlPlane(home, asyncio.Event(), lambda: None)
        async with plane.running():
            yield plane
    finally:
        ports.release()


class Fleet:
    """The process of the simulated proxies."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def send(self, **command: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command).encode() + b"\n")
        await self._process.stdin.drain()

    async def hear(self, said: str, seconds: float) -> dict[str, Any]:
        """The next thing that it says, which must be this. Raises TimeoutError, SystemExit."""
        assert self._process.stdout is not None
        async with asyncio.timeout(seconds):
            line = await self._process.stdout.readline()
        answer: dict[str, Any] = json.loads(line) if line else {"said": "nothing more"}
        if answer["said"] != said:
            raise SystemExit(f"the simulated proxies say {answer['said']}, not {said}")
        return answer


@asynccontextmanager
async def fleet(socket: Path, count: int) -> AsyncIterator[Fleet]:
    command = [sys.executable, str(_CLIENTS), "--socket", str(socket), "--count", str(count)]
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, start_new_session=True
    )
    clients = Fleet(process)
    try:
        await clients.hear("started", _START_SECONDS)
        yield clients
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


@dataclass(frozen=True, slots=True)
class Step:
    """What one change took: milliseconds, bytes to all proxies, CPU milliseconds of the control plane."""

    last_ack: float
    first_ack: float
    answered: float
    """Until the API had answered the request, the change being on disk."""
    bytes: int
    cpu: float


async def connect(
    clients: Fleet, plane: ControlPlane, services: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """All proxies at once; returns figures, and the resources that each of them has then."""
    cpu, begun = cpu_seconds([plane.pid]), time.monotonic()
    await clients.send(do="connect", virtual_hosts=services)
    answer = await clients.hear("synced", _SYNC_SECONDS)
    made = {
        "seconds": round(answer["at"] - begun, 3),
        "cpu_seconds": round(cpu_seconds([plane.pid]) - cpu, 3),
        "bytes": answer["bytes"],
    }
    return made, answer["resources"]


async def confirm(store: RemoteStore, count: int) -> None:
    """The control plane must be of the same opinion: every proxy has everything, and nothing else."""
    # The last acknowledgements may have been sent and not read yet.
    awaited = {status.SETTLED_AT: "1", status.CONNECTED: str(count)}
    answer = await store.request("GET", status.PATH, params=awaited)
    proxies = msgspec.json.decode(answer.body, type=status.ProxyList).proxies
    synced = sum(proxy.state == status.SYNCED for proxy in proxies)
    if (synced, len(proxies)) != (count, count):
        raise SystemExit(f"{synced} of {len(proxies)} proxies are in sync, where {count} should be")


async def apply(change: Change, store: RemoteStore, clients: Fleet, plane: ControlPlane) -> Step:
    """Make one change, and wait until every proxy has it."""
    await clients.send(do="expect", type=change.type_url, name=change.name)
    before = await clients.hear("expecting", _CHANGE_SECONDS)
    cpu, begun = cpu_seconds([plane.pid]), time.monotonic()
    await change.write(store)
    answered = time.monotonic()
    after = await clients.hear("acknowledged", _CHANGE_SECONDS)
    return Step(
        (after["at"] - begun) * 1e3,
        (after["first"] - begun) * 1e3,
        (answered - begun) * 1e3,
        after["bytes"] - before["bytes"],
        (cpu_seconds([plane.pid]) - cpu) * 1e3,
    )


def summary(steps: list[Step]) -> dict[str, Any]:
    def middle(name: str, q: float = 0.5) -> float:
        return round(quantile([getattr(step, name) for step in steps], q), 2)

    return {
        "changes": len(steps),
        "last_ack_p50_ms": middle("last_ack"),
        "last_ack_p99_ms": middle("last_ack", 0.99),
        "first_ack_p50_ms": middle("first_ack"),
        "api_answer_p50_ms": middle("answered"),
        "bytes_per_change": round(middle("bytes")),
        "cpu_ms_per_change": middle("cpu"),
    }


async def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    home = Home(folder / "mesh")
    async with control_plane(home) as plane, RemoteStore.from_kubeconfig(home.kubeconfig) as store:
        say(f"writing {options.services} services with {options.endpoints} endpoints each")
        begun = time.monotonic()
        written = await write(store, options.services, options.endpoints)
        result: dict[str, Any] = {
            "write": {"objects": written, "seconds": round(time.monotonic() - begun, 3)},
            "resident_mb_without_proxies": round(resident_mb(plane.pid), 1),
        }
        async with fleet(home.xds_socket, options.clients) as clients:
            say(f"connecting {options.clients} proxies")
            result["connect"], result["resources_per_proxy"] = await connect(clients, plane, options.services)
            await confirm(store, options.clients)
            kinds: dict[str, Iterable[Change]] = {
                "endpoint": endpoint_changes(options.services, options.changes),
                "route_weight": weight_changes(options.services, options.changes),
            }
            for name, changes in kinds.items():
                say(f"making {options.changes} changes: {name}")
                result[name] = summary([await apply(each, store, clients, plane) for each in changes])
            await confirm(store, options.clients)
            result["resident_mb"] = round(resident_mb(plane.pid), 1)
            result["cpu_seconds"] = round(cpu_seconds([plane.pid]), 2)
    return result


def shown(result: dict[str, Any], clients: int) -> str:
    names = {"endpoint": "an endpoint's health", "route_weight": "a route's weight"}
    rows = [
        (
            title,
            f"{result[name]['last_ack_p50_ms']:.1f}",
            f"{result[name]['last_ack_p99_ms']:.1f}",
            f"{result[name]['first_ack_p50_ms']:.1f}",
            f"{result[name]['api_answer_p50_ms']:.1f}",
            f"{result[name]['bytes_per_change']:,}",
            f"{result[name]['cpu_ms_per_change']:.1f}",
        )
        for name, title in names.items()
    ]
    titles = ("change of", "last ACK p50 ms", "p99", "first ACK p50", "API p50", "bytes sent", "CPU ms")
    wrote, connected = result["write"], result["connect"]
    text = f"""
{wrote["objects"]:,} objects written through the API in {wrote["seconds"]:.1f} s
{clients} proxies in sync after {connected["seconds"]:.2f} s: {connected["bytes"] / 1e6:.1f} MB sent, \
{connected["cpu_seconds"]:.2f} s of CPU
control plane: {result["resident_mb"]:.0f} MB resident, {result["resident_mb_without_proxies"]:.0f} MB \
before proxies connected, {result["cpu_seconds"]:.1f} s of CPU in all"""
    return f"{table(titles, rows)}\n{text}"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--services", type=int, default=1000)
    parser.add_argument("--endpoints", type=int, default=2, help="of each service")
    parser.add_argument("--clients", type=int, default=100, help="simulated proxies")
    parser.add_argument("--changes", type=int, default=30, help="of each kind")
    parser.add_argument("--quick", action="store_true", help="see that it works, in some seconds")
    parser.add_argument("--json", default="", metavar="FILE", help="also write the figures there")
    options = parser.parse_args()
    if options.quick:
        options.services, options.clients, options.changes = 50, 10, 4
    return options


def main() -> None:
    options = _options()
    with tempfile.TemporaryDirectory(prefix="marline-bench-") as folder:
        result = run_to_the_end(measure(options, Path(folder)))
    parameters = {name: getattr(options, name) for name in ("services", "endpoints", "clients", "changes")}
    print(shown(result, options.clients))
    save(options.json, document(parameters, result))


if __name__ == "__main__":
    main()
