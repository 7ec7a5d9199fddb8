"""Label and field selectors, as in query strings.

Source: kubernetes.io, "Labels and Selectors" and "Field Selectors".
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

Operator = Literal["in", "notin", "exists", "absent", "gt", "lt"]

_NAME: Final = r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?"
_KEY: Final = rf"(?P<key>({_NAME}/)?{_NAME})"
_REQUIREMENT: Final = re.compile(
    rf"\s*(?:(?P<absent>!\s*){_KEY}"
    rf"|{_KEY.replace('key', 'set_key')}\s+(?P<set_op>in|notin)\s*\((?P<values>[^()]*)\)"
    rf"|{_KEY.replace('key', 'op_key')}\s*(?P<op>==|=|!=|>|<)\s*(?P<value>({_NAME})?)"
    rf"|{_KEY.replace('key', 'bare')})\s*(?:,|$)"
)
_VALUE: Final = re.compile(rf"({_NAME})?")


@dataclass(frozen=True, slots=True)
class Requirement:
    key: str
    operator: Operator
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        value = labels.get(self.key)
        match self.operator:
            case "in":
                return value is not None and value in self.values
            case "notin":
                return value is None or value not in self.values
            case "exists":
                return value is not None
            case "absent":
                return value is None
            case "gt" | "lt":
                if value is None or not value.lstrip("-").isdigit():
                    return False
                bound = int(self.values[0])
                return int(value) > bound if self.operator == "gt" else int(value) < bound


@dataclass(frozen=True, slots=True)
class LabelSelector:
    """All requirements must hold; none at all matches everything."""

    requirements: tuple[Requirement, ...] = ()

    @classmethod
    def parse(cls, text: str) -> "LabelSelector":
        """Raises ValueError with one sentence about the fault."""
        requirements: list[Requirement] = []
        position = 0
        while position < len(text):
            found = _REQUIREMENT.match(text, position)
            if found is None:
                raise ValueError(f"unable to parse label selector {text!r} at {text[position:]!r}")
            requirements.append(_requirement(found))
            position = found.end()
        if text.rstrip().endswith(","):
            raise ValueError(f"label selector {text!r} ends with a comma")
        return cls(tuple(requirements))

    def matches(self, labels: Mapping[str, str]) -> bool:
        return all(requirement.matches(labels) for requirement in self.requirements)


def _requirement(found: re.Match[str]) -> Requirement:
    if found["absent"]:
        return Requirement(found["key"], "absent")
    if found["bare"]:
        return Requirement(found["bare"], "exists")
    if found["set_op"]:
        values = tuple(sorted({value.strip() for value in found["values"].split(",")}))
        for value in values:
            if not _VALUE.fullmatch(value):
                raise ValueError(f"{value!r} is not a label value")
        return Requirement(found["set_key"], "in" if found["set_op"] == "in" else "notin", values)
    operator, value = found["op"], found["value"]
    if operator in (">", "<"):
        if not value.isdigit():
            raise ValueError(f"{value!r} is not an integer, which {operator} needs")
        return Requirement(found["op_key"], "gt" if operator == ">" else "lt", (value,))
    return Requirement(found["op_key"], "notin" if operator == "!=" else "in", (value,))


_EVENT_FIELDS: Final = (
    "involvedObject.kind", "involvedObject.namespace", "involvedObject.name", "involvedObject.uid",
    "involvedObject.apiVersion", "involvedObject.resourceVersion", "involvedObject.fieldPath",
    "reason", "reportingComponent", "source", "type",
)  # fmt: skip
_FIELDS: Final[Mapping[tuple[str, str], tuple[str, ...]]] = {
    ("", "Event"): _EVENT_FIELDS,
    ("", "Secret"): ("type",),
    ("", "Namespace"): ("status.phase",),
    ("", "Service"): ("spec.clusterIP", "spec.type"),
}
"""What may be selected by, beside name and namespace (kubernetes.io, "Field Selectors")."""


@dataclass(frozen=True, slots=True)
class FieldSelector:
    """Pairs of field path and value; all must be equal (or, where negated, differ)."""

    terms: tuple[tuple[str, str, bool], ...] = ()

    @classmethod
    def parse(cls, text: str, group: str, kind: str) -> "FieldSelector":
        """Raises ValueError, also for a field by which this kind cannot be selected."""
        terms: list[tuple[str, str, bool]] = []
        for term in filter(None, (part.strip() for part in text.split(","))):
            found = re.fullmatch(r"([^=!]+?)\s*(==|=|!=)\s*(.*)", term)
            if found is None:
                raise ValueError(f"invalid field selector {term!r}: expected field=value or field!=value")
            path, operator, value = found.groups()
            if path not in ("metadata.name", "metadata.namespace", *_FIELDS.get((group, kind), ())):
                raise ValueError(f"field label not supported: {path}")
            terms.append((path, value, operator != "!="))
        return cls(tuple(terms))

    def matches(self, obj: Mapping[str, Any]) -> bool:
        return all((_field(obj, path) == value) == wanted for path, value, wanted in self.terms)


def _field(obj: Mapping[str, Any], path: str) -> str:
    if path == "source":
        path = "source.component"
    value: Any = obj
    for step in path.split("."):
        value = value.get(step) if isinstance(value, Mapping) else None
    return "" if value is None else str(value)
