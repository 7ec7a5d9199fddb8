"""What a request is about: the path, query and headers of the Kubernetes API, parsed."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from aiohttp import web

from marline.api.registry import KINDS, Kind
from marline.api.resource import Ref
from marline.store.embedded.access.attributes import Attributes
from marline.store.embedded.http import events_view
from marline.store.interface import BadRequest
from marline.store.selectors import FieldSelector, LabelSelector

Query = Mapping[str, str]
Convert = Callable[[Mapping[str, Any]], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Served:
    """A kind as one group and version serves it. All versions of a kind have one schema, so showing an
    object in a version is a matter of its `apiVersion`; only `events.k8s.io` has names of its own."""

    kind: Kind
    group: str
    version: str
    show: Convert | None = None
    read: Convert | None = None

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    def shown(self, obj: Mapping[str, Any]) -> dict[str, Any]:
        """An object as this version writes it."""
        body = self.show(obj) if self.show else obj
        return {**body, "apiVersion": self.api_version}

    def stored(self, obj: Mapping[str, Any]) -> dict[str, Any]:
        """An object of this version as its storage group writes it."""
        if not self.read:
            return dict(obj)
        return {**self.read(obj), "apiVersion": self.kind.api_version}


def _served() -> tuple[Served, ...]:
    plain = [Served(kind, kind.group, version) for kind in KINDS for version in kind.versions]
    events = [
        Served(kind, events_view.GROUP, "v1", events_view.show, events_view.read)
        for kind in KINDS
        if (kind.group, kind.kind) == ("", "Event")
    ]
    return (*plain, *events)


SERVED = _served()
_BY_PATH = {(served.group, served.version, served.kind.plural): served for served in SERVED}


@dataclass(frozen=True, slots=True)
class Target:
    """A resource path: a collection if `name` is empty."""

    served: Served
    namespace: str = ""
    name: str = ""
    subresource: str = ""

    @property
    def kind(self) -> Kind:
        return self.served.kind

    @property
    def ref(self) -> Ref:
        return Ref(self.kind.group, self.kind.kind, self.namespace, self.name)


def parse_target(group: str, version: str, steps: Sequence[str]) -> Target | None:
    """The resource at a path below `/api/v1` or `/apis/<group>/<version>`; None if there is none."""
    namespace = ""
    steps = list(steps)
    if len(steps) >= 3 and steps[0] == "namespaces" and (group, version, steps[2]) in _BY_PATH:
        namespace, steps = steps[1], steps[2:]
    if not 1 <= len(steps) <= 3 or not all(steps):
        return None
    served = _BY_PATH.get((group, version, steps[0]))
    if served is None or (namespace and not served.kind.namespaced):
        return None
    _, name, subresource, *_ = [*steps, "", ""]
    if served.kind.namespaced and name and not namespace:
        return None
    if subresource and not (subresource == "status" and served.kind.status):
        return None
    return Target(served, namespace, name, subresource)


def attributes(target: Target, verb: str, query: Query) -> Attributes:
    """What a request asks for, as authorization sees it. Who lists or watches by name asks for that one."""
    name = target.name
    if not name and verb in ("list", "watch"):
        name = _selected_name(query.get("fieldSelector", ""))
    kind = target.kind
    return Attributes(verb, target.served.group, kind.plural, target.subresource, target.namespace, name)


def _selected_name(selector: str) -> str:
    terms = (term.partition("=") for term in selector.split(","))
    found = [value.removeprefix("=") for field, _, value in terms if field.strip() == "metadata.name"]
    return found[0].strip() if len(found) == 1 else ""


TARGET: Final = web.RequestKey("target", Target)
"""Where a request's target is: `request[TARGET]`."""

Form = Literal["object", "table", "partial"]


def accepted_form(accept: str) -> Form:
    """The first form of an Accept header that is served: whole objects, a table, or only metadata."""
    for choice in accept.split(","):
        media, *parameters = (part.strip() for part in choice.split(";"))
        if media not in ("application/json", "application/*", "*/*"):
            continue
        named = dict(parameter.partition("=")[::2] for parameter in parameters)
        match named.get("as"):
            case "Table" if named.get("v") == "v1":
                return "table"
            case "PartialObjectMetadata" | "PartialObjectMetadataList" if named.get("v") == "v1":
                return "partial"
            case None:
                return "object"
    return "object"


@dataclass(frozen=True, slots=True)
class Selection:
    """Which objects of a collection: by labels, by fields."""

    labels: LabelSelector
    fields: FieldSelector

    @classmethod
    def parse(cls, target: Target, query: Query) -> "Selection":
        """Raises `BadRequest`. A name in the path is a selection too (for watches of one object)."""
        try:
            labels = LabelSelector.parse(query.get("labelSelector", ""))
            text = query.get("fieldSelector", "")
            if target.served.show:
                text = events_view.field_selector(text)
            fields = FieldSelector.parse(text, target.kind.group, target.kind.kind)
        except ValueError as error:
            raise BadRequest(str(error)) from error
        if target.name:
            fields = FieldSelector((*fields.terms, ("metadata.name", target.name, True)))
        return cls(labels, fields)

    def matches(self, obj: Mapping[str, Any]) -> bool:
        return self.labels.matches(obj["metadata"].get("labels") or {}) and self.fields.matches(obj)


def flag(query: Query, name: str) -> bool:
    """A boolean of the query string; raises `BadRequest`."""
    value = query.get(name, "")
    if value in ("", "false", "0"):
        return False
    if value in ("true", "1"):
        return True
    raise BadRequest(f"{name}={value} is neither true nor false")


def number(query: Query, name: str) -> int:
    """A non-negative integer of the query string, 0 if absent; raises `BadRequest`."""
    value = query.get(name, "") or "0"
    if not re.fullmatch(r"[0-9]{1,18}", value):
        raise BadRequest(f"{name}={value[:40]} is not a number")
    return int(value)


def dry_run(values: Sequence[str]) -> bool:
    """Raises `BadRequest` for anything but `All`."""
    if any(value != "All" for value in values):
        raise BadRequest(f"dryRun={','.join(values)} is not supported: All")
    return bool(values)
