"""The resources of files, made ready to be applied: named, of the right shape, and in an order that works."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from marline.api.decode import admit, decode, describe
from marline.api.documents import Document
from marline.api.errors import FieldError, InvalidResource
from marline.api.registry import kind_of
from marline.api.resource import Ref
from marline.store.remote.paths import ref_of


@dataclass(frozen=True, slots=True)
class Item:
    """One resource of a file."""

    document: Document
    obj: dict[str, Any]
    """With the namespace that it goes to."""
    ref: Ref

    @property
    def place(self) -> str:
        """Where it is written."""
        return f"{self.document.file}:{self.document.lines.get('', 1)}"


def make_batch(documents: Iterable[Document], namespace: str | None, *, checked: bool = True) -> list[Item]:
    """The resources of these documents. `namespace` is for those that say none, and contradicts others;
    `checked`: they have the shapes of their kinds. Raises `InvalidResource` with all faults of all."""
    items: list[Item] = []
    faults: list[FieldError] = []
    doubts: list[FieldError] = []
    for document in documents:
        try:
            obj = _placed(document.obj, namespace)
            item = Item(document, obj, _named(obj))
            if checked:
                decode(obj)
                doubts += _doubts(item)
            items.append(item)
        except InvalidResource as error:
            faults += document.locate(error).errors
    faults += _twice(items)
    if faults:
        raise InvalidResource("what was given", tuple(sorted([*faults, *doubts], key=_position)))
    # A namespace must be there before what is in it.
    return sorted(items, key=lambda item: item.ref[:2] != ("", "Namespace"))


def _doubts(item: Item) -> tuple[FieldError, ...]:
    """What would be refused if the resource were no more than what its file says. Server-side apply merges
    it into what is there, so only the server can tell; but who has to mend one file wants to know."""
    try:
        admit(item.obj)
    except InvalidResource as error:
        return item.document.locate(error).errors
    return ()


def _position(fault: FieldError) -> tuple[str, int]:
    return fault.file, fault.line


def _placed(obj: dict[str, Any], namespace: str | None) -> dict[str, Any]:
    """An object with a namespace, if its kind has one. Other faults are left to `admit`."""
    kind = kind_of(str(obj.get("apiVersion") or "").rpartition("/")[0], str(obj.get("kind") or ""))
    metadata = obj.get("metadata")
    if kind is None or not kind.namespaced or not isinstance(metadata, dict):
        return obj
    said = metadata.get("namespace")
    if said and namespace and said != namespace:
        fault = FieldError("metadata.namespace", f"{said!r} contradicts --namespace {namespace}")
        raise InvalidResource(describe(obj), (fault,))
    return {**obj, "metadata": {**metadata, "namespace": said or namespace or "default"}}


def _named(obj: dict[str, Any]) -> Ref:
    ref = ref_of(obj)
    if not ref.name:
        fault = FieldError("metadata.name", "is required: what is applied or deleted has a name")
        raise InvalidResource(describe(obj), (fault,))
    return ref


def _twice(items: list[Item]) -> list[FieldError]:
    first: dict[Ref, Item] = {}
    faults: list[FieldError] = []
    for item in items:
        before = first.setdefault(item.ref, item)
        if before is not item:
            fault = FieldError("metadata.name", f"{item.ref} is described twice, first in {before.place}")
            faults += item.document.locate(InvalidResource(str(item.ref), (fault,))).errors
    return faults
