"""What a request costs: direct, through one proxy, through pairs of proxies, Marline's among them.

    python benchmarks/data_path.py [--seconds 0.5] [--rounds 60] [--connections 16] [--json FILE] [--quick]

Each round loads every way once, for a short time, so that a machine that becomes slower or faster does so
for all; the order is reversed in every second round. Figures are medians over the rounds. CPU per
request is that of the proxies, without the load generator and the application. The ratio is taken round
by round: sidecars of Marline to a hand-written pair with the same features. docs/benchmarks.md has more.
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
_PLAIN_PAIR, _PAIR, _MARLINE = "pair", "pair-metrics", "marline"
_TITLES = {
    "direct": "direct",
    "one-hop": "one hop, plain text",
    _PLAIN_PAIR: "pair by hand: mTLS",
    _PAIR: "pair by hand: mTLS, metrics",
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
    return Measurement(result.rate, result.p50, result.p99, cpu / result.requests * 1e6, result.requests)


def measure_all(chosen: list[Way], options: argparse.Namespace) -> dict[str, list[Measurement]]:
    """Every way, round by round."""
    found: dict[str, list[Measurement]] = {way.name: [] for way in chosen}
    for index in range(options.rounds):
        for way in reversed(chosen) if index % 2 else chosen:
            found[way.name].append(measure(way, options.seconds, options.connections))
        cpu = ", ".join(f"{name} {items[-1].cpu:.1f}" for name, items in found.items())
        say(f"round {index + 1} of {options.rounds}; CPU per request in µs: {cpu}")
    return found


def figures(chosen: list[Way], found: dict[str, list[Measurement]]) -> dict[str, Any]:
    """Medians, and the ratio that is the point of it all."""
    made: dict[str, Any] = {}
    for way in chosen:
        rounds = [asdict(item) for item in found[way.name]]
        middle = {
            key: statistics.median(item[key] for item in rounds) for key in ("rate", "p50", "p99", "cpu")
        }
        made[way.name] = {
            "requests_per_second": round(middle["rate"]),
            "p50_us": round(middle["p50"]),
            "p99_us": round(middle["p99"]),
            "cpu_us_per_request": round(middle["cpu"], 2),
            "resident_mb": round(sum(map(resident_mb, way.pids)), 1),
            "requests": sum(item["requests"] for item in rounds),
            "rounds": rounds,
        }
    return {"ways": made, **_ratios(found)}


def _ratios(found: dict[str, list[Measurement]]) -> dict[str, Any]:
    if not {_MARLINE, _PAIR} <= found.keys():
        return {}
    ratios = [ours.cpu / theirs.cpu for ours, theirs in zip(found[_MARLINE], found[_PAIR], strict=True)]
    lower, middle, upper = statistics.quantiles(ratios, n=4, method="inclusive")
    return {
        "cpu_ratio": round(middle, 3),
        "cpu_ratio_lower_quartile": round(lower, 3),
        "cpu_ratio_upper_quartile": round(upper, 3),
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
        text += (
            f"\n\nCPU per request, Marline to the pair by hand with metrics: {result['cpu_ratio']:.3f}"
            f" (half of the rounds: {result['cpu_ratio_lower_quartile']:.3f}"
            f" to {result['cpu_ratio_upper_quartile']:.3f})"
        )
    return text


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=0.5, help="the length of each measurement")
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--connections", type=int, default=16, help="requests under way at a time")
    parser.add_argument("--only", nargs="+", choices=_TITLES, default=list(_TITLES), help="some ways only")
    parser.add_argument("--quick", action="store_true", help="see that it works, in some seconds")
    parser.add_argument("--json", default="", metavar="FILE", help="also write the figures there")
    options = parser.parse_args()
    if options.quick:
        options.seconds, options.rounds = 0.3, 2
    return options


def main() -> None:
    options = _options()
    with ending_in_order(), tempfile.TemporaryDirectory(prefix="marline-bench-") as folder:
        say("starting a mesh and the proxies to compare it with")
        with ways(Path(folder)) as (workers, every):
            chosen = [way for way in every if way.name in options.only]
            result = figures(chosen, measure_all(chosen, options))
    parameters = {
        "seconds": options.seconds,
        "rounds": options.rounds,
        "connections": options.connections,
        "workers": workers,
    }
    print(shown(result))
    save(options.json, document(parameters, result))


if __name__ == "__main__":
    main()
