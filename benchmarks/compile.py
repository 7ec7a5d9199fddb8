"""What does it cost to compile all that a proxy may need, and what does one changed rule cost?

A sidecar that sees every service, each of which has a VirtualService and a DestinationRule with two subsets.
Both are measured in this process, from typed resources to serialised Envoy resources: everything at once, as
for the first proxy after a start, and one edited VirtualService of all. The result is their ratio.
"""

import argparse
import gc
import time
from statistics import median
from typing import Any

from marline.api.decode import decode
from marline.compile.catalog import affected, compile_units, units
from marline.compile.resource import Blob, Recipe
from marline.mesh.model import Capture, ChangeSet, MeshSettings, Proxy, Role, Workload
from marline.mesh.snapshot import MeshSnapshot, advance, empty
from population import NAMESPACE, objects, virtual_service
from report import document, quantile, save, say, table

CLIENT = Workload(NAMESPACE, "client", "client", labels=(("app", "client"),))
PROXY = Proxy("sidecar~client", Role.SIDECAR, Capture.TRANSPARENT, (CLIENT,))


def whole(snapshot: MeshSnapshot) -> dict[Recipe, Blob]:
    """All Envoy resources of the proxy."""
    made = compile_units(snapshot, PROXY, units(snapshot, PROXY))
    return {recipe: recipe.make() for _, recipes in made for recipe in recipes}


def edited(snapshot: MeshSnapshot, number: int, turn: int, known: dict[Recipe, Blob]) -> MeshSnapshot:
    """One VirtualService changes, and what follows from that is compiled."""
    metadata = {"name": f"service-{number}", "namespace": NAMESPACE, "generation": 2 + turn}
    change = decode({**virtual_service(number, 2 + turn % 90), "metadata": metadata})
    snapshot, impact = advance(snapshot, ChangeSet((change,), (), str(turn)))
    for _, recipes in compile_units(snapshot, PROXY, affected(snapshot, PROXY, impact)):
        for recipe in recipes:
            if recipe not in known:
                known[recipe] = recipe.make()
    return snapshot


def timed(work: Any, *arguments: Any) -> tuple[float, Any]:
    """Milliseconds of CPU time, and what came of it."""
    begun = time.process_time()
    result = work(*arguments)
    return (time.process_time() - begun) * 1000, result


def measure(options: argparse.Namespace) -> dict[str, Any]:
    say(f"reading {options.services} services")
    found = tuple(decode(item) for item in objects(options.services, options.endpoints, routed_every=1))
    fulls: list[float] = []
    changes: list[float] = []
    for _ in range(options.rounds):
        snapshot, _ = advance(empty(MeshSettings()), ChangeSet(found, (), "1"))
        gc.collect()
        milliseconds, known = timed(whole, snapshot)
        fulls.append(milliseconds)
        size = sum(len(blob.wire) for blob in known.values())
        count = len(known)
        for turn in range(options.changes):
            number = turn * 37 % options.services
            milliseconds, snapshot = timed(edited, snapshot, number, turn, known)
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


def shown(figures: dict[str, Any]) -> str:
    return table(
        ["", "CPU ms", "of everything"],
        [
            ["everything", f"{figures['full_ms']:.0f}", "1"],
            ["one VirtualService, median", f"{figures['change_p50_ms']:.2f}", f"1/{figures['ratio']:.0f}"],
            ["one VirtualService, p99", f"{figures['change_p99_ms']:.2f}", ""],
        ],
    )


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
    figures = measure(options)
    names = ("services", "endpoints", "changes", "rounds")
    save(options.json, document({name: getattr(options, name) for name in names}, figures))
    print(shown(figures))


if __name__ == "__main__":
    main()
