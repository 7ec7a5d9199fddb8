"""YAML as Kubernetes' clients read and write it: plain JSON values, and the line of every field.

kubectl turns YAML into JSON (sigs.k8s.io/yaml, on YAML 1.1), so there are no timestamps and no base-60
numbers, `on` and `yes` are booleans, and every key is a string. In two ways this is stricter, since the
alternative loses data in silence: a key that stands twice in a mapping is refused, and a key is what
was written (kubectl makes `on:` into `true:`).
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import yaml

from marline.api.faults import Faults

if TYPE_CHECKING:
    from yaml import SafeLoader as _Base
else:
    # libyaml is several times faster; PyYAML has it in all its wheels, but not everywhere.
    _Base = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

MAX_DEPTH: Final = 200
MAX_REPEATED: Final = 10_000
"""Values that aliases may add to a document: enough for shared snippets, too few for a bomb."""

_TAG: Final = "tag:yaml.org,2002:"
_TRUE: Final = ("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON")
_FALSE: Final = ("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF")


class _Loader(_Base):
    """Resolves plain scalars as go-yaml v2 does (its resolve.go), without timestamps."""

    yaml_implicit_resolvers = {}


def _resolve(tag: str, pattern: str, first: str) -> None:
    _Loader.add_implicit_resolver(_TAG + tag, re.compile(f"(?:{pattern})$"), list(first))


_resolve("bool", "|".join((*_TRUE, *_FALSE)), "yYnNtTfFoO")
_resolve("int", r"[-+]?(?:0b[01_]+|0x[0-9a-fA-F_]+|0o?[0-7_]+|0|[1-9][0-9_]*)", "-+0123456789")
_resolve("float", r"[-+]?(?:\.[0-9][0-9_]*|[0-9][0-9_]*(?:\.[0-9_]*)?)(?:[eE][-+]?[0-9]+)?", "-+.0123456789")
_resolve("float", r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", "-+.")
_resolve("merge", "<<", "<")
_Loader.add_implicit_resolver(_TAG + "null", re.compile(r"(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""])


def compose_documents(text: str) -> Iterator[yaml.Node]:
    """The documents of a text, empty ones as null. Raises yaml.YAMLError, RecursionError."""
    loader = _Loader(text)
    try:
        while loader.check_node():
            node = loader.get_node()
            if node is not None:
                yield node
    finally:
        loader.dispose()


class _Dumper(yaml.SafeDumper):
    """Quotes every string that would be read as something else, and repeats instead of using aliases."""

    yaml_implicit_resolvers = _Loader.yaml_implicit_resolvers

    def ignore_aliases(self, data: Any) -> bool:
        return True


def write_yaml(value: Any) -> str:
    """A plain JSON value as YAML that is read back as the same, here and by kubectl."""
    return str(yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120))


def read_value(text: str, faults: Faults) -> tuple[Any, Mapping[str, int]]:
    """The one document of a text as a plain JSON value, and the lines of its fields. None for an empty text,
    and, with a fault, for one that is no document."""
    try:
        nodes = list(compose_documents(text))
    except yaml.YAMLError as error:
        nodes = []
        faults.add(f"is not YAML: {' '.join(str(error).split())}")
    except RecursionError:
        nodes = []
        faults.add("is nested too deep")
    if len(nodes) > 1:
        faults.add(f"has {len(nodes)} YAML documents; expected one")
    if len(nodes) != 1:
        return None, {}
    before, reading = len(faults.errors), Reading(faults)
    value = reading.read(nodes[0])
    return (None if len(faults.errors) > before else value), reading.lines


class Reading:
    """One document while it is read: its plain value, the lines of its fields, and what is wrong.

    The value of `read` is not to be used if `faults` has errors afterwards.
    """

    def __init__(self, faults: Faults, max_repeated: int = MAX_REPEATED) -> None:
        self.lines: dict[str, int] = {}
        self._faults = faults
        self._may_repeat = max_repeated
        self._seen: set[int] = set()

    def read(self, node: yaml.Node) -> Any:
        return self._value(node, "", self._faults, 0)

    def _value(self, node: yaml.Node, path: str, faults: Faults, depth: int) -> Any:
        self.lines.setdefault(path, node.start_mark.line + 1)
        if id(node) in self._seen:
            self._may_repeat -= 1
            if self._may_repeat < 0:
                if self._may_repeat == -1:
                    faults.add("an alias repeats too much here; write it out")
                return None
        self._seen.add(id(node))
        if depth > MAX_DEPTH:
            return faults.add(f"is nested more than {MAX_DEPTH} deep")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path, faults, depth)
        if isinstance(node, yaml.SequenceNode):
            return [
                self._value(item, f"{path}[{index}]", faults.item(index), depth + 1)
                for index, item in enumerate(node.value)
            ]
        return _scalar(node, faults)

    def _mapping(self, node: yaml.MappingNode, path: str, faults: Faults, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key, value in node.value:
            if key.tag == _TAG + "merge":
                merged = {**self._merge(value, path, faults, depth), **merged}
                continue
            if not isinstance(key, yaml.ScalarNode):
                faults.add("has a key that is not a string")
                continue
            below, where = f"{path}.{key.value}" if path else key.value, faults.at(key.value)
            if key.value in found:
                where.add(f"the key {key.value!r} is there twice, again in line {key.start_mark.line + 1}")
                continue
            self.lines[below] = key.start_mark.line + 1
            found[key.value] = self._value(value, below, where, depth + 1)
        return {**merged, **found}

    def _merge(self, node: yaml.Node, path: str, faults: Faults, depth: int) -> dict[str, Any]:
        """`<<: *base` (yaml.org/type/merge): earlier mappings of a list win."""
        made: dict[str, Any] = {}
        for item in reversed(node.value) if isinstance(node, yaml.SequenceNode) else [node]:
            value = self._value(item, path, faults, depth + 1)
            if isinstance(value, dict):
                made.update(value)
            elif not faults.errors:
                faults.at("<<").add("expected a mapping, or a list of mappings, to merge")
        return made


def _scalar(node: yaml.Node, faults: Faults) -> Any:
    read = _SCALARS.get(node.tag.removeprefix(_TAG))
    if read is None:
        return faults.add(f"the tag {node.tag!r} has no meaning in JSON")
    try:
        value = read(node.value)
    except ValueError:
        return faults.add(f"{node.value!r} is not of the type that its tag says")
    if isinstance(value, float) and not math.isfinite(value):
        return faults.add(f"{node.value} is not a number that JSON can hold")
    return value


def _boolean(text: str) -> bool:
    if text not in _TRUE and text not in _FALSE:
        raise ValueError(text)
    return text in _TRUE


def _integer(text: str) -> int | float:
    digits = text.replace("_", "")
    bare = digits.lstrip("+-")
    if len(bare) > 66:
        return _float(digits)
    octal = len(bare) > 1 and bare[0] == "0" and bare.isdigit()
    value = int(digits, 8 if octal else 0)
    return value if -(2**63) <= value < 2**64 else float(value)


def _float(text: str) -> float:
    lowered = text.lower().replace("_", "")
    return float(lowered.replace(".inf", "inf").replace(".nan", "nan"))


_SCALARS: Final[dict[str, Callable[[str], Any]]] = {
    "str": str,
    "bool": _boolean,
    "int": _integer,
    "float": _float,
    "null": lambda text: None,
}
