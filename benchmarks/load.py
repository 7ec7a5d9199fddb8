"""A closed-loop HTTP/1.1 load generator: N keep-alive connections, each with one request in flight.

Small on purpose: one thread, one selector, no HTTP library, so that it costs little beside what it
measures. The response must carry a `content-length`. Usable as a module (`run`) and as a program that
prints one JSON line: `python benchmarks/load.py --port 8080 --seconds 5 --connections 16`.
"""

import argparse
import json
import selectors
import socket
import time
from dataclasses import asdict, dataclass

_ANSWER_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Result:
    """Latencies in microseconds; `failed` counts answers other than 200 and broken connections."""

    requests: int
    failed: int
    seconds: float
    rate: float
    p50: float
    p90: float
    p99: float


class _Connection:
    def __init__(self, address: tuple[str, int], request: bytes) -> None:
        self.address, self.request = address, request
        self.buffer = b""
        self.started = 0
        self.socket = socket.create_connection(address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self) -> None:
        self.buffer = b""
        self.started = time.perf_counter_ns()
        self.socket.sendall(self.request)

    def complete(self) -> bool | None:
        """Read what is there: True for a whole 200, False for any other answer or a closed
        connection, None while more is to come."""
        received = self.socket.recv(65536)
        if not received:
            return False
        self.buffer += received
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0:
            return None
        head = self.buffer[:end].lower()
        length = int(head.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])
        if len(self.buffer) < end + 4 + length:
            return None
        return head.startswith(b"http/1.1 200")


def run(
    host: str, port: int, *, path: str = "/", authority: str = "", connections: int = 16, seconds: float = 5.0
) -> Result:
    """Load `http://host:port/path` for so many seconds, and until the last requests are answered: a request
    that is given up makes HTTP/1.1 proxies close connections behind them, which are dear to open.

    Raises OSError if nobody listens, `TimeoutError` if nobody answers."""
    request = (
        f"GET {path} HTTP/1.1\r\nhost: {authority or f'{host}:{port}'}\r\nuser-agent: marline-load\r\n\r\n"
    ).encode()
    selector = selectors.DefaultSelector()

    def open_another() -> None:
        connection = _Connection((host, port), request)
        selector.register(connection.socket, selectors.EVENT_READ, connection)
        connection.send()

    for _ in range(connections):
        open_another()
    latencies: list[int] = []
    failed = 0
    begun = time.perf_counter()
    end = begun + seconds
    while selector.get_map():
        ready = selector.select(_ANSWER_SECONDS)
        if not ready:
            raise TimeoutError(f"{host}:{port} has not answered for {_ANSWER_SECONDS:g} s")
        for key, _ in ready:
            connection = key.data
            outcome = connection.complete()
            if outcome is None:
                continue
            if outcome:
                latencies.append(time.perf_counter_ns() - connection.started)
            else:
                failed += 1
            in_time = time.perf_counter() < end
            if outcome and in_time:
                connection.send()
                continue
            selector.unregister(connection.socket)
            connection.socket.close()
            if in_time:
                open_another()
    elapsed = time.perf_counter() - begun
    return _summary(latencies, failed, elapsed)


def _summary(latencies: list[int], failed: int, elapsed: float) -> Result:
    latencies.sort()

    def quantile(q: float) -> float:
        return latencies[min(len(latencies) - 1, int(len(latencies) * q))] / 1000 if latencies else 0.0

    count = len(latencies)
    return Result(
        requests=count,
        failed=failed,
        seconds=round(elapsed, 3),
        rate=round(count / elapsed, 1),
        p50=quantile(0.50),
        p90=quantile(0.90),
        p99=quantile(0.99),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", default="/")
    parser.add_argument("--authority", default="", help="the Host header; default: host:port")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=5.0)
    options = parser.parse_args()
    print(json.dumps(asdict(run(**vars(options)))))


if __name__ == "__main__":
    main()
