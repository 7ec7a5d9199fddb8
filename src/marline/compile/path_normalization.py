"""What is done to the paths of requests before anything looks at them, at every connection manager.

istio.io, "Global Mesh Options" (`ProxyPathNormalization`); envoyproxy.io, `HttpConnectionManager`
(`normalize_path`, `merge_slashes`, `path_with_escaped_slashes_action`). The builders of listeners do what is
the default; where a mesh wants something else, their connection managers are changed afterwards.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final

from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2 as hcm_pb

from marline.api.mesh_config.model import Normalization
from marline.compile.resource import LISTENER, Recipe

_DEFAULT: Final = ("DEFAULT", "BASE")
_MERGING: Final = ("MERGE_SLASHES", "DECODE_AND_MERGE_SLASHES")


def with_paths(recipes: tuple[Recipe, ...], wanted: Normalization) -> tuple[Recipe, ...]:
    """The recipes of a unit, of whose listeners the paths are treated as the mesh wants it."""
    if wanted in _DEFAULT:
        return recipes
    return tuple(_with_paths(item, wanted) if item.type_url == LISTENER else item for item in recipes)


def _with_paths(recipe: Recipe, wanted: Normalization) -> Recipe:
    inputs = (recipe.build, recipe.inputs, wanted)
    return Recipe(LISTENER, recipe.name, build_with_paths, inputs, recipe.sources)


def build_with_paths(build: Callable[..., Any], inputs: tuple[Any, ...], wanted: Normalization) -> Any:
    """An Envoy `Listener`."""
    made = build(*inputs)
    for item in _connection_managers(made):
        manager = hcm_pb.HttpConnectionManager()
        item.typed_config.Unpack(manager)
        manager.normalize_path.value = wanted != "NONE"
        manager.merge_slashes = wanted in _MERGING
        if wanted == "DECODE_AND_MERGE_SLASHES":
            manager.path_with_escaped_slashes_action = hcm_pb.HttpConnectionManager.UNESCAPE_AND_FORWARD
        item.typed_config.Pack(manager)
    return made


def _connection_managers(listener: Any) -> Iterator[Any]:
    chains = [*listener.filter_chains]
    if listener.HasField("default_filter_chain"):
        chains.append(listener.default_filter_chain)
    for chain in chains:
        for item in chain.filters:
            if item.typed_config.Is(hcm_pb.HttpConnectionManager.DESCRIPTOR):
                yield item
