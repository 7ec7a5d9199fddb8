"""What a node may: act for the workloads that are registered to it, and for no others.

As Kubernetes' node authorizer and NodeRestriction admission do for kubelets (kubernetes.io, "Using Node
Authorization"): whoever takes over one machine has the identities of its workloads and no more.
"""

from collections.abc import Mapping
from typing import Any, Final

from marline.api.resource import Ref
from marline.store.embedded.access.attributes import Attributes, forbidden
from marline.store.embedded.access.policy import Policy
from marline.store.embedded.credentials import User
from marline.store.embedded.index import Stored
from marline.store.embedded.state import State
from marline.store.interface import Forbidden
from marline.store.tokens import ADMINS, NODE_LABEL, NODE_USER, NODES

WORKLOAD_ENTRY: Final = ("networking.istio.io", "WorkloadEntry")
_OWN_FIELDS: Final = ("address", "ports", "locality")
"""Of a WorkloadEntry's spec: where the workload is, which its node knows best. What it is, others decide."""
_Identity = tuple[str, str, str]
"""Node, namespace, service account."""


class Registrations:
    """Which identities are registered to which nodes; follows the store's history when it is asked."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._entries: dict[Ref, _Identity] = {}
        self._counts: dict[_Identity, int] = {}
        self._position = 0
        self._load()

    def has(self, node: str, namespace: str, service_account: str) -> bool:
        self._catch_up()
        return (node, namespace, service_account) in self._counts

    def _catch_up(self) -> None:
        events = self._state.changes_since(self._position)
        if events is None:
            self._load()
            return
        self._position = self._state.resource_version
        for event in events:
            if event.stored.ref[:2] == WORKLOAD_ENTRY:
                self._drop(event.stored.ref)
                if event.type != "DELETED":
                    self._take(event.stored)

    def _load(self) -> None:
        self._entries.clear()
        self._counts.clear()
        self._position = self._state.resource_version
        for stored in self._state.current.of_kind(*WORKLOAD_ENTRY):
            self._take(stored)

    def _take(self, stored: Stored) -> None:
        node = stored.labels.get(NODE_LABEL)
        if node:
            account = str(stored.obj.get("spec", {}).get("serviceAccount") or "default")
            identity = (node, stored.ref.namespace, account)
            self._entries[stored.ref] = identity
            self._counts[identity] = self._counts.get(identity, 0) + 1

    def _drop(self, ref: Ref) -> None:
        identity = self._entries.pop(ref, None)
        if identity is not None:
            self._counts[identity] -= 1
            if not self._counts[identity]:
                del self._counts[identity]


def node_of(user: User) -> str:
    """The name of the node that a user is; "" for users who are none."""
    return user.name.removeprefix(NODE_USER) if is_node(user) and user.name.startswith(NODE_USER) else ""


def is_node(user: User) -> bool:
    return NODES in user.groups and ADMINS not in user.groups


def authorize_signing(
    user: User, namespace: str, service_account: str, policy: Policy, registrations: Registrations
) -> None:
    """Whether a user may have a certificate of this identity: by a role, or as the node of such a workload.
    Raises `Forbidden`."""
    asked = Attributes(
        "create",
        resource="serviceaccounts",
        subresource="certificate",
        namespace=namespace,
        name=service_account,
    )
    if not is_node(user):
        policy.authorize(user, asked)
        return
    node = node_of(user)
    if not node:
        raise Forbidden(f'user "{user.name}" is in the group {NODES}, but its name is not {NODE_USER}<name>')
    if not registrations.has(node, namespace, service_account):
        refusal = forbidden(user, asked)
        raise Forbidden(f"{refusal}: no WorkloadEntry of it has the label {NODE_LABEL}: {node}")


def check_node_write(user: User, ref: Ref, old: Stored | None, new: Mapping[str, Any]) -> None:
    """What a node writes: of the workloads that are registered to it, where they are. Raises `Forbidden`."""
    if not is_node(user) or ref[:2] != WORKLOAD_ENTRY:
        return
    node = node_of(user)
    labels = old.labels if old else {}
    if not node or old is None or labels.get(NODE_LABEL) != node:
        raise Forbidden(f'{ref} is not registered to a node that user "{user.name}" is')
    if _but_own(new) != _but_own(old.obj):
        raise Forbidden(f"{ref}: a node may change {', '.join(_OWN_FIELDS)} and the status only")


def _but_own(obj: Mapping[str, Any]) -> tuple[Any, ...]:
    metadata = obj["metadata"]
    spec = {key: value for key, value in (obj.get("spec") or {}).items() if key not in _OWN_FIELDS}
    return (
        spec,
        metadata.get("labels") or {},
        metadata.get("annotations") or {},
        metadata.get("ownerReferences"),
    )
