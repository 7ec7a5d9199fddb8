"""All that one proxy is given, compiled when it is asked for: the messages that Envoy itself gets."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from marline.api.resource import Ref
from marline.compile.catalog import Unit, compile_units, units
from marline.compile.resource import CLUSTER, ENDPOINT, LISTENER, ROUTE, VIRTUAL_HOST, Recipe
from marline.mesh.model import Proxy
from marline.mesh.snapshot import MeshSnapshot


@dataclass(slots=True, eq=False)
class CompiledView:
    """The Envoy resources of a proxy by type and name; each is built once, when it is looked at."""

    snapshot: MeshSnapshot
    proxy: Proxy
    _recipes: dict[tuple[str, str], Recipe] = field(default_factory=dict)
    _messages: dict[tuple[str, ...], Any] = field(default_factory=dict)

    @classmethod
    def of(cls, snapshot: MeshSnapshot, proxy: Proxy, wanted: Iterable[Unit] | None = None) -> "CompiledView":
        """All of it, or some units only."""
        made = cls(snapshot, proxy)
        chosen = units(snapshot, proxy) if wanted is None else wanted
        for _, recipes in compile_units(snapshot, proxy, chosen):
            made._recipes |= {(item.type_url, item.name): item for item in recipes}
        return made

    def cluster(self, name: str) -> Any | None:
        return self._message(CLUSTER, name)

    def endpoints(self, name: str) -> Any | None:
        """The `ClusterLoadAssignment` of a cluster whose endpoints are discovered."""
        return self._message(ENDPOINT, name)

    def listener(self, name: str) -> Any | None:
        return self._message(LISTENER, name)

    def listeners(self) -> Iterator[Any]:
        made = (self._message(LISTENER, name) for type_url, name in self._recipes if type_url == LISTENER)
        return (listener for listener in made if listener is not None)

    def table(self, name: str) -> Any | None:
        """A route configuration, with the virtual hosts that are discovered for it."""
        key = (ROUTE, name, "with hosts")
        if key not in self._messages:
            found = self._message(ROUTE, name)
            if found is None:
                return None
            made = type(found)()
            made.CopyFrom(found)
            names = [item for kind, item in self._recipes if kind == VIRTUAL_HOST]
            # Named `<table>/<host>`: Envoy asks for the virtual hosts of a table by this prefix.
            own = (self._message(VIRTUAL_HOST, item) for item in names if item.startswith(f"{name}/"))
            made.virtual_hosts.extend(host for host in own if host is not None)
            self._messages[key] = made
        return self._messages[key]

    def sources(self, type_url: str, name: str) -> tuple[Ref, ...]:
        """The resources that something is made of."""
        recipe = self._recipes.get((type_url, name))
        return recipe.sources if recipe is not None else ()

    def _message(self, type_url: str, name: str) -> Any | None:
        key = (type_url, name)
        if key not in self._messages:
            recipe = self._recipes.get(key)
            if recipe is None:
                return None
            made = recipe.build(*recipe.inputs)
            # An empty message is one that patches removed.
            self._messages[key] = made if made.ByteSize() else None
        return self._messages[key]
