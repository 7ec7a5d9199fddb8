"""What `marline demo --smoke` concludes from what the visitor and the proxies have seen. Pure."""

from collections.abc import Iterable, Iterator

from marline.cli.demo_traffic import Visitor
from marline.cli.mesh_view import EndView, MeshView, TrafficView, View
from marline.node.application import Application


class Totals(View, frozen=True):
    """Requests that were sent through the ingress gateway."""

    sent: int
    succeeded: int


class Pair(View, frozen=True):
    """The calls from one version of a service to another."""

    source: EndView
    destination: EndView
    requests: int
    success_rate: float | None
    mtls: bool


class Summary(View, frozen=True):
    """The outcome; `ok` if there are no problems."""

    ok: bool
    capture_mode: str
    url: str
    seconds_to_ready: float
    requests: Totals
    pairs: tuple[Pair, ...]
    problems: tuple[str, ...]


def expected_pairs(application: Application, entrance: str) -> set[tuple[str, str]]:
    """Which services must have called which: what the application file says, and gateways the entrance;
    without those that only some requests need."""
    found = {(gateway.name, entrance) for gateway in application.gateways}
    for item in application.workloads:
        found |= {(item.spec.service, upstream.host) for upstream in item.spec.upstreams}
    # The page shows the ratings that reviews bring along; its own way there is for its JSON API.
    return found - {(entrance, "ratings")}


def summarize(
    view: MeshView,
    visitor: Visitor,
    expected: set[tuple[str, str]],
    *,
    url: str,
    capture: str,
    seconds_to_ready: float,
) -> Summary:
    pairs = tuple(
        Pair(item.source, item.destination, item.requests, item.success_rate, bool(item.mtls))
        for item in view.traffic
    )
    problems = tuple(_problems(view.traffic, visitor, expected))
    return Summary(
        ok=not problems,
        capture_mode=capture,
        url=url,
        seconds_to_ready=round(seconds_to_ready, 2),
        requests=Totals(visitor.sent, visitor.sent - visitor.failed),
        pairs=pairs,
        problems=problems,
    )


def is_complete(view: MeshView, visitor: Visitor, expected: set[tuple[str, str]]) -> bool:
    """Have the proxies reported everything? They count when an answer has ended, a little after it came."""
    entered = sum(item.requests for item in view.traffic if _is_entrance(item, expected))
    verified = all(item.source.identities and item.destination.identities for item in view.traffic)
    return entered >= visitor.sent and verified and not _silent(view.traffic, expected)


def _is_entrance(item: TrafficView, expected: set[tuple[str, str]]) -> bool:
    called = {destination for _, destination in expected}
    return item.source.service not in called


def _silent(traffic: Iterable[TrafficView], expected: set[tuple[str, str]]) -> set[tuple[str, str]]:
    return expected - {(item.source.service, item.destination.service) for item in traffic if item.requests}


def _problems(
    traffic: tuple[TrafficView, ...], visitor: Visitor, expected: set[tuple[str, str]]
) -> Iterator[str]:
    if visitor.failed:
        yield f"{visitor.failed} of {visitor.sent} requests failed, the first: {visitor.failures[0]}"
    for source, destination in sorted(_silent(traffic, expected)):
        yield f"there was no traffic from {source} to {destination}"
    for item in traffic:
        callee = f"{item.destination.qualified} {item.destination.version}".rstrip()
        named = f"from {item.source.qualified} to {callee}"
        if not item.mtls:
            yield f"traffic {named} is not over mutual TLS"
        elif not item.source.identities or not item.destination.identities:
            yield f"traffic {named} has no verified identity at both ends"
        if item.success_rate is not None and item.success_rate < 1:
            yield f"of the requests {named} {1 - item.success_rate:.1%} failed"
