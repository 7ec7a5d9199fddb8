"""Recipes of patched resources, and of those that patches add.

What a workload's patches are is found out once for each workload and snapshot; a resource that none of them
may concern keeps its recipe, and is shared with proxies that have no patches at all.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.message import Message

from marline.api.envoy_messages import TYPES, message_class
from marline.compile.passthrough import PLACEHOLDER
from marline.compile.patch_clusters import patch_cluster
from marline.compile.patch_listeners import patch_listener
from marline.compile.patch_match import GATEWAY, INBOUND, OUTBOUND, Site, cluster_matches, table_matches
from marline.compile.patch_routes import patch_discovered_host, patch_table
from marline.compile.resource import CLUSTER, EXTENSION, LISTENER, ROUTE, VIRTUAL_HOST, Blob, Recipe
from marline.mesh.model import PatchId, Proxy, Role, Workload
from marline.mesh.patches import Patch
from marline.mesh.proxy import node_metadata
from marline.mesh.snapshot import MeshSnapshot

_ROUTES: Final = ("ROUTE_CONFIGURATION", "VIRTUAL_HOST", "HTTP_ROUTE")
_APPLY: Final[dict[str, Callable[[Any, Iterable[Patch], Site], Iterator[PatchId]]]] = {
    LISTENER: patch_listener,
    ROUTE: patch_table,
    VIRTUAL_HOST: patch_discovered_host,
    CLUSTER: patch_cluster,
}
_CONCERNED: Final = {
    LISTENER: ("LISTENER", "FILTER_CHAIN", "NETWORK_FILTER", "HTTP_FILTER", "LISTENER_FILTER"),
    ROUTE: _ROUTES,
    VIRTUAL_HOST: ("VIRTUAL_HOST", "HTTP_ROUTE"),
    CLUSTER: ("CLUSTER",),
}
"""What patches are applied to stands in which resources."""
_PHASES: Final = ("AUTHN", "AUTHZ", "STATS", "UNSPECIFIED_PHASE")
_ADDED: Final = {"LISTENER": LISTENER, "CLUSTER": CLUSTER, "EXTENSION_CONFIG": EXTENSION}
"""What `ADD` makes a resource of its own."""


@dataclass(frozen=True, slots=True, eq=False)
class PatchedRecipe(Recipe):
    """Inputs: the type, how it is built without patches, of what, and the patches that may concern it."""

    def make(self) -> Blob:
        message, applied = _patched(*self.inputs)
        sources = (*self.sources, *dict.fromkeys(item.source for item in applied))
        return self.blob(message, sources, frozenset(applied))


def build_patched(*inputs: Any) -> Message:
    """The message; without a name if it is removed."""
    return _patched(*inputs)[0]


def _patched(
    type_url: str,
    build: Callable[..., Message],
    inputs: tuple[Any, ...],
    patches: tuple[Patch, ...],
    site: Site,
) -> tuple[Message, list[PatchId]]:
    message = build(*inputs)
    return message, sorted(set(_APPLY[type_url](message, patches, site)))


@dataclass(frozen=True, slots=True, eq=False)
class AddedRecipe(Recipe):
    """Its only input is the patch that adds the resource."""

    def make(self) -> Blob:
        (patch,) = self.inputs
        return self.blob(build_added(patch), self.sources, frozenset({patch.id}))


def build_added(patch: Patch) -> Any:
    """What a patch's value is."""
    kind = message_class(TYPES[patch.apply_to])
    if kind is None:
        raise LookupError(f"xds-protos has no {TYPES[patch.apply_to]}")
    return kind.FromString(patch.value)


def patches_of(snapshot: MeshSnapshot, proxy: Proxy, workload: Workload) -> tuple[Patch, ...]:
    """All patches for a workload's part of a proxy, in their order: plugins first, by phase."""
    if not snapshot.rules.patches:
        return ()
    says = node_metadata(proxy)
    sets = list(snapshot.patch_sets(workload.namespace, dict(workload.labels)))
    by_order = sorted(sets, key=lambda item: item.order)
    plugins = [patch for item in by_order for patch in item.patches if patch.traffic]
    plugins.sort(key=lambda patch: _PHASES.index(patch.filter_class))
    others = (patch for item in sets for patch in item.patches if not patch.traffic)
    return tuple(patch for patch in (*plugins, *others) if is_for(patch, says))


def is_for(patch: Patch, says: dict[str, str]) -> bool:
    """Is a patch for a proxy whose node metadata says this?"""
    if any(says.get(name) != value for name, value in patch.metadata):
        return False
    return not patch.proxy_version or bool(re.search(patch.proxy_version, says["ISTIO_VERSION"]))


def patched(recipes: Iterable[Recipe], patches: tuple[Patch, ...], site: Site) -> tuple[Recipe, ...]:
    """The recipes, those with patches that may concern what they make."""
    return tuple(_with_patches(recipe, patches, site) for recipe in recipes)


def _with_patches(recipe: Recipe, patches: tuple[Patch, ...], site: Site) -> Recipe:
    concerned = tuple(patch for patch in patches if site.has(patch) and _may_concern(patch, recipe, site))
    if not concerned:
        return recipe
    inputs = (recipe.type_url, recipe.build, recipe.inputs, concerned, site)
    return PatchedRecipe(recipe.type_url, recipe.name, build_patched, inputs, recipe.sources)


def _may_concern(patch: Patch, recipe: Recipe, site: Site) -> bool:
    """Whether it does, the message says; here those are left out of which the name says that they do not."""
    kinds = _CONCERNED.get(recipe.type_url, ())
    if recipe.type_url == LISTENER and site.context == INBOUND:
        kinds = (*kinds, *_ROUTES)  # the routes of what a workload receives stand in its listener
    if patch.apply_to not in kinds or (patch.apply_to in _ADDED and patch.operation == "ADD"):
        return False
    if recipe.type_url == CLUSTER:
        return site.context == INBOUND or cluster_matches(patch, recipe.name, "")
    if recipe.type_url == ROUTE:
        return table_matches(patch, recipe.name, "", site)
    if recipe.type_url == VIRTUAL_HOST:
        table, _, host = recipe.name.rpartition("/")
        return host != PLACEHOLDER and table_matches(patch, table, host, site)
    return True


def added_recipes(patches: tuple[Patch, ...], role: Role) -> Iterator[Recipe]:
    """The resources that patches add to a proxy. Of several of one name the first counts."""
    contexts = ("ANY", GATEWAY) if role is Role.GATEWAY else ("ANY", OUTBOUND, INBOUND)
    seen: set[tuple[str, str]] = set()
    for patch in patches:
        if patch.operation != "ADD" or patch.apply_to not in _ADDED or patch.context not in contexts:
            continue
        type_url, name = _ADDED[patch.apply_to], build_added(patch).name
        if (type_url, name) not in seen:
            seen.add((type_url, name))
            yield AddedRecipe(type_url, name, build_added, (patch,), (patch.id.source,))
