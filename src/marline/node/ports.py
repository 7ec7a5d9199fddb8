"""Numbers that several processes must not choose at once: loopback ports, addresses of a mesh's bridge.

A number is reserved by an abstract Unix socket (unix(7)) that is named after it: it exists once on the
machine, whoever asks, and the kernel takes it away when its holder ends. Ports are taken from below
those that the kernel gives to outgoing connections by itself, so nobody else gets one by chance.
"""

import errno
import hashlib
import ipaddress
import random
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

from marline.node.errors import NodeError

Item = TypeVar("Item")

_LOWEST: Final = 15100
_EPHEMERAL: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")


_GATEWAYS: Final = ipaddress.IPv4Network("127.77.0.0/16")
"""Loopback addresses (all of 127.0.0.0/8 is there on Linux) that nothing else uses."""


class Exhausted(NodeError):
    """There is no free number left."""


@dataclass(eq=False)
class PortTaken(NodeError):
    """Somebody else listens where a gateway is to listen."""

    address: str
    port: int

    def __str__(self) -> str:
        return f"port {self.port} of {self.address} is taken, or may not be used by this user"


@dataclass(eq=False)
class AddressUnusable(NodeError):
    """This machine does not have the address that a gateway is to listen at."""

    address: str

    def __str__(self) -> str:
        return f"{self.address} is not an address of this machine"


@dataclass(eq=False)
class NameTaken(NodeError):
    """Another workload or gateway of the same mesh has this name."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.name} runs already in namespace {self.namespace}; give this one another name"


@dataclass(slots=True)
class Reservations:
    """What one owner has reserved; `release` gives it all back."""

    _held: dict[str, socket.socket] = field(default_factory=dict)

    def claim(self, name: str) -> bool:
        """Reserve a name on this machine; False if somebody has it. Raises OSError if that cannot be said."""
        holder = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            holder.bind(f"\0marline/{name}")
        except OSError as error:
            holder.close()
            if error.errno != errno.EADDRINUSE:
                raise
            return False
        self._held[name] = holder
        return True

    def port(self, address: str = "127.0.0.1") -> int:
        """A number that is free as a TCP and as a UDP port of a local address. Raises `Exhausted`."""
        for number in _candidates():
            if self.claim(f"port/{address}/{number}"):
                if can_bind(address, number) and can_bind(address, number, socket.SOCK_DGRAM):
                    return number
                self._held.pop(f"port/{address}/{number}").close()
        raise Exhausted(f"no port of {address} is free")

    def listen(self, address: str, number: int) -> None:
        """Reserve a given TCP port. Raises `PortTaken`."""
        # Envoys share ports (SO_REUSEPORT), so that one that is taken would not be noticed by them.
        if not self.claim(f"port/{address}/{number}") or not can_bind(address, number):
            raise PortTaken(address, number)

    def workload(self, mesh_id: str, namespace: str, name: str) -> None:
        """Reserve the name of a workload or gateway of a mesh: by it the control plane knows its Envoy.
        Raises `NameTaken`."""
        # Names may be longer than the name of a socket.
        digest = hashlib.sha256(f"{namespace}/{name}".encode()).hexdigest()[:32]
        if not self.claim(f"name/{mesh_id}/{digest}"):
            raise NameTaken(namespace, name)

    def first(self, prefix: str, names: Iterable[str]) -> str:
        """The first of these that nobody has. Raises `Exhausted`."""
        for name in names:
            if self.claim(f"{prefix}/{name}"):
                return name
        raise Exhausted(f"everything of {prefix} is taken")

    def release(self) -> None:
        for holder in self._held.values():
            holder.close()
        self._held.clear()


def loopback_addresses(owner: str) -> Iterable[str]:
    """Addresses of the machine itself for a gateway, its own first."""
    return (str(address) for address in beginning_with(owner, list(_GATEWAYS.hosts())))


def beginning_with(owner: str, items: Sequence[Item]) -> Iterable[Item]:
    """All of these, from a place that depends on the owner alone: each prefers its own, every time."""
    start = int.from_bytes(hashlib.sha256(owner.encode()).digest()[:8]) % len(items)
    return (items[(start + step) % len(items)] for step in range(len(items)))


def _candidates() -> Iterable[int]:
    try:
        low, high = (int(word) for word in _EPHEMERAL.read_text().split())
    except OSError:
        low, high = 32768, 60999
    quiet = range(_LOWEST, min(low, 65536)) if low >= _LOWEST + 1000 else range(_LOWEST, high)
    start = random.randrange(len(quiet))  # noqa: S311 (spreads users, hides nothing)
    return (quiet[(start + step) % len(quiet)] for step in range(len(quiet)))


def can_bind(address: str, port: int, kind: int = socket.SOCK_STREAM) -> bool:
    """May this process listen there now? Port 0: on any port of the address."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, kind) as trial:
        try:
            if kind == socket.SOCK_STREAM:
                trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind((address, port))
            if kind == socket.SOCK_STREAM:
                trial.listen(1)
        except OSError:
            return False
    return True
