"""Weights, ports and timeouts of VirtualServices that do not do what they look like."""

from collections.abc import Iterator

from marline.analyze.findings import (
    CORS_WITHOUT_ROUTE,
    OUTLIVES_CALLER,
    PORT_REQUIRED,
    RETRIES_CUT_OFF,
    WEIGHTS,
    Finding,
)
from marline.analyze.names import services_named, virtual_services
from marline.analyze.references import destinations
from marline.api.networking.virtual_service import HTTPRoute, VirtualServiceSpec
from marline.api.resource import Resource
from marline.api.scalars import Duration
from marline.mesh.model import Proxy
from marline.mesh.snapshot import MeshSnapshot
from marline.mesh.visibility import Scope


def weights(snapshot: MeshSnapshot) -> Iterator[Finding]:
    for item in virtual_services(snapshot):
        for kind in ("http", "tls", "tcp"):
            for index, rule in enumerate(getattr(item.spec, kind)):
                shares = [each.weight for each in rule.route]
                if len(shares) > 1 and sum(shares) != 100:
                    given = " + ".join(map(str, shares))
                    message = f"the weights {given} add up to {sum(shares)}"
                    yield Finding(WEIGHTS, item.ref, f"spec.{kind}[{index}].route", message)


def ambiguous_ports(snapshot: MeshSnapshot) -> Iterator[Finding]:
    for item in virtual_services(snapshot):
        for path, destination in destinations(item.spec):
            if destination.port is not None:
                continue
            for service in services_named(snapshot, destination.host, item.namespace)[:1]:
                if len(service.ports) > 1:
                    ports = ", ".join(str(port.number) for port in service.ports)
                    message = f"{service.hostname} has the ports {ports}"
                    yield Finding(PORT_REQUIRED, item.ref, path, message)


def retries_cut_off(snapshot: MeshSnapshot) -> Iterator[Finding]:
    for item in virtual_services(snapshot):
        for index, rule in enumerate(item.spec.http):
            needed = _all_attempts(rule)
            if rule.timeout and needed is not None and needed > rule.timeout:
                assert rule.retries is not None and rule.retries.per_try_timeout is not None  # noqa: S101
                attempts = rule.retries.attempts + 1
                message = (
                    f"{attempts} attempts of {rule.retries.per_try_timeout} take up to {needed},"
                    f" the timeout is {rule.timeout}"
                )
                yield Finding(RETRIES_CUT_OFF, item.ref, f"spec.http[{index}].retries", message)


def cors_without_route(snapshot: MeshSnapshot) -> Iterator[Finding]:
    """Envoy's CORS filter leaves alone what no cluster answers."""
    for item in virtual_services(snapshot):
        for index, rule in enumerate(item.spec.http):
            if rule.cors_policy is not None and (rule.redirect or rule.direct_response):
                what = "redirect" if rule.redirect else "directResponse"
                message = f"it has no effect on the rule's {what}"
                yield Finding(CORS_WITHOUT_ROUTE, item.ref, f"spec.http[{index}].corsPolicy", message)


def _all_attempts(rule: HTTPRoute) -> Duration | None:
    """How long all attempts of a rule may take, if each has an end of its own."""
    if rule.retries is None or not rule.retries.attempts or not rule.retries.per_try_timeout:
        return None
    return Duration((rule.retries.attempts + 1) * rule.retries.per_try_timeout)


def _longest(rule: HTTPRoute) -> Duration | None:
    """How long a call by this rule may take; None: there is no end that it sets."""
    ends = [end for end in (rule.timeout, _all_attempts(rule)) if end]
    return min(ends, default=None)


def calls_that_outlive_their_caller(snapshot: MeshSnapshot, proxies: tuple[Proxy, ...]) -> Iterator[Finding]:
    """A waits for B at most so long, but B for C longer: along the upstreams that workloads declare."""
    for item in virtual_services(snapshot):
        limits = [(index, rule.timeout) for index, rule in enumerate(item.spec.http) if rule.timeout]
        for host in item.spec.hosts if limits else ():
            index, limit = max(limits, key=lambda each: each[1])
            for service in services_named(snapshot, host, item.namespace):
                callees = {
                    (workload.namespace, upstream.host)
                    for proxy in proxies
                    for workload in proxy.workloads
                    if workload.namespace == service.namespace
                    and service.selector
                    and set(service.selector) <= set(workload.labels)
                    for upstream in workload.upstreams
                }
                for namespace, callee in sorted(callees):
                    yield from _outliving(snapshot, item, index, limit, host, namespace, callee)


def _outliving(
    snapshot: MeshSnapshot,
    caller: Resource[VirtualServiceSpec],
    caller_rule: int,
    limit: Duration,
    host: str,
    namespace: str,
    callee: str,
) -> Iterator[Finding]:
    found = snapshot.virtual_service(snapshot.resolve_host(callee, namespace), Scope(namespace))
    if found is None:
        return
    rules = snapshot.merged(found)
    for index, rule in enumerate(rules.resource.spec.http):
        longest, origin = _longest(rule), rules.origin(index)
        if longest is not None and longest > limit:
            message = (
                f"{host} may wait {longest} for {callee}, but who calls {host} waits {limit}"
                f" ({caller.ref}, spec.http[{caller_rule}].timeout)"
            )
            yield Finding(OUTLIVES_CALLER, origin.resource, origin.field, message)
