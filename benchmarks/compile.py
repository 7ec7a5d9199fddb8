"""What does it cost to compile all that a proxy may need, and what does one changed rule cost?

A sidecar that sees every service, each of which has a VirtualService and a DestinationRule with two subsets;
and gateways with as many routes, each of another host: Istio's with VirtualServices, the Gateway API's with
HTTPRoutes. Both are measured in this process, from typed resources to serialised Envoy resources: everything,
as for the first proxy after a start, and one edited rule of all. The result is their ratio.
"""

import argparse
import gc
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

from marline.api.decode import decode
from marline.compile.catalog import affected, compile_units, units
from marline.compile.resource import Blob, Recipe
from marline.mesh.model import Capture, ChangeSet, MeshSettings, Proxy, Role, Workload
from marline.mesh.snapshot import MeshSnapshot, advance, empty
from population import (
    API_GATEWAY,
    ISTIO_GATEWAY,
    NAMESPACE,
    edge_http_route,
    edge_virtual_service,
    objects,
    virtual_service,
)
from report import document, quantile, save, say, table

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Case:
    """A proxy, and what is edited: a rule of this kind."""

    title: str
    proxy: Proxy
    rule: Callable[[int, int], Object]
    """By the number of a service, and a share of its requests."""
    besides: tuple[Object, ...] = ()
    """What there is beside services."""


CLIENT = Workload(NAMESPACE, "client", "client", labels=(("app", "client"),))
INGRESS = Workload("istio-system", "ingress", labels=(("istio", "ingressgateway"),))
GATEWAY = Proxy("gateway~ingress", Role.GATEWAY, Capture.EXPLICIT, (INGRESS,))
CASES = {
    "sidecar": Case(
        "one VirtualService at a sidecar",
        Proxy("sidecar~client", Role.SIDECAR, Capture.TRANSPARENT, (CLIENT,)),
        virtual_service,
    ),
    "gateway": Case("one VirtualService at a gateway", GATEWAY, edge_virtual_service, (ISTIO_GATEWAY,)),
    "api_gateway": Case("one HTTPRoute at a gateway", GATEWAY, edge_http_route, (API_GATEWAY,)),
}


def whole(snapshot: MeshSnapshot, proxy: Proxy) -> dict[Recipe, Blob]:
    """All Envoy resources of the proxy."""
    made = compile_units(snapshot, proxy, units(snapshot, proxy))
    return {recipe: recipe.make() for _, recipes in made for recipe in recipes}


def edited(
    snapshot: MeshSnapshot, proxy: Proxy, rule: Object, turn: int, known: dict[Recipe, Blob]
) -> MeshSnapshot:
    """One rule changes, and what follows from that is compiled."""
    change = decode({**rule, "metadata": {**rule["metadata"], "generation": 2 + turn}})
    snapshot, impact = advance(snapshot, ChangeSet((change,), (), str(turn)))
    for _, recipes in compile_units(snapshot, proxy, affected(snapshot, proxy, impact)):
        for recipe in recipes:
            if recipe not in known:
                known[recipe] = recipe.make()
    return snapshot


def timed(work: Any, *arguments: Any) -> tuple[float, Any]:
    """Milliseconds of CPU time, and what came of it."""
    begun = time.process_time()
    result = work(*arguments)
    return (time.process_time() - begun) * 1000, result


def measure(case: Case, options: argparse.Namespace) -> dict[str, Any]:
    say(f"reading {options.services} services: {case.title}")
    given = [*objects(options.services, options.endpoints, routed_every=1), *case.besides]
    if case.besides:
        given.extend(case.rule(number, 1) for number in range(options.services))
    found = tuple(decode(item) for item in given)
    fulls: list[float] = []
    changes: list[float] = []
    for _ in range(options.rounds):
        snapshot, _ = advance(empty(MeshSettings()), ChangeSet(found, (), "1"))
        gc.collect()
        milliseconds, known = timed(whole, snapshot, case.proxy)
        fulls.append(milliseconds)
        size = sum(len(blob.wire) for blob in known.values())
        count = len(known)
        for turn in range(options.changes):
            rule = case.rule(turn * 37 % options.services, 2 + turn % 90)
            milliseconds, snapshot = timed(edited, snapshot, case.proxy, rule, turn, known)
            changes.append(milliseconds)
        say(f"compiled everything in {fulls[-1]:.0f} ms, a change in {median(changes):.2f} ms")
    return {
        "resources": count,
        "bytes": size,
        "full_ms": median(fulls),
        "change_p50_ms": median(changes),
        "change_p99_ms": quantile(changes, 0.99),
        "ratio": median(fulls) / median(changes),
    }


def shown(figures: dict[str, dict[str, Any]]) -> str:
    rows = [
        [
            CASES[name].title,
            f"{found['full_ms']:.0f}",
            f"{found['change_p50_ms']:.2f}",
            f"{found['change_p99_ms']:.2f}",
            f"1/{found['ratio']:.0f}",
        ]
        for name, found in figures.items()
    ]
    return table(["CPU ms", "everything", "a change, p50", "p99", "of everything"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--services", type=int, default=1000, help="each with a VirtualService")
    parser.add_argument("--endpoints", type=int, default=2, help="of each service")
    parser.add_argument("--changes", type=int, default=200, help="in each round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="see that it works, in some seconds")
    parser.add_argument("--json", default="", metavar="FILE", help="also write the figures there")
    options = parser.parse_args()
    if options.quick:
        options.services, options.changes, options.rounds = 200, 40, 1
    figures = {name: measure(case, options) for name, case in CASES.items()}
    names = ("services", "endpoints", "changes", "rounds")
    save(options.json, document({name: getattr(options, name) for name in names}, figures))
    print(shown(figures))


if __name__ == "__main__":
    main()
