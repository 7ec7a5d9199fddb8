"""What a route does to the requests that it takes, besides choosing where they go."""

from collections.abc import Iterator
from typing import Any

from marline.compile.gateway_api_session import SESSION_FILTER
from marline.explain.fractions import seconds, share_of
from marline.explain.influences import resilience_place
from marline.explain.origin import Place
from marline.explain.routing import Outcome, Taken
from marline.explain.rules import part_of
from marline.explain.steps import Detail, Step, percent
from marline.mesh.snapshot import MeshSnapshot


def fact_steps(snapshot: MeshSnapshot, taken: Taken) -> Iterator[Step]:
    """Faults, rewrites, headers, mirrors, sessions, timeout and retries of a route that was chosen."""
    place = taken.place

    def part(*names: str) -> Place | None:
        return part_of(snapshot, place, *names)

    yield from _fault_steps(taken, part("fault"))
    action = taken.route.route if taken.route.WhichOneof("action") == "route" else None
    headers = [Detail(text) for text in _header_changes(taken.route)]
    if headers:
        yield Step("headers", "headers are changed", part("headers", "filters"), tuple(headers))
    if action is None:
        return
    sent = next((item for item in taken.outcomes if item.by == "cluster"), None)
    if sent is not None:
        yield from _rewrite_steps(taken, sent, part("rewrite", "headers", "filters"))
    for mirror in action.request_mirror_policies:
        share = share_of(mirror.runtime_fraction.default_value) if mirror.HasField("runtime_fraction") else 1
        said = f"{percent(share)} are also sent to {mirror.cluster}, whose answers nobody waits for"
        yield Step("mirror", said, part("mirror", "mirrors", "filters"))
    if SESSION_FILTER in taken.route.typed_per_filter_config:
        said = "later requests of a session stay with the endpoint of its first"
        yield Step("session", said, part("sessionPersistence"))
    limit = seconds(action.timeout)
    said = f"{limit:g}s for the request with all its retries" if limit else "none for the request as a whole"
    yield Step("timeout", said, part("timeout", "timeouts"))
    retries = part("retries", "retry")
    yield Step("retries", _retries(action) + ("" if retries else " (the default)"), retries)
    if action.hedge_policy.hedge_on_per_try_timeout and sent is not None:
        said = "an attempt that takes too long goes on beside the next one: the first answer counts"
        yield Step("hedging", said, resilience_place(snapshot, sent.cluster, "hedging"))


def _fault_steps(taken: Taken, place: Place | None) -> Iterator[Step]:
    faults = taken.faults
    if faults.delay_share:
        yield Step("fault", f"{percent(faults.delay_share)} are delayed by {faults.delay_seconds:g}s", place)
    if faults.abort_share:
        said = f"HTTP {faults.abort_status}"
        if faults.abort_grpc_status is not None:
            said = f"gRPC status {faults.abort_grpc_status}"
        yield Step("fault", f"{percent(faults.abort_share)} are answered with {said}", place)


def _rewrite_steps(taken: Taken, outcome: Outcome, place: Place | None) -> Iterator[Step]:
    before, after = taken.request, outcome.request
    if after is None:
        return
    if before.path != after.path:
        yield Step("rewrite", f"the path {before.path} becomes {after.path}", place)
    if before.authority != after.authority:
        yield Step("rewrite", f"the host {before.authority} becomes {after.authority}", place)


def _header_changes(route: Any) -> Iterator[str]:
    for what, message in (("request", "request"), ("response", "response")):
        for option in getattr(route, f"{message}_headers_to_add"):
            name, value = option.header.key, option.header.value
            verb = "is set to" if option.append_action else "gets"
            yield f"{what} header {name} {verb} {value!r}"
        for name in getattr(route, f"{message}_headers_to_remove"):
            yield f"{what} header {name} is removed"


def _retries(action: Any) -> str:
    policy = action.retry_policy
    if not action.HasField("retry_policy") or not policy.retry_on:
        return "none"
    codes = ", ".join(str(code) for code in policy.retriable_status_codes)
    on = policy.retry_on.replace("retriable-status-codes", f"status {codes}") if codes else policy.retry_on
    said = f"{policy.num_retries.value if policy.HasField('num_retries') else 1} for {on.replace(',', ', ')}"
    if policy.HasField("per_try_timeout"):
        said += f"; {seconds(policy.per_try_timeout):g}s for each attempt"
    return said
