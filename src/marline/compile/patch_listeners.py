"""Patches of a listener: of itself, its listener filters, its filter chains, and what is in those.

The order is Istio's: from the outside in, what is added last; so a patch sees what those before have made.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Final

from envoy.config.listener.v3 import listener_components_pb2, listener_pb2
from envoy.extensions.filters.network.http_connection_manager.v3 import (
    http_connection_manager_pb2 as hcm_pb2,
)

from marline.compile.filters import HCM, ROUTER_FILTER
from marline.compile.patch_lists import Matches, change_list
from marline.compile.patch_match import (
    INBOUND,
    Site,
    chain_matches,
    http_filter_name,
    is_called,
    listener_matches,
    network_filter_match,
)
from marline.compile.patch_merge import MERGES, merge, same_type
from marline.compile.patch_routes import patch_table
from marline.mesh.model import PatchId
from marline.mesh.patches import Patch

_AFTER: Final = {
    "AUTHN": ("envoy.filters.http.jwt_authn",),
    "AUTHZ": ("envoy.filters.http.jwt_authn", "envoy.filters.http.rbac", "envoy.filters.http.ext_authz"),
}
"""What a filter of a class comes after (istio.io, "Envoy Filter", `FilterClass`)."""
_PLUGIN: Final = ".wasm.v3.Wasm"
_BEFORE: Final = {"AUTHN": (), "AUTHZ": _AFTER["AUTHN"], "STATS": _AFTER["AUTHZ"]}
"""What comes before plugins of a phase (istio.io, "Wasm Plugin", `PluginPhase`)."""


def patch_listener(listener: Any, patches: Iterable[Patch], site: Site) -> Iterator[PatchId]:
    """Apply patches to a listener; one without a name afterwards is to be removed. Yields which applied."""
    mine = [item for item in patches if site.has(item) and listener_matches(item, listener, site)]
    name = listener.name
    for patch in _of(mine, "LISTENER"):
        yield patch.id
        if patch.operation == "REMOVE":
            listener.Clear()
            return
        merge(listener, listener_pb2.Listener.FromString(patch.value), patch.operation)
        listener.name = name
    for patch in _of(mine, "LISTENER_FILTER"):
        if _listener_filter(listener, patch):
            yield patch.id
    for chain in _chains(listener):
        yield from _filter_chain(listener, chain, mine, site)
    _drop_empty_chains(listener)
    for patch in _of(mine, "FILTER_CHAIN"):
        if patch.operation == "ADD":
            listener.filter_chains.append(listener_components_pb2.FilterChain.FromString(patch.value))
            yield patch.id


def _of(patches: Iterable[Patch], apply_to: str) -> Iterator[Patch]:
    return (patch for patch in patches if patch.apply_to == apply_to)


def _chains(listener: Any) -> list[Any]:
    default = [listener.default_filter_chain] if listener.HasField("default_filter_chain") else []
    return [*listener.filter_chains, *default]


def _drop_empty_chains(listener: Any) -> None:
    for index in reversed(range(len(listener.filter_chains))):
        if not listener.filter_chains[index].filters:
            del listener.filter_chains[index]
    if listener.HasField("default_filter_chain") and not listener.default_filter_chain.filters:
        listener.ClearField("default_filter_chain")


def _listener_filter(listener: Any, patch: Patch) -> bool:
    name = patch.listener.listener_filter if patch.listener is not None else ""
    matches = _called(name)
    value = listener_components_pb2.ListenerFilter.FromString(patch.value)
    if patch.operation == "MERGE":
        return _merge_filters(listener.listener_filters, value, matches)
    return change_list(listener.listener_filters, patch.operation, value, matches)


def _called(name: str) -> Matches | None:
    return (lambda item: is_called(item, name)) if name else None


def _merge_filters(items: Iterable[Any], value: Any, matches: Matches | None) -> bool:
    """Those that match and hold a configuration of the type that is merged into it."""
    found = [
        item
        for item in items
        if (matches is None or matches(item)) and same_type(item.typed_config, value.typed_config)
    ]
    for item in found:
        merge(item, value)
    return bool(found)


def _filter_chain(listener: Any, chain: Any, patches: list[Patch], site: Site) -> Iterator[PatchId]:
    for patch in _of(patches, "FILTER_CHAIN"):
        if not chain_matches(patch, listener, chain, site):
            continue
        if patch.operation == "REMOVE":
            yield patch.id
            chain.ClearField("filters")
            return
        if patch.operation in MERGES:
            yield patch.id
            value = listener_components_pb2.FilterChain.FromString(patch.value)
            merge(chain, value, patch.operation)
    mine = [item for item in patches if chain_matches(item, listener, chain, site)]
    for patch in _of(mine, "NETWORK_FILTER"):
        if _network_filter(chain, patch):
            yield patch.id
    for item in chain.filters:
        if item.name == HCM:
            yield from _manager(item, mine, site)


def _network_filter(chain: Any, patch: Patch) -> bool:
    match = network_filter_match(patch)
    matches = _called(match.name) if match is not None else None
    value = listener_components_pb2.Filter.FromString(patch.value)
    if patch.traffic:
        return _plug_in(chain.filters, value, patch.filter_class)
    if patch.operation == "MERGE":
        return _merge_filters(chain.filters, value, matches)
    # Envoy takes no filter after the one that ends the chain.
    return change_list(chain.filters, patch.operation, value, matches, end=max(len(chain.filters) - 1, 0))


def _manager(item: Any, patches: list[Patch], site: Site) -> Iterator[PatchId]:
    """The connection manager of a chain: its HTTP filters, and its routes if it has them itself."""
    manager = hcm_pb2.HttpConnectionManager.FromString(item.typed_config.value)
    for patch in _of(patches, "HTTP_FILTER"):
        match = network_filter_match(patch)
        if (match is None or is_called(item, match.name)) and _http_filter(manager.http_filters, patch):
            yield patch.id
    if site.context == INBOUND and manager.HasField("route_config"):
        yield from patch_table(manager.route_config, patches, site)
    item.typed_config.Pack(manager, deterministic=True)


def _http_filter(filters: Any, patch: Patch) -> bool:
    matches = _called(http_filter_name(patch))
    value = hcm_pb2.HttpFilter.FromString(patch.value)
    if patch.traffic:
        return _plug_in(filters, value, patch.filter_class)
    if patch.operation == "MERGE":
        return _merge_filters(filters, value, matches)
    return change_list(filters, patch.operation, value, matches, end=_place(filters, patch.filter_class))


def _plug_in(filters: Any, value: Any, phase: str) -> bool:
    """Put a plugin at the place of its phase, behind those that were put there before."""
    names = [item.name for item in filters]
    if phase == "UNSPECIFIED_PHASE":
        place = names.index(ROUTER_FILTER) if ROUTER_FILTER in names else max(len(names) - 1, 0)
    else:
        before = _BEFORE[phase]
        place = 0
        while place < len(names) and (_is_plugin(filters[place]) or names[place] in before):
            place += 1
    filters.insert(place, value)
    return True


def _is_plugin(item: Any) -> bool:
    return bool(item.typed_config.type_url.endswith(_PLUGIN))


def _place(filters: Any, filter_class: str) -> int:
    """Where a filter that is added goes: behind those that its class comes after, else before the router,
    which is the last."""
    names = [item.name for item in filters]
    if filter_class in _AFTER:
        return max((index + 1 for index, name in enumerate(names) if name in _AFTER[filter_class]), default=0)
    return names.index(ROUTER_FILTER) if ROUTER_FILTER in names else len(names)
