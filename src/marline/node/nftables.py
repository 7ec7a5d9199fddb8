"""nftables through netlink alone: tables, chains and the few expressions that capture needs.

What `nft` would send is sent by hand, so no package is needed. Source: the kernel's uapi headers
linux/netfilter/nf_tables.h and nfnetlink.h, and the netlink descriptions (docs.kernel.org, "Netlink
specifications", nftables). All of a table is replaced in one transaction, so it is there whole or not.
"""

import os
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from marline.node.errors import NodeError

NETLINK_NETFILTER: Final = 12
_SUBSYSTEM: Final = 10 << 8
_BATCH_BEGIN, _BATCH_END = 0x10, 0x11
_NEW_TABLE, _GET_TABLE, _DELETE_TABLE, _NEW_CHAIN, _NEW_RULE = 0, 1, 2, 3, 6
_REQUEST, _ACK, _DUMP, _CREATE, _APPEND = 0x1, 0x4, 0x300, 0x400, 0x800
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_NESTED: Final = 0x8000

INET, IPV4 = 1, 2
"""Families: both IP versions, and IPv4."""
PREROUTING, INPUT, FORWARD, OUTPUT, POSTROUTING = 0, 1, 2, 3, 4
DNAT_PRIORITY, FILTER_PRIORITY, SNAT_PRIORITY = -100, 0, 100

_REGISTER: Final = 8
"""NFT_REG32_00."""
_VERDICT_REGISTER: Final = 0
_ACCEPT, _DROP = 1, 0
_EQUAL, _NOT_EQUAL = 0, 1
_NETWORK_HEADER, _TRANSPORT_HEADER = 1, 2
_META = {"oif": 5, "iifname": 6, "oifname": 7, "skgid": 11, "l4proto": 16}
_PROTOCOLS = {"tcp": 6, "udp": 17}
_CT_STATE, _CT_NEW = 0, 8
LOOPBACK_INDEX: Final = 1
"""The interface index of `lo` in every network namespace."""


@dataclass(eq=False)
class NftablesError(NodeError):
    """The kernel refused a transaction, or has no nf_tables."""

    number: int

    def __str__(self) -> str:
        return f"nf_tables: {os.strerror(self.number)}"


Expression = bytes
"""One encoded expression; a rule is a sequence of them."""


def _attribute(kind: int, payload: bytes) -> bytes:
    length = 4 + len(payload)
    return struct.pack("=HH", length, kind) + payload + b"\0" * (-length % 4)


def _nested(kind: int, *attributes: bytes) -> bytes:
    return _attribute(kind | _NESTED, b"".join(attributes))


def _be32(kind: int, value: int) -> bytes:
    return _attribute(kind, struct.pack(">i", value) if value < 0 else struct.pack(">I", value))


def _text(kind: int, value: str) -> bytes:
    return _attribute(kind, value.encode() + b"\0")


def _expression(name: str, *attributes: bytes) -> Expression:
    return _nested(1, _text(1, name), _nested(2, *attributes))


def _compare(value: bytes, *, equal: bool = True) -> Expression:
    operator = _EQUAL if equal else _NOT_EQUAL
    return _expression("cmp", _be32(1, _REGISTER), _be32(2, operator), _nested(3, _attribute(1, value)))


def _meta(key: str) -> Expression:
    return _expression("meta", _be32(1, _REGISTER), _be32(2, _META[key]))


def protocol(name: str) -> tuple[Expression, ...]:
    """`meta l4proto tcp|udp`"""
    return (_meta("l4proto"), _compare(bytes([_PROTOCOLS[name]])))


def destination_port(number: int) -> tuple[Expression, ...]:
    """`th dport N`; after `protocol`."""
    load = _expression("payload", _be32(1, _REGISTER), _be32(2, _TRANSPORT_HEADER), _be32(3, 2), _be32(4, 2))
    return (load, _compare(struct.pack(">H", number)))


def _ipv4(offset: int, network: str, prefix: int, *, equal: bool) -> tuple[Expression, ...]:
    mask = ((1 << prefix) - 1) << (32 - prefix)
    load = _expression(
        "payload", _be32(1, _REGISTER), _be32(2, _NETWORK_HEADER), _be32(3, offset), _be32(4, 4)
    )
    masked = _expression(
        "bitwise", _be32(1, _REGISTER), _be32(2, _REGISTER), _be32(3, 4),
        _nested(4, _attribute(1, struct.pack(">I", mask))), _nested(5, _attribute(1, b"\0" * 4)),
    )  # fmt: skip
    return (load, masked, _compare(socket.inet_aton(network), equal=equal))


def source(network: str, prefix: int, *, equal: bool = True) -> tuple[Expression, ...]:
    """`ip saddr [!=] network/prefix`"""
    return _ipv4(12, network, prefix, equal=equal)


def destination(network: str, prefix: int, *, equal: bool = True) -> tuple[Expression, ...]:
    """`ip daddr [!=] network/prefix`"""
    return _ipv4(16, network, prefix, equal=equal)


def group(gid: int) -> tuple[Expression, ...]:
    """`meta skgid N`"""
    return (_meta("skgid"), _compare(struct.pack("=I", gid)))


def leaves_by_loopback() -> tuple[Expression, ...]:
    """`meta oif lo`"""
    return (_meta("oif"), _compare(struct.pack("=I", LOOPBACK_INDEX)))


def interface(direction: str, name: str, *, equal: bool = True) -> tuple[Expression, ...]:
    """`meta iifname|oifname [!=] name`"""
    return (_meta(direction), _compare(name.encode().ljust(16, b"\0"), equal=equal))


def new_connection() -> tuple[Expression, ...]:
    """`ct state new`"""
    load = _expression("ct", _be32(1, _REGISTER), _be32(2, _CT_STATE))
    masked = _expression(
        "bitwise", _be32(1, _REGISTER), _be32(2, _REGISTER), _be32(3, 4),
        _nested(4, _attribute(1, struct.pack("=I", _CT_NEW))), _nested(5, _attribute(1, b"\0" * 4)),
    )  # fmt: skip
    return (load, masked, _compare(b"\0" * 4, equal=False))


def _verdict(code: int) -> Expression:
    return _expression("immediate", _be32(1, _VERDICT_REGISTER), _nested(2, _nested(2, _be32(1, code))))


def accept() -> tuple[Expression, ...]:
    return (_verdict(_ACCEPT),)


def drop() -> tuple[Expression, ...]:
    return (_verdict(_DROP),)


def redirect(port: int) -> tuple[Expression, ...]:
    """`redirect to :port`"""
    load = _expression("immediate", _be32(1, _REGISTER), _nested(2, _attribute(1, struct.pack(">H", port))))
    return (load, _expression("redir", _be32(1, _REGISTER)))


def masquerade() -> tuple[Expression, ...]:
    return (_expression("masq"),)


Rule = Sequence[tuple[Expression, ...]]
"""Matches and a verdict, as the functions above make them."""


@dataclass(frozen=True, slots=True)
class Chain:
    """A base chain; its policy is accept."""

    name: str
    kind: str
    """`nat` or `filter`."""
    hook: int
    priority: int
    rules: tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class Table:
    family: int
    name: str
    chains: tuple[Chain, ...]


def install(table: Table) -> None:
    """Replace a table in this thread's network namespace. Raises `NftablesError`."""
    name = _text(1, table.name)
    # First made if it is not there, so that it can be removed with what it may have.
    fresh = [
        _message(_NEW_TABLE, table.family, _CREATE, name),
        _message(_DELETE_TABLE, table.family, 0, name),
    ]
    _transact([*fresh, *_creation(table)])


def remove(family: int, name: str) -> None:
    """Remove a table with all that is in it. Raises `NftablesError` if there is none."""
    _transact([_message(_DELETE_TABLE, family, 0, _text(1, name))])


def tables(family: int) -> list[str]:
    """The names of all tables of a family. Raises `NftablesError`."""
    with _netlink() as connection:
        request = _message(_GET_TABLE, family, _DUMP, b"")
        connection.send(_numbered(request, 1))
        found: list[str] = []
        while True:
            for kind, body in _received(connection):
                if kind == _NLMSG_DONE:
                    return found
                if kind == _NLMSG_ERROR:
                    raise NftablesError(-struct.unpack_from("=i", body)[0])
                found += [value.rstrip(b"\0").decode() for key, value in _attributes(body[4:]) if key == 1]


def _creation(table: Table) -> list[tuple[int, bytes, int]]:
    made = [_message(_NEW_TABLE, table.family, _CREATE, _text(1, table.name))]
    for chain in table.chains:
        hook = _nested(4, _be32(1, chain.hook), _be32(2, chain.priority))
        body = _text(1, table.name) + _text(3, chain.name) + hook + _text(7, chain.kind) + _be32(5, _ACCEPT)
        made.append(_message(_NEW_CHAIN, table.family, _CREATE, body))
        for rule in chain.rules:
            expressions = _nested(4, *(item for part in rule for item in part))
            body = _text(1, table.name) + _text(2, chain.name) + expressions
            made.append(_message(_NEW_RULE, table.family, _CREATE | _APPEND, body))
    return made


def _message(kind: int, family: int, flags: int, body: bytes) -> tuple[int, bytes, int]:
    """Type, nfgenmsg and attributes, flags."""
    return _SUBSYSTEM | kind, struct.pack(">BBH", family, 0, 0) + body, flags


def _numbered(message: tuple[int, bytes, int], sequence: int) -> bytes:
    kind, body, flags = message
    header = struct.pack("=IHHII", 16 + len(body), kind, flags | _REQUEST, sequence, 0)
    return header + body + b"\0" * (-len(body) % 4)


def _netlink() -> socket.socket:
    try:
        made = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER)
    except OSError as error:
        raise NftablesError(error.errno or 0) from error
    made.settimeout(5)
    made.bind((0, 0))
    return made


def _transact(messages: Sequence[tuple[int, bytes, int]]) -> None:
    """Send a batch; each message is acknowledged or the whole batch is void."""
    # In a batch's own messages the resource id says which subsystem it is for.
    subsystem = struct.pack(">BBH", 0, 0, 10)
    parts = [_numbered((_BATCH_BEGIN, subsystem, 0), 0)]
    for sequence, (kind, body, flags) in enumerate(messages, 1):
        parts.append(_numbered((kind, body, flags | _ACK), sequence))
    parts.append(_numbered((_BATCH_END, subsystem, 0), len(messages) + 1))
    with _netlink() as connection:
        try:
            connection.send(b"".join(parts))
            awaited = len(messages)
            while awaited:
                for kind, body in _received(connection):
                    if kind == _NLMSG_ERROR:
                        awaited -= 1
                        number = -struct.unpack_from("=i", body)[0]
                        if number:
                            raise NftablesError(number)
        except OSError as error:
            raise NftablesError(error.errno or 0) from error


def _received(connection: socket.socket) -> list[tuple[int, bytes]]:
    """Type and body of each message of one datagram."""
    data = connection.recv(65536)
    found = []
    while len(data) >= 16:
        length, kind = struct.unpack_from("=IH", data)
        if length < 16:
            break
        found.append((kind, data[16:length]))
        data = data[(length + 3) & ~3 :]
    return found


def _attributes(data: bytes) -> list[tuple[int, bytes]]:
    found = []
    while len(data) >= 4:
        length, kind = struct.unpack_from("=HH", data)
        if length < 4:
            break
        found.append((kind & 0x3FFF, data[4:length]))
        data = data[(length + 3) & ~3 :]
    return found
