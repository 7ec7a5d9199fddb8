"""Network namespaces of workloads: what is captured, who answers names, what is left at the end."""

import asyncio
import os
import secrets
import socket
import struct
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from marline.mesh.names import NameTable
from marline.node import network, nftables
from marline.node.capture import Names, TransparentNetwork
from marline.node.envoy import PROXY_GID
from marline.node.home import MeshConfig
from marline.node.namespace import socket_in
from marline.node.plan import Place
from marline.node.process import Launch, spawn

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
]

SERVICE_IP = "10.96.3.7"
SO_ORIGINAL_DST = 80


class FixedNames(Names):
    """Names that no store has to be asked for."""

    def __init__(self) -> None:
        self.table = NameTable(
            "cluster.local",
            {"reviews.default.svc.cluster.local": (SERVICE_IP,)},
            {".wild.example": ("240.240.0.9",)},
        )


@dataclass
class Mesh:
    config: MeshConfig
    network: TransparentNetwork
    stack: AsyncExitStack
    tmp: Path

    async def workload(self, namespace: str = "default", datagrams: tuple[int, ...] = ()) -> Place:
        short_id = secrets.token_hex(5)
        return await self.stack.enter_async_context(
            self.network.place(namespace, short_id, self.tmp / f"{short_id}.conf", datagrams)
        )


@asynccontextmanager
async def mesh(tmp: Path) -> AsyncIterator[Mesh]:
    config = MeshConfig(mesh_id=secrets.token_hex(3), capture="transparent")
    made = TransparentNetwork(config, FixedNames())
    await made.start(owner=True)
    try:
        async with AsyncExitStack() as stack:
            yield Mesh(config, made, stack, tmp)
    finally:
        await made.stop(owner=True)


async def python(place: Place, code: str, *, gid: int | None = None) -> str:
    """What a Python program prints inside a workload's namespace."""
    log = Path(place.resolv_conf).with_name(f"{secrets.token_hex(4)}.log")
    command = (sys.executable, "-I", "-c", code)
    process = await spawn(
        Launch(command, {}, log=log, netns=place.netns, resolv_conf=place.resolv_conf, gid=gid)
    )
    await process.wait()
    return log.read_text().strip()


async def original_destination(
    place: Place, port: int, from_netns: str, address: tuple[str, int]
) -> tuple[str, int]:
    """Where a connection was going that arrives at a port of the namespace's Envoy."""
    loop = asyncio.get_running_loop()
    with socket_in(place.netns, socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("", port))
        listener.listen()
        with socket_in(from_netns, socket.AF_INET, socket.SOCK_STREAM) as client:
            async with asyncio.timeout(5):
                await loop.sock_connect(client, address)
                accepted, _ = await loop.sock_accept(listener)
        with accepted:
            raw = accepted.getsockopt(socket.SOL_IP, SO_ORIGINAL_DST, 16)
    number, packed = struct.unpack_from("!2xH4s", raw)
    return socket.inet_ntoa(packed), number


async def test_outgoing_connections_arrive_at_the_outbound_listener(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        place = await made.workload()
        found = await original_destination(place, network.OUTBOUND_PORT, place.netns, (SERVICE_IP, 9080))
        assert found == (SERVICE_IP, 9080)


async def test_connections_of_peers_and_of_the_machine_arrive_at_the_inbound_listener(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        place = await made.workload()
        found = await original_destination(place, network.INBOUND_PORT, "", (place.address, 9080))
        assert found == (place.address, 9080)


async def sent(from_netns: str, place: Place, port: int) -> bool:
    """Does a datagram to a port of a workload arrive there?"""
    loop = asyncio.get_running_loop()
    with (
        socket_in(place.netns, socket.AF_INET, socket.SOCK_DGRAM) as server,
        socket_in(from_netns, socket.AF_INET, socket.SOCK_DGRAM) as client,
    ):
        server.bind(("", port))
        await loop.sock_sendto(client, b"hello", (place.address, port))
        try:
            async with asyncio.timeout(1):
                return await loop.sock_recv(server, 10) == b"hello"
        except TimeoutError:
            return False


async def test_datagrams_arrive_at_declared_ports_only(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        place, peer = await made.workload(datagrams=(7000, 7002)), await made.workload()
        for sender in ("", peer.netns):
            assert [await sent(sender, place, port) for port in (7000, 7001, 7002)] == [True, False, True]
        assert not await sent(place.netns, peer, 7000)


async def test_connections_to_a_port_that_takes_datagrams_are_captured_still(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        place = await made.workload(datagrams=(9080,))
        found = await original_destination(place, network.INBOUND_PORT, "", (place.address, 9080))
        assert found == (place.address, 9080)


async def test_answers_to_a_workloads_own_datagrams_arrive(tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    async with mesh(tmp_path) as made:
        place = await made.workload()
        gateway = str(network.find_bridge(made.config.mesh_id).gateway)  # type: ignore[union-attr]
        with (
            socket_in("", socket.AF_INET, socket.SOCK_DGRAM) as server,
            socket_in(place.netns, socket.AF_INET, socket.SOCK_DGRAM) as client,
        ):
            server.bind((gateway, 0))
            async with asyncio.timeout(5):
                await loop.sock_sendto(client, b"question", server.getsockname())
                _, asking = await loop.sock_recvfrom(server, 10)
                await loop.sock_sendto(server, b"answer", asking)
                assert await loop.sock_recv(client, 10) == b"answer"


async def test_envoys_own_connections_are_not_captured(tmp_path: Path) -> None:
    code = "import socket,sys; print(socket.create_connection((sys.argv[1],9), 3).getpeername()[0])"
    async with mesh(tmp_path) as made:
        place = await made.workload()
        loop = asyncio.get_running_loop()
        gateway = str(network.find_bridge(made.config.mesh_id).gateway)  # type: ignore[union-attr]
        with socket.create_server((gateway, 0)) as listener:
            listener.setblocking(False)
            port = listener.getsockname()[1]
            asked = code.replace("sys.argv[1],9", f"'{gateway}',{port}")
            printed = await python(place, asked, gid=PROXY_GID)
            accepted, peer = await loop.sock_accept(listener)
            accepted.close()
        assert (printed, peer[0]) == (gateway, place.address)


async def test_loopback_is_left_alone(tmp_path: Path) -> None:
    code = (
        "import socket; s=socket.create_server(('127.0.0.1',0));"
        "c=socket.create_connection(s.getsockname(),3); print(s.accept()[1]==c.getsockname())"
    )
    async with mesh(tmp_path) as made:
        assert await python(await made.workload(), code) == "True"


@pytest.mark.parametrize(
    "name, address",
    [
        ("reviews", SERVICE_IP),
        ("reviews.default", SERVICE_IP),
        ("reviews.default.svc", SERVICE_IP),
        ("reviews.default.svc.cluster.local", SERVICE_IP),
        ("REVIEWS.default.SVC.cluster.local.", SERVICE_IP),
        ("any.wild.example", "240.240.0.9"),
    ],
)
async def test_service_names_resolve(name: str, address: str, tmp_path: Path) -> None:
    code = f"import socket; print(socket.gethostbyname({name!r}))"
    async with mesh(tmp_path) as made:
        assert await python(await made.workload(), code) == address


async def test_a_name_of_the_mesh_that_nobody_has_does_not_exist(tmp_path: Path) -> None:
    name = "nobody.default.svc.cluster.local"
    code = (
        f"import socket\ntry: socket.gethostbyname({name!r})\n"
        "except socket.gaierror as e: print(e.errno == socket.EAI_NONAME)"
    )
    async with mesh(tmp_path) as made:
        assert await python(await made.workload(), code) == "True"


async def test_two_meshes_side_by_side_leave_nothing(tmp_path: Path) -> None:
    async with mesh(tmp_path) as one, mesh(tmp_path) as other:
        ids = (one.config.mesh_id, other.config.mesh_id)
        first, second = await one.workload(), await other.workload()
        assert first.address.rpartition(".")[0] != second.address.rpartition(".")[0]
        assert {network.bridge_name(mesh_id) for mesh_id in ids} <= links()
        assert len(veths(*ids)) == 2
    assert links().isdisjoint(network.bridge_name(mesh_id) for mesh_id in ids)
    assert veths(*ids) == set()
    assert set(nftables.tables(nftables.IPV4)).isdisjoint(network.host_table(mesh_id) for mesh_id in ids)


async def test_leftovers_of_a_killed_owner_are_removed(tmp_path: Path) -> None:
    config = MeshConfig(mesh_id=secrets.token_hex(3), capture="transparent")
    await TransparentNetwork(config, FixedNames()).start(owner=True)
    again = TransparentNetwork(config, FixedNames())
    await again.start(owner=True)
    await again.stop(owner=True)
    assert network.find_bridge(config.mesh_id) is None
    assert network.host_table(config.mesh_id) not in nftables.tables(nftables.IPV4)


def links() -> set[str]:
    return {name for _, name in socket.if_nameindex()}


def veths(*mesh_ids: str) -> set[str]:
    return {name for name in links() if name.startswith(tuple(f"mrl{mesh_id}" for mesh_id in mesh_ids))}
