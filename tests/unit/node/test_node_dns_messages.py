"""DNS messages: what is answered, and that no bytes do harm."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marline.mesh.names import NameTable
from marline.node import dns_codec
from marline.node.dns import Resolver, nameservers
from marline.node.dns_codec import AAAA, A, NotAQuery

NAMES = NameTable(
    "cluster.local",
    {
        "reviews.default.svc.cluster.local": ("10.96.0.1",),
        "db.example": ("240.240.0.1",),
        "empty.default.svc.cluster.local": (),
    },
    {".example.org": ("240.240.0.2",)},
)


def query(name: str, kind: int = A, number: int = 7, extended: bool = False) -> bytes:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"
    extra = b"\0" + struct.pack(">HHIH", 41, 4096, 0, 0) if extended else b""
    header = struct.pack(">HHHHHH", number, 0x0100, 1, 0, 0, int(extended))
    return header + labels + struct.pack(">HH", kind, 1) + extra


def resolver(servers: list[str] | None = None) -> Resolver:
    return Resolver("default", lambda: NAMES, lambda: servers or [])


def records(answer: bytes) -> tuple[int, list[str]]:
    """The response code and the addresses at the end of an answer without EDNS."""
    flags, _, count = struct.unpack_from(">HHH", answer, 2)
    addresses = [answer[len(answer) - 4 - 16 * i :][:4] for i in range(count)]
    return flags & 0xF, [".".join(str(byte) for byte in address) for address in reversed(addresses)]


@pytest.mark.parametrize(
    "name", ["reviews", "reviews.default", "Reviews.Default.svc", "reviews.default.svc.cluster.local"]
)
async def test_a_service_has_its_virtual_address(name: str) -> None:
    answer = await resolver().resolve(query(name), tcp=False)
    assert answer is not None
    assert records(answer) == (0, ["10.96.0.1"])
    assert answer[:2] == query(name)[:2]


@pytest.mark.parametrize("name, address", [("db.example", "240.240.0.1"), ("a.b.example.org", "240.240.0.2")])
async def test_external_services_resolve_too(name: str, address: str) -> None:
    answer = await resolver().resolve(query(name), tcp=False)
    assert answer is not None
    assert records(answer)[1] == [address]


async def test_there_are_no_ipv6_addresses_of_services() -> None:
    answer = await resolver().resolve(query("reviews", AAAA), tcp=False)
    assert answer is not None
    assert records(answer) == (0, [])


@pytest.mark.parametrize(
    "name", ["nobody.default.svc.cluster.local", "nobody.default.svc.cluster.local.cluster.local"]
)
async def test_a_name_of_the_mesh_that_nobody_has_is_not_asked_of_others(name: str) -> None:
    answer = await resolver(["192.0.2.1"]).resolve(query(name), tcp=False)
    assert answer is not None
    assert records(answer) == (3, [])


async def test_what_nobody_can_be_asked_for_fails() -> None:
    answer = await resolver().resolve(query("example.com"), tcp=False)
    assert answer is not None
    assert records(answer) == (2, [])


async def test_a_client_with_edns_gets_edns() -> None:
    answer = await resolver().resolve(query("reviews", extended=True), tcp=False)
    assert answer is not None
    assert answer.endswith(b"\0" + struct.pack(">HHIH", 41, dns_codec.MAX_UDP, 0, 0))


async def test_an_answer_that_is_too_long_is_asked_for_again_over_tcp() -> None:
    many = NameTable("cluster.local", {"big.example": tuple(f"10.0.0.{i}" for i in range(200))}, {})
    made = Resolver("default", lambda: many, list)
    short = await made.resolve(query("big.example"), tcp=False)
    whole = await made.resolve(query("big.example"), tcp=True)
    assert short is not None and whole is not None
    assert short[2] & 0x02
    assert len(records(whole)[1]) == 200


@given(st.binary(max_size=600))
def test_no_bytes_do_harm(packet: bytes) -> None:
    try:
        question = dns_codec.parse(packet)
    except NotAQuery:
        return
    assert len(question.name) <= 255


@given(st.text(alphabet="abcdefghij", min_size=1, max_size=63), st.binary(max_size=40))
def test_bytes_after_the_question_do_no_harm(label: str, rest: bytes) -> None:
    packet = bytearray(query(label) + rest)
    packet[11] = 1
    assert dns_codec.parse(bytes(packet)).name == label


def test_answers_are_those_to_the_same_question() -> None:
    asked = query("example.com")
    good = dns_codec.failure(dns_codec.parse(asked))
    assert dns_codec.answers(good, asked)
    assert not dns_codec.answers(good, query("example.org"))
    assert not dns_codec.answers(good, query("example.com", number=8))
    assert not dns_codec.answers(asked, asked)


def test_nameservers_of_a_resolv_conf() -> None:
    text = "# nameserver 1.1.1.1\nsearch x\nnameserver 10.0.0.1\n nameserver fe80::1%eth0\nnameserver\n"
    assert nameservers(text) == ["10.0.0.1", "fe80::1"]
