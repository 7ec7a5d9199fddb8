"""Who may ask the SDS server for a key: the Envoy of this agent, and nobody else."""

import asyncio
import os
import socket
import stat
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest
from envoy.service.discovery.v3 import discovery_pb2
from identity_mesh import SERVER_ID, new_authority, proxied, server_resources, signer

from marline.compile.tls import BUNDLE_SECRET, SVID_SECRET
from marline.identity.agent import serve_svid
from marline.identity.peers import Allowed, PeerCredentials, only_process
from marline.identity.sds import METHOD

ASK = f"""
import grpc, sys
channel = grpc.insecure_channel("unix:" + sys.argv[1])
call = channel.stream_stream({METHOD!r})
try:
    print(len(next(call(iter([bytes.fromhex(sys.argv[2])])))))
except grpc.RpcError as error:
    print(error.code().name)
"""
REQUEST = discovery_pb2.DiscoveryRequest(resource_names=[SVID_SECRET, BUNDLE_SECRET])


@asynccontextmanager
async def served(directory: Path, allowed: Allowed) -> AsyncIterator[str]:
    sign = signer(new_authority(directory / "ca", time.time()), time.time)
    path = directory / "sds.sock"
    async with serve_svid(SERVER_ID, path, allowed, sign) as source:
        await source.first()
        yield str(path)


async def ask_from_another_process(path: str) -> str:
    """The size of the first response, or the name of the error."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", ASK, path, REQUEST.SerializeToString().hex(), stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    return output.decode().strip()


def ask_here(path: str, method: str, request: bytes) -> bytes:
    with grpc.insecure_channel(f"unix:{path}") as channel:
        return bytes(next(channel.stream_stream(method)(iter([request]))))


async def ask(path: str, method: str = METHOD, request: bytes = b"") -> discovery_pb2.DiscoveryResponse:
    """The first response to this process; raises `grpc.RpcError`."""
    answer = await asyncio.to_thread(ask_here, path, method, request or REQUEST.SerializeToString())
    return discovery_pb2.DiscoveryResponse.FromString(answer)


async def test_the_allowed_process_gets_key_and_bundle(tmp_path: Path) -> None:
    async with served(tmp_path, only_process(os.getpid)) as path:
        response = await ask(path)
    assert len(response.resources) == 2
    assert b"PRIVATE KEY" in response.resources[0].value + response.resources[1].value


async def test_another_process_is_refused(tmp_path: Path) -> None:
    async with served(tmp_path, only_process(os.getpid)) as path:
        assert await ask_from_another_process(path) == "PERMISSION_DENIED"


async def test_a_process_beside_a_running_envoy_is_refused(tmp_path: Path) -> None:
    sign = signer(new_authority(tmp_path / "ca", time.time()), time.time)
    async with proxied(tmp_path / "server", server_resources(1), SERVER_ID, sign) as running:
        path = str(running.envoy.directory / "sds.sock")
        assert await ask_from_another_process(path) == "PERMISSION_DENIED"


async def test_another_user_is_refused(tmp_path: Path) -> None:
    seen: list[PeerCredentials] = []
    as_other = only_process(os.getpid)

    def allowed(peer: PeerCredentials) -> bool:
        seen.append(peer)
        return as_other(PeerCredentials(peer.pid, peer.uid + 1, peer.gid))

    async with served(tmp_path, allowed) as path:
        with pytest.raises(grpc.RpcError) as refused:
            await ask(path)
    assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert seen[0] == PeerCredentials(os.getpid(), os.geteuid(), os.getegid())


async def test_a_connection_made_by_a_process_that_has_ended_is_refused(tmp_path: Path) -> None:
    """Its pid may have been given to the Envoy since."""
    probe = socket.socket(socket.AF_UNIX)
    with probe, socket.socket(socket.AF_UNIX) as other:
        probe.bind(str(tmp_path / "probe"))
        probe.listen()
        other.connect(str(tmp_path / "probe"))
        try:
            other.getsockopt(socket.SOL_SOCKET, 77)
        except OSError:
            pytest.skip("the kernel has no SO_PEERPIDFD")
    async with served(tmp_path, lambda _: True) as path:
        inherited = connect_in_a_child(path)  # while nothing is accepted here
        with inherited:
            inherited.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_sendall(
                inherited, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\4\0\0\0\0\0"
            )
            async with asyncio.timeout(10):  # a connection that is not refused stays open
                while await loop.sock_recv(inherited, 4096):
                    pass


def connect_in_a_child(path: str) -> socket.socket:
    """A connection that a process made which has handed it on and ended, before it is accepted."""
    ours, theirs = socket.socketpair()
    script = (
        "import socket, sys\n"
        "made = socket.socket(socket.AF_UNIX); made.connect(sys.argv[1])\n"
        "socket.send_fds(socket.socket(fileno=int(sys.argv[2])), [b'x'], [made.fileno()])\n"
    )
    with ours, theirs:
        command = [sys.executable, "-c", script, path, str(theirs.fileno())]
        subprocess.run(command, pass_fds=[theirs.fileno()], check=True)
        _, descriptors, _, _ = socket.recv_fds(ours, 1, 1)
    return socket.socket(fileno=descriptors[0])


async def test_the_socket_is_for_its_owner_only_and_goes_away(tmp_path: Path) -> None:
    socket_file = tmp_path / "sds.sock"
    async with served(tmp_path, only_process(os.getpid)):
        mode = stat.S_IMODE(socket_file.stat().st_mode)
    assert mode == 0o600
    assert not socket_file.exists()


async def test_only_stream_secrets_is_served(tmp_path: Path) -> None:
    async with served(tmp_path, only_process(os.getpid)) as path:
        with pytest.raises(grpc.RpcError) as refused:
            await ask(path, METHOD.replace("Stream", "Delta"))
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_a_huge_message_ends_the_call(tmp_path: Path) -> None:
    huge = discovery_pb2.DiscoveryRequest(version_info="x" * 100_000).SerializeToString()
    async with served(tmp_path, only_process(os.getpid)) as path:
        with pytest.raises(grpc.RpcError) as refused:
            await ask(path, request=huge)
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert len((await ask(path)).resources) == 2


async def test_a_message_that_is_no_request_ends_the_call(tmp_path: Path) -> None:
    async with served(tmp_path, only_process(os.getpid)) as path:
        with pytest.raises(grpc.RpcError) as refused:
            await ask(path, request=b"\xff" * 20)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
