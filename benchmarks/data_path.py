"""What a request costs: direct, through one proxy, through pairs of proxies, Marline's among them.

    python benchmarks/data_path.py [--seconds 0.5] [--rounds 20] [--starts 3] [--connections 16]
                                   [--json FILE] [--quick]

Each round loads every way once, for a short time, so that a machine that becomes slower or faster does so
for all; the order is reversed in every second round. All processes are started anew several times, since
two processes of the same program differ by a percent or two for as long as they live. Figures are medians
over all rounds. CPU per request is that of the proxies, without the load generator and the application.
The ratio is taken round by round: sidecars of Marline to hand-written pairs with the same features, of
which there are two, so that the ratio of these shows what the measurement is worth. docs/benchmarks.md has
more.
"""

import argparse
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ending import ending_in_order
from envoys import Envoy, cpu_seconds, requests_counted, resident_mb
from handwritten import certificates, client_side, one_hop, server_side
from load import run
from marline.node.ports import Reservations
from report import document, save, say, table
from sidecars import sidecar_pair

_WARM_UP = 0.1
"""Of the time of a measurement; it comes first and is not counted."""
_PLAIN_PAIR, _PAIR, _AGAIN, _MARLINE = "pair", "pair-metrics", "pair-again", "marline"
_TITLES = {
    "direct": "direct",
    "one-hop": "one hop, plain text",
    _PLAIN_PAIR: "pair by hand: mTLS",
    _PAIR: "pair by hand: mTLS, metrics",
    _AGAIN: "the same once more",
    _MARLINE: "sidecars of Marline",
}


@dataclass(frozen=True, slots=True)
class Way:
    """One way to the application."""

    name: str
    port: int
    pids: tuple[int, ...] = ()
    counted_by: tuple[Path, ...] = ()
    """Admin sockets of proxies that must have counted every request."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """One way in one round; latencies and CPU in microseconds."""

    rate: float
    p50: float
    p99: float
    cpu: float
    resident: float
    """Megabytes, of all its proxies together."""
    requests: int


@contextmanager
def ways(folder: Path) -> Iterator[tuple[int, list[Way]]]:
    """All of them, running at the same time, and the number of worker threads of each proxy."""
    with ExitStack() as stack:
        reservations = Reservations()
        stack.callback(reservations.release)
        app = reservations.port()
        mesh = stack.enter_context(sidecar_pair(folder, app))
        certs = certificates(folder)

        def started(name: str, port: int, config: dict[str, Any]) -> Envoy:
            return stack.enter_context(Envoy(folder, name, config, port, mesh.workers))

        def pair(name: str, *, metrics: bool) -> Way:
            near, far = reservations.port(), reservations.port()
            server = started(f"{name}-server", far, server_side(far, app, certs, metrics=metrics))
            client = started(f"{name}-client", near, client_side(near, far, certs, metrics=metrics))
            counted_by = (client.admin_socket, server.admin_socket) if metrics else ()
            return Way(name, near, (client.pid, server.pid), counted_by)

        hop = reservations.port()
        envoy = started("one-hop", hop, one_hop(hop, app))
        counted_by = (Path(mesh.client.admin_socket), Path(mesh.server.admin_socket))
        yield (
            mesh.workers,
            [
                Way("direct", app),
                Way("one-hop", hop, (envoy.pid,)),
                pair(_PLAIN_PAIR, metrics=False),
                pair(_PAIR, metrics=True),
                pair(_AGAIN, metrics=True),
                Way(_MARLINE, mesh.port, mesh.pids, counted_by),
            ],
        )


def measure(way: Way, seconds: float, connections: int) -> Measurement:
    """Load one way."""
    before = sum(map(requests_counted, way.counted_by))
    warm = run("127.0.0.1", way.port, connections=connections, seconds=seconds * _WARM_UP)
    cpu = cpu_seconds(way.pids)
    result = run("127.0.0.1", way.port, connections=connections, seconds=seconds)
    cpu = cpu_seconds(way.pids) - cpu
    if result.failed or warm.failed:
        raise SystemExit(f"{way.name}: {result.failed + warm.failed} requests have failed")
    answered = (result.requests + warm.requests) * len(way.counted_by)
    if sum(map(requests_counted, way.counted_by)) - before < answered:
        raise SystemExit(f"{way.name}: not every request was counted in the proxies' metrics")
    resident = sum(map(resident_mb, way.pids))
    return Measurement(
        result.rate, result.p50, result.p99, cpu / result.requests * 1e6, resident, result.requests
    )


def measure_all(chosen: list[Way], options: argparse.Namespace) -> Iterator[dict[str, Measurement]]:
    """Every way, round by round."""
    for index in range(options.rounds):
        in_order = reversed(chosen) if index % 2 else chosen
        found = {way.name: measure(way, options.seconds, options.connections) for way in in_order}
        cpu = ", ".join(f"{way.name} {found[way.name].cpu:.1f}" for way in chosen)
        say(f"round {index + 1} of {options.rounds}; CPU per request in µs: {cpu}")
        yield found


def figures(rounds: list[dict[str, Measurement]], names: list[str]) -> dict[str, Any]:
    """Medians, and the ratio that is the point of it all."""
    made: dict[str, Any] = {}
    for name in names:
        every = [asdict(found[name]) for found in rounds]
        middle = {key: statistics.median(item[key] for item in every) for key in every[0]}
        made[name] = {
            "requests_per_second": round(middle["rate"]),
            "p50_us": round(middle["p50"]),
            "p99_us": round(middle["p99"]),
            "cpu_us_per_request": round(middle["cpu"], 2),
            "resident_mb": round(middle["resident"], 1),
            "requests": sum(item["requests"] for item in every),
            "rounds": every,
        }
    return {"ways": made, **_ratios(rounds, names)}


def _ratios(rounds: list[dict[str, Measurement]], names: list[str]) -> dict[str, Any]:
    if not {_MARLINE, _PAIR, _AGAIN} <= set(names):
        return {}
    ratios = [found[_MARLINE].cpu * 2 / (found[_PAIR].cpu + found[_AGAIN].cpu) for found in rounds]
    lower, middle, upper = statistics.quantiles(ratios, n=4, method="inclusive")
    return {
        "cpu_ratio": round(middle, 3),
        "cpu_ratio_lower_quartile": round(lower, 3),
        "cpu_ratio_upper_quartile": round(upper, 3),
        "cpu_ratio_of_equal_pairs": round(
            statistics.median(found[_AGAIN].cpu / found[_PAIR].cpu for found in rounds), 3
        ),
    }


def shown(result: dict[str, Any]) -> str:
    rows = [
        (
            _TITLES[name],
            f"{item['requests_per_second']:,}",
            f"{item['p50_us']:,}",
            f"{item['p99_us']:,}",
            f"{item['cpu_us_per_request']:.1f}" if item["cpu_us_per_request"] else "",
            f"{item['resident_mb']:.0f}" if item["resident_mb"] else "",
        )
        for name, item in result["ways"].items()
    ]
    text = table(("", "requests/s", "p50 µs", "p99 µs", "CPU µs/request", "resident MB"), rows)
    if "cpu_ratio" in result:
        text += f"""

CPU per request, Marline to the pairs by hand with metrics: {result["cpu_ratio"]:.3f} \
(half of the rounds: {result["cpu_ratio_lower_quartile"]:.3f} to {result["cpu_ratio_upper_quartile"]:.3f})
of these two pairs, which are equal, to one another: {result["cpu_ratio_of_equal_pairs"]:.3f}"""
    return text


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=0.5, help="the length of each measurement")
    parser.add_argument("--rounds", type=int, default=20, help="after each start")
    parser.add_argument("--starts", type=int, default=3, help="how often all processes are started anew")
    parser.add_argument("--connections", type=int, default=16, help="requests under way at a time")
    parser.add_argument("--only", nargs="+", choices=_TITLES, default=list(_TITLES), help="some ways only")
    parser.add_argument("--quick", action="store_true", help="see that it works, in some seconds")
    parser.add_argument("--json", default="", metavar="FILE", help="also write the figures there")
    options = parser.parse_args()
    if options.quick:
        options.seconds, options.rounds, options.starts = 0.2, 2, 1
    return options


def main() -> None:
    options = _options()
    rounds: list[dict[str, Measurement]] = []
    workers = 0
    with ending_in_order():
        for index in range(options.starts):
            say(f"starting a mesh and the proxies to compare it with, {index + 1} of {options.starts}")
            with (
                tempfile.TemporaryDirectory(prefix="marline-bench-") as folder,
                ways(Path(folder)) as (workers, every),
            ):
                rounds += measure_all([way for way in every if way.name in options.only], options)
    result = figures(rounds, [name for name in _TITLES if name in options.only])
    parameters = {
        "seconds": options.seconds,
        "rounds": options.rounds,
        "starts": options.starts,
        "connections": options.connections,
        "workers": workers,
    }
    print(shown(result))
    save(options.json, document(parameters, result))


if __name__ == "__main__":
    main()
