"""As much of DNS messages as a forwarder needs that answers some questions itself (RFC 1035, 6891). Pure.

Packets come from whatever runs in a workload's namespace: each length is checked, nothing is followed.
"""

import socket
import struct
from dataclasses import dataclass
from typing import Final

A, AAAA, OPT = 1, 28, 41
_IN: Final = 1
_NO_ERROR, _SERVER_FAILURE, _NO_SUCH_NAME = 0, 2, 3
_QUERY_BITS: Final = 0xF800
"""QR and opcode: zero in a standard query."""
_RECURSION_DESIRED: Final = 0x0100
_HEADER: Final = struct.Struct(">HHHHHH")
MAX_UDP: Final = 1232
"""What fits every path (dnsflagday.net/2020)."""
_MAX_NAME: Final = 255


class NotAQuery(ValueError):
    """Bytes that are not one well-formed question."""


@dataclass(frozen=True, slots=True)
class Question:
    """A query with one question, which is what is asked in practice."""

    id: int
    flags: int
    name: str
    """Lower case, without the final dot."""
    kind: int
    raw: bytes
    """Question section as it came, to be echoed."""
    extended: bool
    """The client speaks EDNS."""

    @property
    def is_internet(self) -> bool:
        return self.raw[-2:] == _IN.to_bytes(2)


def parse(packet: bytes) -> Question:
    """Raises `NotAQuery`."""
    if len(packet) < _HEADER.size:
        raise NotAQuery("shorter than a header")
    number, flags, questions, answers, authorities, more = _HEADER.unpack_from(packet)
    if flags & _QUERY_BITS or questions != 1 or answers or authorities:
        raise NotAQuery("not a standard query with one question")
    labels, position = _name(packet)
    if position + 4 > len(packet):
        raise NotAQuery("the question is cut off")
    kind = int.from_bytes(packet[position : position + 2])
    raw = packet[_HEADER.size : position + 4]
    rest = packet[position + 4 :]
    extended = more > 0 and rest[:3] == b"\0" + OPT.to_bytes(2)
    return Question(number, flags, ".".join(labels).lower(), kind, raw, extended)


def _name(packet: bytes) -> tuple[list[str], int]:
    """Labels of the name after the header, and where it ends. A pointer there could only point at itself."""
    labels: list[str] = []
    position = _HEADER.size
    while True:
        if position >= len(packet):
            raise NotAQuery("the name is cut off")
        length = packet[position]
        position += 1
        if not length:
            return labels, position
        if length > 63 or position + length > min(len(packet), _HEADER.size + _MAX_NAME):
            raise NotAQuery("the name is malformed")
        labels.append(packet[position : position + length].decode("latin-1"))
        position += length


def answer(question: Question, addresses: tuple[str, ...], ttl: int, *, exists: bool = True) -> bytes:
    """An authoritative answer with A records; none for other types. `exists`: the name does."""
    records = addresses if question.kind == A and question.is_internet else ()
    code = _NO_ERROR if exists else _NO_SUCH_NAME
    body = b"".join(
        b"\xc0\x0c" + struct.pack(">HHIH", A, _IN, ttl, 4) + socket.inet_aton(address) for address in records
    )
    return _response(question, code, len(records), body, authoritative=True)


def failure(question: Question) -> bytes:
    """SERVFAIL: nobody could be asked."""
    return _response(question, _SERVER_FAILURE, 0, b"")


def truncated(question: Question) -> bytes:
    """Ask again over TCP."""
    made = bytearray(_response(question, _NO_ERROR, 0, b""))
    made[2] |= 0x02
    return bytes(made)


def _response(
    question: Question, code: int, count: int, body: bytes, *, authoritative: bool = False
) -> bytes:
    flags = 0x8080 | (question.flags & _RECURSION_DESIRED) | (0x0400 if authoritative else 0) | code
    extra = b"\0" + struct.pack(">HHIH", OPT, MAX_UDP, 0, 0) if question.extended else b""
    header = _HEADER.pack(question.id, flags, 1, count, 0, 1 if question.extended else 0)
    return header + question.raw + body + extra


def answers(packet: bytes, query: bytes) -> bool:
    """Is this packet a response to that query? (Same number, same question, RFC 5452.)"""
    if len(packet) < _HEADER.size or not packet[2] & 0x80:
        return False
    end = _question_end(query)
    return packet[:2] == query[:2] and packet[_HEADER.size : end].lower() == query[_HEADER.size : end].lower()


def _question_end(query: bytes) -> int:
    return _name(query)[1] + 4
