"""A Workload API with a real authority behind it, and processes that call it with the `spiffe` package."""

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from identity_mesh import new_authority, signer

from marline.identity.agent import SvidSource
from marline.identity.endpoint import SignEndpoint
from marline.identity.jwt_keys import JwtKeys
from marline.identity.selectors import parse_selector
from marline.identity.spiffe import SpiffeId, parse
from marline.identity.trust_endpoint import TrustEndpoint, bundles_of, token_of, token_request
from marline.identity.workload_server import Owns, Registered, WorkloadServer

BACKUP = "spiffe://cluster.local/ns/default/sa/backup"
REPORTS = "spiffe://cluster.local/ns/default/sa/reports"

_CLIENT = """
import json, sys
from spiffe import SpiffeId, WorkloadApiClient
def say(**facts): print(json.dumps(facts), flush=True)
client = WorkloadApiClient(sys.argv[1], default_timeout=10)
try:
    exec(sys.argv[2])
except Exception as error:
    say(error=type(error).__name__, message=str(error))
"""
"""The program of a caller; what it says is one JSON object a line."""


@dataclass
class Api:
    """The server, and what the control plane would do for it."""

    server: WorkloadServer
    trust: TrustEndpoint
    directory: Path

    @asynccontextmanager
    async def identity(
        self, spiffe_id: str, *selectors: str, owns: Owns = lambda _: False, ttl: float = 3600.0
    ) -> AsyncIterator[SvidSource]:
        """An identity that processes can have within this block."""
        sign = signer(self.trust.certificates.authority, time.time, ttl)
        parsed = frozenset(parse_selector(item) for item in selectors)
        async with SvidSource(parse(spiffe_id), sign, lambda _: self.server.changed()) as source:
            await source.first()
            with self.server.register(Registered(source, owns, parsed)):
                yield source

    def refresh(self) -> None:
        """What the node agent does every few seconds."""
        self.server.bundles = bundles_of(self.trust.bundles(time.time()))
        self.server.changed()

    async def ask(self, code: str, program: str = sys.executable) -> dict[str, Any]:
        """What the first line says that a process prints which runs this code."""
        async with self.caller(code, program) as caller:
            return await caller.says()

    @asynccontextmanager
    async def caller(self, code: str, program: str = sys.executable) -> AsyncIterator["Caller"]:
        process = await asyncio.create_subprocess_exec(
            program, "-c", _CLIENT, self.server.endpoint, code, stdout=asyncio.subprocess.PIPE
        )
        try:
            yield Caller(process)
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


@dataclass
class Caller:
    process: asyncio.subprocess.Process

    async def says(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        async with asyncio.timeout(20):
            line = await self.process.stdout.readline()
        assert line, "it ended without a word"
        said: dict[str, Any] = json.loads(line)
        return said


@asynccontextmanager
async def workload_api(directory: Path) -> AsyncIterator[Api]:
    authority = new_authority(directory / "ca", time.time())
    trust = TrustEndpoint(SignEndpoint(authority, "cluster.local"), JwtKeys(directory / "jwt" / "keys.json"))

    def permit(_: SpiffeId) -> None:
        """Whatever the server asks for was attested."""

    async def mint(spiffe_id: str, audience: tuple[str, ...]) -> str:
        return token_of(trust.mint(token_request(spiffe_id, audience), permit, time.time()))

    async with WorkloadServer(directory / "spiffe.sock", mint) as server:
        api = Api(server, trust, directory)
        api.refresh()
        yield api
