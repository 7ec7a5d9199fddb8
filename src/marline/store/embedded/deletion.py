"""What goes when an object goes: finalizers, the contents of namespaces, dependents of owners.

All of it happens in the transaction of the delete, so nobody sees a half-deleted namespace unless a
finalizer holds something back (kubernetes.io, "Garbage Collection", "Finalizers").
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from marline.api.resource import Ref
from marline.store.embedded.index import Stored
from marline.store.embedded.state import State, Transaction

Propagation = Literal["Background", "Foreground", "Orphan"]

_FOREGROUND: Final = "foregroundDeletion"
"""Kubernetes' finalizer of an owner that waits for its dependents."""


@dataclass(frozen=True, slots=True)
class Deletion:
    """Preconditions, and what becomes of dependents."""

    propagation: Propagation = "Background"
    uid: str = ""
    resource_version: str = ""


def remove(state: State, transaction: Transaction, stored: Stored, deletion: Deletion, now: str) -> None:
    """Delete an object, or mark it as being deleted if something holds it."""
    if deletion.propagation != "Background":
        _settle_dependents(state, transaction, stored, deletion, now)
    finalizers = list(stored.metadata.get("finalizers") or ())
    if (
        deletion.propagation == "Foreground"
        and state.head.owned_by(stored.uid)
        and _FOREGROUND not in finalizers
    ):
        finalizers.append(_FOREGROUND)
    if not finalizers and not _has_contents(state, stored.ref):
        _drop(state, transaction, stored, now)
        return
    if not stored.deleting:
        stored = _mark(state, transaction, stored, finalizers, now)
    if stored.ref[:2] == ("", "Namespace"):
        # The last content to go takes the namespace along.
        for content in state.head.in_namespace(stored.ref.name):
            if state.head.get(content.ref) is content:
                remove(state, transaction, content, Deletion(), now)


def _mark(state: State, transaction: Transaction, stored: Stored, finalizers: list[str], now: str) -> Stored:
    metadata = {**stored.metadata, "deletionTimestamp": now, "deletionGracePeriodSeconds": 0}
    metadata["generation"] = int(metadata.get("generation", 0)) + 1
    metadata |= {"finalizers": finalizers} if finalizers else {}
    obj = {**stored.obj, "metadata": metadata}
    if stored.ref[:2] == ("", "Namespace"):
        obj["status"] = {**(obj.get("status") or {}), "phase": "Terminating"}
    return state.put(transaction, stored.ref, obj)


def remove_if_finished(state: State, transaction: Transaction, stored: Stored, now: str) -> None:
    """Remove an object that is being deleted and that nothing holds any more."""
    if stored.deleting and not stored.metadata.get("finalizers") and not _has_contents(state, stored.ref):
        _drop(state, transaction, stored, now)


def _has_contents(state: State, ref: Ref) -> bool:
    return ref[:2] == ("", "Namespace") and bool(state.head.in_namespace(ref.name))


def _drop(state: State, transaction: Transaction, stored: Stored, now: str) -> None:
    state.remove(transaction, stored.ref, dict(stored.obj))
    _settle_dependents(state, transaction, stored, Deletion(), now)
    for reference in stored.metadata.get("ownerReferences") or ():
        owner = _owner(state, stored.ref.namespace, reference)
        if owner and owner.deleting and not state.head.owned_by(owner.uid):
            _lift(state, transaction, owner, now)
    if stored.ref.namespace:
        namespace = state.head.get(Ref("", "Namespace", "", stored.ref.namespace))
        if namespace:
            remove_if_finished(state, transaction, namespace, now)


def _lift(state: State, transaction: Transaction, owner: Stored, now: str) -> None:
    """The dependents of an owner that was deleted in the foreground are gone."""
    finalizers = list(owner.metadata.get("finalizers") or ())
    if _FOREGROUND not in finalizers:
        return
    finalizers.remove(_FOREGROUND)
    metadata = {key: value for key, value in owner.metadata.items() if key != "finalizers"}
    metadata |= {"finalizers": finalizers} if finalizers else {}
    lifted = state.put(transaction, owner.ref, {**owner.obj, "metadata": metadata})
    remove_if_finished(state, transaction, lifted, now)


def _settle_dependents(
    state: State, transaction: Transaction, owner: Stored, deletion: Deletion, now: str
) -> None:
    """Dependents go with their last owner, or lose the reference to it."""
    for dependent in state.head.owned_by(owner.uid):
        if state.head.get(dependent.ref) is not dependent:
            continue
        references = [
            item for item in dependent.metadata.get("ownerReferences") or () if item["uid"] != owner.uid
        ]
        others = [item for item in references if _owner(state, dependent.ref.namespace, item)]
        if deletion.propagation == "Orphan" or others:
            metadata = {key: value for key, value in dependent.metadata.items() if key != "ownerReferences"}
            metadata |= {"ownerReferences": references} if references else {}
            state.put(transaction, dependent.ref, {**dependent.obj, "metadata": metadata})
        elif not dependent.deleting:
            remove(state, transaction, dependent, deletion, now)


def _owner(state: State, namespace: str, reference: Mapping[str, Any]) -> Stored | None:
    group, _, _ = str(reference["apiVersion"]).rpartition("/")
    for space in {namespace, ""}:
        owner = state.head.get(Ref(group, reference["kind"], space, reference["name"]))
        if owner and owner.uid == reference["uid"]:
            return owner
    return None
