"""What one proxy is given, compiled when it is asked for: the messages that Envoy itself gets."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from marline.api.resource import Ref
from marline.compile.catalog import compile_units, units
from marline.compile.patched import AddedRecipe, PatchedRecipe
from marline.compile.resource import CLUSTER, ENDPOINT, LISTENER, ROUTE, VIRTUAL_HOST, Recipe
from marline.compile.units import EndpointsUnit, HostUnit, Unit
from marline.mesh.model import PatchId, Proxy
from marline.mesh.snapshot import MeshSnapshot


@dataclass(frozen=True, slots=True)
class ClusterName:
    """The parts of `outbound|9080|v2|reviews.default.svc.cluster.local`."""

    port: int = 0
    subset: str = ""
    hostname: str = ""

    @classmethod
    def parse(cls, name: str) -> "ClusterName":
        parts = name.split("|")
        if len(parts) != 4 or not parts[1].isdigit():
            return cls(hostname=name)
        return cls(int(parts[1]), parts[2], parts[3])

    @property
    def text(self) -> str:
        """As one says it: `reviews.default.svc.cluster.local:9080 subset v2`."""
        port = f":{self.port}" if self.port else ""
        return f"{self.hostname}{port}" + (f" subset {self.subset}" if self.subset else "")


@dataclass(slots=True, eq=False)
class CompiledView:
    """The Envoy resources of a proxy by type and name; each is built once, when it is looked at.

    A view of some units only compiles clusters of other hosts when they are asked for: whoever looks at a
    change pays for what it touches.
    """

    snapshot: MeshSnapshot
    proxy: Proxy
    _compiled: dict[Unit, tuple[Recipe, ...]] = field(default_factory=dict)
    _recipes: dict[tuple[str, str], Recipe] = field(default_factory=dict)
    _messages: dict[tuple[str, ...], Any] = field(default_factory=dict)

    @classmethod
    def of(cls, snapshot: MeshSnapshot, proxy: Proxy, wanted: Iterable[Unit] | None = None) -> "CompiledView":
        """All of it, or some units only."""
        made = cls(snapshot, proxy)
        made._compile(units(snapshot, proxy) if wanted is None else wanted)
        return made

    def _compile(self, wanted: Iterable[Unit]) -> None:
        missing = [unit for unit in dict.fromkeys(wanted) if unit not in self._compiled]
        for unit, recipes in compile_units(self.snapshot, self.proxy, missing):
            self._compiled[unit] = recipes
            self._recipes |= {(item.type_url, item.name): item for item in recipes}

    def given(self, wanted: Iterable[Unit]) -> tuple[tuple[Recipe, ...], ...]:
        """What these units consist of."""
        chosen = tuple(wanted)
        self._compile(chosen)
        return tuple(self._compiled[unit] for unit in chosen)

    def compiled(self) -> tuple[Unit, ...]:
        """The units that were looked at so far."""
        return tuple(self._compiled)

    def recipes(self) -> Mapping[tuple[str, str], Recipe]:
        """By type and name."""
        return self._recipes

    def message(self, type_url: str, name: str) -> Any | None:
        """One resource."""
        return self._message(type_url, name)

    def cluster(self, name: str) -> Any | None:
        self._need(name)
        return self._message(CLUSTER, name)

    def clusters(self) -> Iterator[Any]:
        return self._all(CLUSTER)

    def endpoints(self, name: str) -> Any | None:
        """The `ClusterLoadAssignment` of a cluster whose endpoints are discovered."""
        self._need(name)
        return self._message(ENDPOINT, name)

    def _need(self, cluster: str) -> None:
        host = ClusterName.parse(cluster).hostname
        self._compile((HostUnit(host), EndpointsUnit(host)))

    def listener(self, name: str) -> Any | None:
        return self._message(LISTENER, name)

    def listeners(self) -> Iterator[Any]:
        """Those that take connections. A gateway may have one for datagrams at a port of the same number."""
        return (item for item in self._all(LISTENER) if not item.HasField("udp_listener_config"))

    def virtual_hosts(self) -> Iterator[Any]:
        """Those that are resources of their own."""
        return self._all(VIRTUAL_HOST)

    def tables(self) -> Iterator[Any]:
        """Route configurations, without what is discovered for them."""
        return self._all(ROUTE)

    def _all(self, wanted: str) -> Iterator[Any]:
        names = [name for type_url, name in self._recipes if type_url == wanted]
        made = (self._message(wanted, name) for name in names)
        return (message for message in made if message is not None)

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
            own = (self._message(VIRTUAL_HOST, item) for item in names if item.rpartition("/")[0] == name)
            made.virtual_hosts.extend(host for host in own if host is not None)
            self._messages[key] = made
        return self._messages[key]

    def sources(self, type_url: str, name: str) -> tuple[Ref, ...]:
        """The resources that something is made of."""
        recipe = self._recipes.get((type_url, name))
        return recipe.sources if recipe is not None else ()

    def patches(self, type_url: str, name: str) -> tuple[PatchId, ...]:
        """The patches that have changed something."""
        recipe = self._recipes.get((type_url, name))
        return tuple(sorted(recipe.make().patches)) if isinstance(recipe, PatchedRecipe | AddedRecipe) else ()

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
