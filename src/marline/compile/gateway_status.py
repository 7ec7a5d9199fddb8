"""What Istio's Gateways are told about themselves: whether anybody serves them, what others have had
first, and what they refer to in vain.

Istio itself says nothing of these (it merges Gateways silently); the conditions are those that the Gateway
API has for the same facts (gateway-api.sigs.k8s.io, `GatewayStatus` and `ListenerStatus`).
"""

from collections.abc import Callable, Iterable, Sequence

from marline.api.networking.gateway import GatewaySpec
from marline.api.resource import Ref, Resource
from marline.compile.gateway_api_conditions import Status, Verdict, changed, conditions, own_conditions
from marline.compile.gateway_conflicts import Conflict
from marline.compile.gateway_lookup import istio_gateways
from marline.compile.gateway_plan import gateway_plan
from marline.mesh.model import Proxy
from marline.mesh.rules import ISTIO_GATEWAY
from marline.mesh.snapshot import MeshSnapshot


def istio_statuses(
    snapshot: MeshSnapshot,
    now: str,
    proxies: Sequence[Proxy] = (),
    rejected: Callable[[Ref], str] = lambda ref: "",
) -> tuple[tuple[Ref, Status], ...]:
    """The statuses that differ from what the Gateways say now; arguments as for the Gateway API's
    `statuses`."""
    serving: dict[Ref, list[Proxy]] = {}
    for proxy in proxies:
        for gateway in istio_gateways(snapshot, proxy):
            serving.setdefault(gateway.ref, []).append(proxy)
    found: list[tuple[Ref, Status]] = []
    for item in snapshot.resources(*ISTIO_GATEWAY):
        verdicts = _verdicts(snapshot, item, serving.get(item.ref, []), rejected(item.ref))
        status: Status = {"conditions": conditions(item, own_conditions(item), verdicts, now)}
        found.extend(changed(item, status))
    return tuple(found)


def _verdicts(
    snapshot: MeshSnapshot, gateway: Resource[GatewaySpec], proxies: Sequence[Proxy], rejected: str
) -> list[Verdict]:
    plans = [gateway_plan(snapshot, proxy) for proxy in proxies]
    conflicts = [item for plan in plans for item in plan.conflicts if item.server.source == gateway.ref]
    faults = _each_once(
        f"server {server.name!r}: {fault}"
        for plan in plans
        for listener in plan.listeners
        for server in listener.servers
        if server.source == gateway.ref
        for fault in server.faults
    )
    return [
        _accepted(gateway, proxies),
        _conflicted(conflicts),
        Verdict("ResolvedRefs", not faults, "InvalidCertificateRef" if faults else "ResolvedRefs", faults),
        Verdict("Programmed", not rejected, "RejectedByProxy" if rejected else "Programmed", rejected),
    ]


def _accepted(gateway: Resource[GatewaySpec], proxies: Sequence[Proxy]) -> Verdict:
    if proxies:
        names = ", ".join(sorted(proxy.workloads[0].name for proxy in proxies))
        return Verdict("Accepted", True, "Accepted", f"served by {names}")
    labels = ", ".join(f"{key}={value}" for key, value in sorted(gateway.spec.selector.items()))
    message = f"no gateway that is connected has the labels {labels}" if labels else "no gateway is connected"
    return Verdict("Accepted", False, "NoMatchingProxy", message)


def _conflicted(conflicts: Sequence[Conflict]) -> Verdict:
    if not conflicts:
        return Verdict("Conflicted", False, "NoConflicts", "")
    message = _each_once(f"server {item.server.name!r}: {item.message}" for item in conflicts)
    return Verdict("Conflicted", True, conflicts[0].reason, message)


def _each_once(messages: Iterable[str]) -> str:
    return "; ".join(dict.fromkeys(messages))
