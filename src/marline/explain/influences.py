"""Policies and patches that act on a request on its way: RateLimitPolicies and ResiliencePolicies behind the
filters that may refuse it, and what EnvoyFilters and WasmPlugins have changed of what it passes through."""

from collections.abc import Iterable, Iterator
from typing import Any, Final

from marline.api.resource import Ref
from marline.compile.resilience import resilience_policy
from marline.compile.resource import LISTENER, ROUTE, VIRTUAL_HOST
from marline.explain.managers import acting_filters
from marline.explain.origin import Place
from marline.explain.routing import Decision
from marline.explain.rules import snake
from marline.explain.steps import Detail
from marline.explain.view import ClusterName, CompiledView
from marline.mesh.model import PatchId
from marline.mesh.plugins import WASM_PLUGIN
from marline.mesh.policies import RATE_LIMIT, RESILIENCE, targets_of
from marline.mesh.snapshot import MeshSnapshot

Named = tuple[str, str]
"""The type and the name of an Envoy resource."""

_BY_LOAD: Final = {
    "envoy.filters.http.adaptive_concurrency": (
        "adaptive concurrency may refuse requests (503)", RESILIENCE, "spec.adaptiveConcurrency"),
    "envoy.filters.http.admission_control": (
        "admission control may refuse requests (503)", RESILIENCE, "spec.admissionControl"),
    "envoy.filters.http.local_ratelimit": (
        "a local rate limit may refuse requests (429)", RATE_LIMIT, "spec.limits"),
    "envoy.filters.http.ratelimit": ("a rate limit may refuse requests (429)", RATE_LIMIT, "spec.limits"),
}  # fmt: skip
"""Whether these refuse a request depends on others, not on the request alone."""


def passed_by(listener: str, manager: Any, decision: Decision) -> list[Named]:
    """What a request passes through in one proxy."""
    table = manager.rds.route_config_name
    named = [(LISTENER, listener), *([(ROUTE, table)] if table else [])]
    return [*named, (VIRTUAL_HOST, decision.host.name)] if decision.host is not None else named


def under_load(
    view: CompiledView,
    manager: Any,
    decision: Decision,
    passed: Iterable[Named],
    policies: Iterable[Ref] = (),
) -> Iterator[Detail]:
    """What filters may do to this request when there are many, and because of what: these policies, those of
    which something that it passes through is made, or patches that have added a filter."""
    names = list(passed)
    sources = [ref for name in names for ref in view.sources(*name)]
    found = [*policies, *_of_routes(view.snapshot, sources, decision)]
    patches = [item for name in names for item in view.patches(*name)]
    for name in acting_filters(manager, decision):
        if name in _BY_LOAD:
            text, kind, field = _BY_LOAD[name]
            places = [Place.at(ref, field) for ref in dict.fromkeys(found) if (ref.group, ref.kind) == kind]
            places = places or [_place(item) for item in patches if _adds(view.snapshot, item, name)]
            yield from (Detail(text, place) for place in places or (None,))


def _of_routes(snapshot: MeshSnapshot, sources: Iterable[Ref], decision: Decision) -> Iterator[Ref]:
    """Of these resources the policies that are attached to the chosen rules' resources, or to whole
    gateways."""
    rules = {taken.place.resource for taken in decision.taken if taken.place is not None}
    for ref in sources:
        policy = snapshot.resource(ref) if (ref.group, ref.kind) in (RATE_LIMIT, RESILIENCE) else None
        targets = targets_of(policy) if policy is not None else ()
        if any(item in rules or item.kind == "Gateway" for item in targets):
            yield ref


def resilience_place(snapshot: MeshSnapshot, cluster: str, field: str) -> Place | None:
    """The field of the ResiliencePolicy that counts for calls of a service's port, if it sets it."""
    parts = ClusterName.parse(cluster)
    service = snapshot.services.get(parts.hostname)
    port = service.port(parts.port) if service is not None else None
    if service is None or port is None:
        return None
    policy = resilience_policy(snapshot, service, port.name)
    is_set = policy is not None and getattr(policy.spec, snake(field)) is not None
    return Place.at(policy.ref, f"spec.{field}") if policy is not None and is_set else None


def patch_details(view: CompiledView, passed: Iterable[Named]) -> Iterator[Detail]:
    """What patches have changed of this."""
    for type_url, name in dict.fromkeys(passed):
        for item in view.patches(type_url, name):
            patch = _patch(view.snapshot, item)
            how = f" ({patch.apply_to} {patch.patch.operation})" if patch is not None else ""
            yield Detail(f"the {_said(type_url)} {name} is changed{how}", _place(item))


def _said(type_url: str) -> str:
    kind = type_url.rpartition(".")[2]
    return {"RouteConfiguration": "route table", "VirtualHost": "virtual host"}.get(kind, kind.lower())


def _place(item: PatchId) -> Place:
    is_plugin = (item.source.group, item.source.kind) == WASM_PLUGIN
    return Place.at(item.source, "spec" if is_plugin else f"spec.configPatches[{item.index}]")


def _patch(snapshot: MeshSnapshot, item: PatchId) -> Any | None:
    resource = snapshot.resource(item.source)
    patches = getattr(resource.spec, "config_patches", ()) if resource is not None else ()
    return patches[item.index] if item.index < len(patches) else None


def _adds(snapshot: MeshSnapshot, item: PatchId, name: str) -> bool:
    patch = _patch(snapshot, item)
    return patch is not None and patch.patch.value.get("name") == name
