"""Single checks of an application: HTTP, TCP, gRPC health, a command. Each returns "" or why it failed.

They connect from inside the workload's network namespace, to its loopback, so they are not captured.
"""

import asyncio
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import aiohttp
import h2.config
import h2.connection
import h2.events
import h2.exceptions

from marline.node.errors import StartFailed
from marline.node.namespace import socket_in
from marline.node.probes import Check
from marline.node.process import Launch, spawn
from marline.node.workload import ExecCheck, GrpcCheck, HttpCheck, ProbeSpec

LOOPBACK: Final = "127.0.0.1"
_SERVING: Final = 1
"""grpc.health.v1.HealthCheckResponse.ServingStatus.SERVING"""
_MAX_ANSWER: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Target:
    """The application that is checked."""

    ports: Mapping[int, int]
    """The service's port → the application's."""
    netns: str = ""

    def port(self, asked: int) -> int:
        """A probe may name either; 0 is the first."""
        if not asked:
            return next(iter(self.ports.values()), 0)
        return self.ports.get(asked, asked)


def check_of(spec: ProbeSpec, target: Target, launch: Launch) -> Check:
    """The check that a probe describes; `launch` is how the application runs, for commands."""
    if spec.http is not None:
        http = spec.http
        return lambda: check_http(http, target.port(http.port), target.netns)
    if spec.grpc is not None:
        grpc = spec.grpc
        return lambda: check_grpc(grpc, target.port(grpc.port), target.netns)
    if spec.exec is not None:
        command = spec.exec
        return lambda: check_exec(command, launch)
    port = target.port(spec.tcp.port if spec.tcp is not None else 0)
    return lambda: check_tcp(port, target.netns)


async def connect(port: int, netns: str) -> socket.socket:
    """Raises OSError."""
    made = socket_in(netns, socket.AF_INET, socket.SOCK_STREAM)
    try:
        await asyncio.get_running_loop().sock_connect(made, (LOOPBACK, port))
    except BaseException:
        made.close()
        raise
    return made


async def check_tcp(port: int, netns: str) -> str:
    """Does it take connections?"""
    try:
        (await connect(port, netns)).close()
    except OSError as error:
        return f"port {port}: {_reason(error)}"
    return ""


def _reason(error: OSError) -> str:
    """asyncio's own words repeat the address."""
    return os.strerror(error.errno) if error.errno else str(error)


async def check_all_ports(target: Target) -> str:
    """Does it take connections on all its ports?"""
    for port in target.ports.values():
        reason = await check_tcp(port, target.netns)
        if reason:
            return reason
    return ""


async def check_http(spec: HttpCheck, port: int, netns: str) -> str:
    """200 to 399 is success, as in Kubernetes; redirects are not followed."""
    connector = aiohttp.TCPConnector(
        socket_factory=lambda info: socket_in(netns, info[0], info[1]), force_close=True
    )
    path = spec.path if spec.path.startswith("/") else f"/{spec.path}"
    headers = {"User-Agent": "marline-probe", **spec.headers}
    try:
        async with (
            aiohttp.ClientSession(connector=connector, trust_env=False) as session,
            session.get(
                f"http://{LOOPBACK}:{port}{path}", headers=headers, allow_redirects=False
            ) as response,
        ):
            return "" if 200 <= response.status < 400 else f"GET {path} on port {port}: {response.status}"
    except (aiohttp.ClientError, OSError) as error:
        return f"GET {path} on port {port}: {error}"


async def check_exec(spec: ExecCheck, launch: Launch) -> str:
    """Success is exit code 0. It runs as the application does, where it does; its output is logged there."""
    try:
        process = await spawn(replace(launch, command=spec.command, inherit_stdin=False))
    except StartFailed as error:
        return str(error)
    try:
        code = await process.wait()
    finally:
        await process.end(0)
    return "" if code == 0 else f"{spec.command[0]} ended with {code}"


async def check_grpc(spec: GrpcCheck, port: int, netns: str) -> str:
    """grpc.health.v1.Health/Check (github.com/grpc/grpc, doc/health-checking.md), SERVING is success."""
    try:
        reader, writer = await asyncio.open_connection(sock=await connect(port, netns))
    except OSError as error:
        return f"port {port}: {_reason(error)}"
    try:
        return await _ask_health(spec.service, port, reader, writer)
    except (OSError, h2.exceptions.ProtocolError) as error:
        return f"port {port}: no gRPC answer: {error}"
    finally:
        writer.close()


async def _ask_health(
    service: str, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> str:
    name = service.encode()
    body = b"\x0a" + _varint(len(name)) + name if name else b""
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    connection.initiate_connection()
    headers = [
        (":method", "POST"), (":scheme", "http"), (":path", "/grpc.health.v1.Health/Check"),
        (":authority", f"{LOOPBACK}:{port}"), ("te", "trailers"), ("content-type", "application/grpc"),
        ("user-agent", "marline-probe"),
    ]  # fmt: skip
    connection.send_headers(1, headers)
    connection.send_data(1, b"\0" + len(body).to_bytes(4) + body, end_stream=True)
    answer = HealthAnswer()
    while not answer.ended:
        writer.write(connection.data_to_send())
        await writer.drain()
        data = await reader.read(_MAX_ANSWER)
        if not data:
            return f"port {port}: the connection was closed"
        for event in connection.receive_data(data):
            answer.take(event)
            if isinstance(event, h2.events.DataReceived):
                connection.acknowledge_received_data(event.flow_controlled_length, 1)
    return f"port {port}: {answer.fault}" if answer.fault else ""


@dataclass(slots=True)
class HealthAnswer:
    """What an HTTP/2 stream says about health, event by event."""

    ended: bool = False
    status: str = ""
    message: str = ""
    _body: bytes = b""

    def take(self, event: h2.events.Event) -> None:
        if isinstance(event, (h2.events.ResponseReceived, h2.events.TrailersReceived)):
            for raw_name, raw_value in event.headers or ():
                name, value = _text(raw_name), _text(raw_value)
                if name == "grpc-status":
                    self.status = value
                elif name == "grpc-message":
                    self.message = value
        elif isinstance(event, h2.events.DataReceived):
            self._body = (self._body + (event.data or b""))[:_MAX_ANSWER]
        elif isinstance(
            event, (h2.events.StreamEnded, h2.events.StreamReset, h2.events.ConnectionTerminated)
        ):
            self.ended = True

    @property
    def fault(self) -> str:
        """Why this is not the answer SERVING; ""."""
        if self.status != "0":
            return f"gRPC status {self.status or 'missing'} {self.message}".rstrip()
        # A frame's header is a flag and four bytes of length; the message has one field, an enum.
        found = self._body[5:]
        serving = found[:1] == b"\x08" and found[1:2] == bytes([_SERVING])
        return "" if serving else "not serving"


def _text(value: bytes | str) -> str:
    return value.decode("ascii", "replace") if isinstance(value, bytes) else value


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*found, number])
