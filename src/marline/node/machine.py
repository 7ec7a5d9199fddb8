"""What every runner on this machine shares: the home, the way to the control plane, identity, network."""

import asyncio
import socket
from collections.abc import Collection
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from marline.node.home import Home, MeshConfig
from marline.node.identity import NodeIdentities
from marline.node.plan import Place
from marline.node.propagation import Propagated
from marline.node.register import Registrar
from marline.store.interface import ResourceStore


class Network(Protocol):
    """Transparent capture: gives each workload a network namespace."""

    def place(
        self, namespace: str, short_id: str, resolv_conf: Path, datagrams: Collection[int] = ()
    ) -> AbstractAsyncContextManager[Place]:
        """A namespace of its own, captured and with DNS, that goes away at the end. `namespace` is the
        Kubernetes namespace in which short names are resolved; `datagrams` are the ports to which others may
        send UDP."""
        ...

    def address(self, owner: str) -> AbstractAsyncContextManager[str]:
        """An address of the machine that is for one gateway, which workloads can reach. The same owner
        gets the same one again, unless somebody else has it."""
        ...


@dataclass(frozen=True, slots=True)
class Machine:
    """What a runner needs of its surroundings."""

    home: Home
    config: MeshConfig
    store: ResourceStore
    registrar: Registrar
    identities: NodeIdentities
    propagated: Propagated
    network: Network | None = None
    """None: explicit capture."""

    @property
    def node(self) -> str:
        return node_name()


def node_name() -> str:
    """This machine's name as a DNS label, part of node ids."""
    host = socket.gethostname().split(".")[0].lower()
    label = "".join(char if char.isalnum() and char.isascii() else "-" for char in host).strip("-")
    return label[:40] or "localhost"


async def ended(*tasks: asyncio.Task[None]) -> None:
    """End background tasks; raises what they raised. A cancellation of the caller meanwhile is its own,
    and is not taken for theirs."""
    for task in tasks:
        task.cancel()
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(outcome, Exception):
            raise outcome
