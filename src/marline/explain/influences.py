"""Policies and patches that act on a request on its way: RateLimitPolicies and ResiliencePolicies behind the
filters that may refuse it, and what EnvoyFilters and WasmPlugins have changed of what it passes through."""

from collections.abc import Iterable, Iterator
from typing import Any, Final

from marline.api.resource import Ref
from marline.compile.rate_limits import limits_of
from marline.compile.resilience import resilience_policy
from marline.compile.resource import LISTENER, ROUTE, VIRTUAL_HOST
from marline.explain.conditions import header_fault
from marline.explain.managers import acting_filters
from marline.explain.origin import Place
from marline.explain.request import CannotTell, Request
from marline.explain.routing import Decision
from marline.explain.rules import snake
from marline.explain.steps import Detail
from marline.explain.view import ClusterName, CompiledView
from marline.mesh.model import PatchId
from marline.mesh.plugins import WASM_PLUGIN
from marline.mesh.policies import RESILIENCE
from marline.mesh.snapshot import MeshSnapshot

Named = tuple[str, str]
"""The type and the name of an Envoy resource."""

_BY_LOAD: Final = {
    "adaptive_concurrency": ("adaptive concurrency may refuse requests (503)", "spec.adaptiveConcurrency"),
    "admission_control": ("admission control may refuse requests (503)", "spec.admissionControl"),
    "local_ratelimit": ("a local rate limit may refuse requests (429)", ""),
    "ratelimit": ("a rate limit may refuse requests (429)", ""),
}
"""Whether these of Envoy's filters refuse a request depends on others, not on the request alone. Beside each
the field of a ResiliencePolicy that asks for it."""


_WHERE: Final = {"Local": "by each proxy", "Global": "for all proxies"}


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
    """What may be done to this request when there are many, and because of what: RateLimitPolicies of the
    chosen rules, these other policies, or filters that patches have added."""
    for taken in decision.taken:
        yield from _limits(view.snapshot, taken.route, decision.request)
    resilience = [ref for ref in policies if (ref.group, ref.kind) == RESILIENCE]
    patches = [item for name in passed for item in view.patches(*name)]
    for item in acting_filters(manager, decision):
        text, field = _BY_LOAD.get(item.name.removeprefix("envoy.filters.http."), ("", ""))
        if text:
            places = [Place.at(ref, field) for ref in resilience] if field else []
            places = places or [_place(one) for one in patches if _adds(view.snapshot, one, item.name)]
            yield from (Detail(text, place) for place in places or (None,))


def _limits(snapshot: MeshSnapshot, route: Any, request: Request) -> Iterator[Detail]:
    """Those that count this request."""
    for ref, name, counted in limits_of(route):
        policy = snapshot.resource(ref)
        spec = policy.spec if policy is not None else None
        limits = spec.limits if spec is not None else ()
        index = next((number for number, item in enumerate(limits) if item.name == name), None)
        if spec is None or index is None or not _counts(counted, request):
            continue
        limit = limits[index]
        of_each = f" for each {' and '.join(key.type for key in limit.by)}" if limit.by else ""
        more = "pass, and are counted" if spec.mode == "Shadow" else f"get {spec.response.status_code}"
        rate = f"{limit.requests} a {limit.unit.lower()}{of_each}, counted {_WHERE[limit.scope]}"
        said = f"requests are limited to {rate}: more {more}"
        yield Detail(said, Place.at(ref, f"spec.limits[{index}]"))


def _counts(counted: Any, request: Request) -> bool:
    """Does a request fulfil the conditions of a limit? One that cannot be evaluated may hold."""
    for action in counted.actions:
        for header in action.header_value_match.headers:
            try:
                if header_fault(header, request):
                    return False
            except CannotTell:
                continue
    return True


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
