"""Back from Envoy's resources to the user's: which field of which resource a route is made of."""

from typing import Any, Self

import msgspec

from marline.api.registry import KINDS
from marline.api.resource import Ref
from marline.compile.routes_rules import kebab


class Place(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """A field of a resource, and in which line of which text it stands if that is known."""

    group: str
    kind: str
    namespace: str
    name: str
    field: str = ""
    line: int = 0
    file: str = ""
    """Where the line is: a file; "": what `marline get … -o yaml` prints."""

    @classmethod
    def at(cls, resource: Ref, field: str = "") -> Self:
        return cls(*resource, field)

    @property
    def resource(self) -> Ref:
        return Ref(self.group, self.kind, self.namespace, self.name)

    @property
    def text(self) -> str:
        """As one reads it: `VirtualService default/reviews spec.http[0] (reviews.yaml:12)`."""
        where = f"{self.file}:{self.line}" if self.file else f"line {self.line}"
        said = f"{self.resource} {self.field}".rstrip()
        return f"{said} ({where})" if self.line else said


def route_place(route: Any) -> Place | None:
    """From the metadata that the compiler writes into a route (`routes_rules.origin`); None for routes
    that no rule asks for."""
    metadata = route.metadata.filter_metadata
    if "istio" not in metadata or "config" not in metadata["istio"].fields:
        return None
    fields = metadata["istio"].fields
    path = fields["config"].string_value
    group, _, rest = path.removeprefix("/apis/").partition("/")
    _, _, namespace, kind, name = rest.split("/")
    found = next(item for item in KINDS if item.group == group and kebab(item.kind) == kind)
    return Place.at(Ref(group, found.kind, namespace, name), fields["field"].string_value)
