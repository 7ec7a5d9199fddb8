"""gRPC on one connection, spoken with an HTTP/2 client in the same process."""

from typing import Any

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, DataReceived, ResponseReceived, StreamReset, TrailersReceived
from h2.settings import SettingCodes
from hypothesis import given
from hypothesis import strategies as st

from marline.identity.grpc_wire import (
    MAX_MESSAGE_BYTES,
    Called,
    Closed,
    Ended,
    GrpcConnection,
    Received,
    Status,
)

HEADERS = [
    (":method", "POST"),
    (":scheme", "http"),
    (":authority", "sds"),
    (":path", "/service/Method"),
    ("content-type", "application/grpc"),
    ("te", "trailers"),
]


class Conversation:
    """A client and the server, and what each has seen."""

    def __init__(self, window: int = 65535) -> None:
        self.client = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        self.server = GrpcConnection()
        self.seen: list[Any] = []
        self.client.initiate_connection()
        self.client.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: window})
        self.exchange()

    def exchange(self) -> list[Any]:
        """Carry bytes until both are silent; what the server saw."""
        events: list[Any] = []
        while True:
            up = self.client.data_to_send()
            events += self.server.receive(up) if up else []
            down = self.server.outgoing()
            if not up and not down:
                return events
            self.seen += self.client.receive_data(down) if down else []

    def call(self, headers: list[tuple[str, str]] | None = None) -> int:
        stream = self.client.get_next_available_stream_id()
        self.client.send_headers(stream, headers or HEADERS)
        return stream

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.seen if isinstance(event, kind)]

    @property
    def data(self) -> bytes:
        return b"".join(event.data for event in self.of(DataReceived))

    @property
    def trailers(self) -> dict[str, str]:
        return dict(self.of(TrailersReceived)[-1].headers)


def framed(message: bytes) -> bytes:
    return b"\0" + len(message).to_bytes(4) + message


def test_a_call_and_its_messages_arrive() -> None:
    talk = Conversation()
    stream = talk.call()
    talk.client.send_data(stream, framed(b"one") + framed(b"two"), end_stream=True)
    assert talk.exchange() == [
        Called(stream, "/service/Method"),
        Received(stream, b"one"),
        Received(stream, b"two"),
        Ended(stream, reset=False),
    ]


@given(st.lists(st.binary(max_size=40), max_size=5), st.data())
def test_messages_are_whole_however_they_are_cut(messages: list[bytes], data: st.DataObject) -> None:
    talk = Conversation()
    stream = talk.call()
    talk.exchange()
    rest, received = b"".join(framed(message) for message in messages), []
    while rest:
        size = data.draw(st.integers(min_value=1, max_value=len(rest)))
        talk.client.send_data(stream, rest[:size])
        received += talk.exchange()
        rest = rest[size:]
    assert received == [Received(stream, message) for message in messages]


def test_an_answer_has_headers_messages_and_a_status() -> None:
    talk = Conversation()
    stream = talk.call()
    talk.client.end_stream(stream)
    talk.exchange()
    talk.server.send(stream, b"answer")
    talk.server.finish(stream, Status.OK)
    talk.exchange()
    assert dict(talk.of(ResponseReceived)[0].headers)[":status"] == "200"
    assert talk.data == framed(b"answer")
    assert talk.trailers["grpc-status"] == "0"
    assert talk.of(StreamReset) == []


def test_an_answer_larger_than_the_window_waits_for_room() -> None:
    talk = Conversation(window=100)
    stream = talk.call()
    talk.exchange()
    talk.server.send(stream, bytes(350))
    talk.server.send(stream, b"second")
    talk.server.finish(stream, Status.OK)
    talk.exchange()
    assert len(talk.data) == 100
    while not talk.of(TrailersReceived):
        talk.client.increment_flow_control_window(100, stream)
        talk.exchange()
    assert talk.data == framed(bytes(350)) + framed(b"second")


def test_a_refusal_reaches_a_client_that_has_not_finished() -> None:
    talk = Conversation()
    stream = talk.call()
    talk.exchange()
    talk.server.finish(stream, Status.PERMISSION_DENIED, "not you: 100%")
    talk.exchange()
    assert talk.trailers == {"grpc-status": "7", "grpc-message": "not you%3A 100%25"}
    assert len(talk.of(StreamReset)) == 1


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"\1\0\0\0\1x", "12"),
        (b"\0" + (MAX_MESSAGE_BYTES + 1).to_bytes(4), "8"),
        (b"\0\xff\xff\xff\xff", "8"),
    ],
)
def test_compressed_and_huge_messages_end_the_call(head: bytes, status: str) -> None:
    talk = Conversation()
    stream = talk.call()
    talk.client.send_data(stream, head)
    assert talk.exchange() == [Called(stream, "/service/Method")]
    assert talk.trailers["grpc-status"] == status


def test_what_is_no_grpc_is_refused() -> None:
    talk = Conversation()
    talk.call([*HEADERS[:4], ("content-type", "application/json")])
    assert talk.exchange() == []
    assert dict(talk.of(ResponseReceived)[0].headers)[":status"] == "415"


def test_a_call_given_up_ends_and_is_not_answered() -> None:
    talk = Conversation()
    stream = talk.call()
    talk.exchange()
    talk.client.reset_stream(stream)
    assert talk.exchange() == [Ended(stream, reset=True)]
    talk.server.send(stream, b"late")
    talk.server.finish(stream, Status.OK)
    assert talk.server.outgoing() == b""


def test_what_is_not_http2_closes_the_connection() -> None:
    server = GrpcConnection()
    assert server.receive(b"GET / HTTP/1.1\r\n\r\n") == [Closed()]
    assert server.receive(b"more") == []


FRAMES = st.tuples(
    st.integers(0, 12), st.integers(0, 255), st.sampled_from([0, 1, 2, 3, 5]), st.binary(max_size=60)
)


@given(st.lists(FRAMES, max_size=10), st.booleans())
def test_any_frames_do_no_harm(frames: list[tuple[int, int, int, bytes]], answers: bool) -> None:
    client = H2Connection(H2Configuration(client_side=True))
    client.initiate_connection()
    client.send_headers(1, HEADERS)
    server = GrpcConnection()
    server.receive(client.data_to_send())
    if answers:
        server.send(1, bytes(100))
    for kind, flags, stream, body in frames:
        server.receive(len(body).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + body)
        server.outgoing()
    server.finish(1, Status.OK)
    server.close()


def test_after_a_goodbye_nothing_is_sent() -> None:
    talk = Conversation()
    stream = talk.call()
    talk.exchange()
    talk.server.close()
    talk.server.send(stream, b"late")
    talk.exchange()
    assert talk.of(ConnectionTerminated)
    assert talk.data == b""
    talk.client.close_connection()
    assert talk.server.receive(talk.client.data_to_send()) == []


def test_too_many_calls_close_the_connection() -> None:
    server = GrpcConnection()
    client = H2Connection(H2Configuration(client_side=True))
    client.initiate_connection()
    for stream in range(1, 101, 2):  # without having seen the server's limit
        client.send_headers(stream, HEADERS)
    assert server.receive(client.data_to_send())[-1] == Closed()
