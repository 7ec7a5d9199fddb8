"""Files of many resources: the documents of a YAML or JSON text, and where in it each field stands."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import yaml
from yaml.reader import ReaderError

from marline.api.errors import FieldError, InvalidResource
from marline.api.faults import Faults
from marline.api.yaml_values import MAX_REPEATED, Reading, compose_documents

MAX_TEXT: Final = 16 * 1024 * 1024
"""Characters in one text; some two thousand times a usual file, and read in seconds."""

_STEP: Final = re.compile(r"[\[.]")


@dataclass(frozen=True, slots=True)
class Document:
    """One object of a text, and the lines of its fields."""

    obj: dict[str, Any]
    file: str
    number: int
    """The YAML document in its text, from 1; the items of a List share theirs."""
    lines: Mapping[str, int]
    """Field path, as `FieldError.path` writes it, → line from 1."""

    def locate(self, error: InvalidResource) -> InvalidResource:
        """The same error with file, document and line in each of its faults."""
        return InvalidResource(error.what, _located(error.errors, self.file, self.number, self.lines))

    def line(self, path: str) -> int:
        """Where a field stands; if it does not, the innermost object around it."""
        return _line({_steps(known): line for known, line in self.lines.items()}, _steps(path))


def read_documents(text: str, file: str = "", max_repeated: int = MAX_REPEATED) -> tuple[Document, ...]:
    """The objects in a text, in order; the items of a `List` (as `kubectl get -o yaml` writes) one by one.

    Empty documents are skipped. `max_repeated` bounds what YAML aliases may add. Raises `InvalidResource`
    with all faults, located.
    """
    what = file or "the text"
    if len(text) > MAX_TEXT:
        fault = FieldError("(root)", f"is longer than {MAX_TEXT} characters; split it", file=file)
        raise InvalidResource(what, (fault,))
    found: list[Document] = []
    errors: list[FieldError] = []
    for number, node in enumerate(_compose(text, file, errors), 1):
        faults = Faults()
        reading = Reading(faults, max_repeated)
        value = reading.read(node)
        if not faults.errors:
            found += _objects(value, Document({}, file, number, reading.lines), faults)
        errors += _located(faults.errors, file, number, reading.lines)
    if errors:
        raise InvalidResource(what, tuple(errors))
    return tuple(found)


def _compose(text: str, file: str, errors: list[FieldError]) -> Iterator[yaml.Node]:
    number = 1
    try:
        for node in compose_documents(_without_tabs(text)):
            yield node
            number += 1
    except (yaml.YAMLError, UnicodeEncodeError, RecursionError) as error:
        said, line = _explain(error, text)
        errors.append(FieldError("(root)", said, file=file, document=number, line=line))


def _explain(error: Exception, text: str) -> tuple[str, int]:
    """What is wrong with a text that is not YAML, and in which line."""
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        begin = f" that begins in line {error.context_mark.line + 1}" if error.context_mark else ""
        context = f"{error.context}{begin}" if error.context else ""
        said = ", ".join(part for part in (context, error.problem) if part)
        return f"is not YAML: {said}", mark.line + 1 if mark else 1
    if isinstance(error, ReaderError):
        line = text.encode(errors="replace")[: error.position].count(b"\n") + 1
        return f"has a character that YAML does not allow: {error.reason}", line
    if isinstance(error, UnicodeEncodeError):
        return "has half of a surrogate pair", text.count("\n", 0, error.start) + 1
    return ("is nested too deep" if isinstance(error, RecursionError) else f"is not YAML: {error}"), 1


def _without_tabs(text: str) -> str:
    """JSON may be indented with tabs, which YAML refuses; inside its strings there can be none."""
    return text.replace("\t", " ") if text.lstrip()[:1] in ("{", "[") and '\t"' in text else text


def _objects(value: Any, document: Document, faults: Faults) -> Iterator[Document]:
    if value is None:
        return
    if not isinstance(value, dict):
        faults.add("is not a resource: expected a mapping with apiVersion, kind and metadata")
    elif value.get("kind") == "List" and value.get("apiVersion") == "v1":
        items = value.get("items")
        if not isinstance(items, list | None):
            faults.at("items").add("expected a list of resources")
        for index, item in enumerate(items if isinstance(items, list) else ()):
            yield from _item(item, index, document, faults.at("items").item(index))
    else:
        yield replace(document, obj=value)


def _item(item: Any, index: int, document: Document, faults: Faults) -> Iterator[Document]:
    if not isinstance(item, dict):
        faults.add("is not a resource: expected a mapping with apiVersion, kind and metadata")
        return
    prefix = f"items[{index}]"
    lines = {
        path[len(prefix) :].lstrip("."): line
        for path, line in document.lines.items()
        if path.startswith(prefix)
    }
    yield replace(document, obj=item, lines=lines)


def _located(
    errors: tuple[FieldError, ...] | list[FieldError], file: str, number: int, lines: Mapping[str, int]
) -> tuple[FieldError, ...]:
    index = {_steps(path): line for path, line in lines.items()} if errors else {}
    return tuple(
        replace(error, file=file, document=number, line=_line(index, _steps(error.path))) for error in errors
    )


def _line(index: Mapping[str, int], path: str) -> int:
    """The line of a field; one that is missing is missing in the innermost object around it."""
    while path and path not in index:
        path = path.rpartition(".")[0]
    return index.get(path, 1)


def _steps(path: str) -> str:
    """One form for `a.b[0]`, `labels[app]` and `labels.app`: how a key is written does not matter here."""
    return "" if path == "(root)" else _STEP.sub(".", path.replace("]", ""))
