"""The node agent's control socket: JSON lines over `run/node.sock`, one request and its answer each."""

import asyncio
from collections.abc import Sequence
from typing import Final

import msgspec

from marline.node.application import Application
from marline.node.errors import AgentRefused, NotRunning
from marline.node.home import Home
from marline.node.workload import WorkloadStatus

MAX_LINE: Final = 4 * 1024 * 1024
"""Bytes of one request or answer."""
_ANSWER_SECONDS: Final = 30.0
"""How long the agent may take for what it does at once."""
_DOWN_SECONDS: Final = 120.0
"""More than the end of gateways and workloads takes at most."""


class Request(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a client asks of the agent."""

    op: str
    """`up`, `down`, `list`, `info`, `stop` or `wait`."""
    application: Application | None = None
    names: tuple[str, ...] = ()
    timeout: float = 0.0


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the agent says to a request: a result or one sentence."""

    error: str = ""
    workloads: tuple[WorkloadStatus, ...] = ()
    info: "AgentInfo | None" = None


class AgentInfo(msgspec.Struct, frozen=True):
    """The agent and its mesh, as `marline up` and `marline status` show them."""

    pid: int
    mesh_id: str
    capture: str
    control_plane_pid: int
    """0 while there is none."""
    control_plane_ready: bool
    control_plane_restarts: int
    applications: tuple[str, ...] = ()


class NodeClient:
    """A client of one agent. Every call opens its own connection; raises `NotRunning`, `AgentRefused`."""

    def __init__(self, home: Home) -> None:
        self._home = home

    async def up(self, application: Application) -> tuple[WorkloadStatus, ...]:
        """Make the agent run this application: start what is new, replace what differs, stop what is
        gone. Returns at once; `wait` tells when all is ready."""
        return (await self._ask(Request("up", application=application))).workloads

    async def wait(self, timeout: float) -> tuple[WorkloadStatus, ...]:
        """Until every workload is ready, or `timeout` seconds are over; the state at that time."""
        return (await self._ask(Request("wait", timeout=timeout), timeout + _ANSWER_SECONDS)).workloads

    async def down(self, names: Sequence[str] = ()) -> tuple[WorkloadStatus, ...]:
        """Stop these applications, services or workloads; none: all. Returns what was stopped, once it
        is."""
        return (await self._ask(Request("down", names=tuple(names)), _DOWN_SECONDS)).workloads

    async def list(self) -> tuple[WorkloadStatus, ...]:
        """All workloads and gateways on this machine, also those of `marline run`."""
        return (await self._ask(Request("list"))).workloads

    async def info(self) -> AgentInfo:
        answer = await self._ask(Request("info"))
        if answer.info is None:
            raise AgentRefused("the node agent gave no answer")
        return answer.info

    async def stop(self) -> None:
        """End the agent with everything that it runs; returns when it begins to."""
        await self._ask(Request("stop"))

    async def _ask(self, request: Request, seconds: float = _ANSWER_SECONDS) -> Answer:
        try:
            async with asyncio.timeout(seconds):
                line = await self._exchange(msgspec.json.encode(request) + b"\n")
        except TimeoutError as error:
            raise AgentRefused(f"the node agent does not answer within {seconds:g} s") from error
        except (OSError, asyncio.IncompleteReadError) as error:
            raise NotRunning(str(self._home.path)) from error
        if not line:
            raise NotRunning(str(self._home.path))
        answer = msgspec.json.decode(line, type=Answer)
        if answer.error:
            raise AgentRefused(answer.error)
        return answer

    async def _exchange(self, line: bytes) -> bytes:
        reader, writer = await asyncio.open_unix_connection(str(self._home.node_socket), limit=MAX_LINE)
        try:
            writer.write(line)
            await writer.drain()
            return await reader.readline()
        finally:
            writer.close()


def encode_answer(answer: Answer) -> bytes:
    return msgspec.json.encode(answer) + b"\n"


def decode_request(line: bytes) -> Request:
    """Raises `AgentRefused`."""
    try:
        return msgspec.json.decode(line, type=Request)
    except msgspec.DecodeError as error:
        raise AgentRefused(f"not a request: {error}") from error
