"""The roles and bindings of a store, by subject: what a user may do is found without a search.

It reads the store's history before it answers, so it knows every change that is visible, and costs what has
changed since it was last asked.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from marline.api.rbac import (
    GROUP,
    ClusterRoleBindingBody,
    ClusterRoleBody,
    PolicyRule,
    RoleBindingBody,
    RoleBody,
    RoleRef,
    Subject,
)
from marline.api.resource import Ref
from marline.store.embedded.access.attributes import Attributes, forbidden
from marline.store.embedded.access.rules import ALL, ALL_PATHS, allows
from marline.store.embedded.credentials import User
from marline.store.embedded.index import Stored
from marline.store.embedded.state import State
from marline.store.tokens import ADMINS

BINDINGS: Final = ("RoleBinding", "ClusterRoleBinding")
SERVICE_ACCOUNT: Final = "system:serviceaccount:"
_Key = tuple[str, str]
"""`("User", name)` or `("Group", name)`."""


@dataclass(frozen=True, slots=True)
class Grant:
    """A role in force for somebody: in one namespace, or (with "") everywhere."""

    namespace: str
    role: Ref


class Policy:
    """Asked on every request."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._grants: dict[_Key, dict[str, dict[Ref, Grant]]] = {}
        self._bound: dict[Ref, tuple[tuple[_Key, ...], Grant]] = {}
        self._position = 0
        self.version = 0
        """Changes with every change of a role or a binding."""
        self._load()

    def authorize(self, user: User, asked: Attributes) -> None:
        """Raises `Forbidden`."""
        if not self.allows(user, asked):
            raise forbidden(user, asked)

    def allows(self, user: User, asked: Attributes) -> bool:
        return any(
            allows(rule, asked) for rule in self.rules_of(user, asked.namespace, paths=bool(asked.path))
        )

    def rules_of(self, user: User, namespace: str, *, paths: bool = True) -> Iterator[PolicyRule]:
        """All that count for a user in a namespace; with "" those that count everywhere. `paths`: those for
        paths are asked for, too, which only what counts everywhere can give."""
        if ADMINS in user.groups:
            # Before any role: whoever has the administrator's certificate can mend whatever roles say.
            yield from (ALL, ALL_PATHS)
            return
        self.catch_up()
        for key in (("User", user.name), *(("Group", group) for group in user.groups)):
            found = self._grants.get(key, {})
            for space in dict.fromkeys(("", namespace)):
                for grant in found.get(space, {}).values():
                    for rule in role_rules(self._state.current.get(grant.role)):
                        if not (space and rule.non_resource_urls):
                            yield rule

    def grants_of(self, user: User) -> Iterator[Grant]:
        """The roles that are bound to a user or the user's groups, anywhere."""
        self.catch_up()
        for key in (("User", user.name), *(("Group", group) for group in user.groups)):
            for grants in self._grants.get(key, {}).values():
                yield from grants.values()

    def catch_up(self) -> None:
        events = self._state.changes_since(self._position)
        if events is None:
            self._load()
            return
        self._position = self._state.resource_version
        for event in events:
            ref = event.stored.ref
            if ref.group != GROUP:
                continue
            self.version += 1
            if ref.kind in BINDINGS:
                self._unbind(ref)
                if event.type != "DELETED":
                    self._bind(event.stored)

    def _load(self) -> None:
        self._grants.clear()
        self._bound.clear()
        self.version += 1
        self._position = self._state.resource_version
        for kind in BINDINGS:
            for stored in self._state.current.of_kind(GROUP, kind):
                self._bind(stored)

    def _bind(self, stored: Stored) -> None:
        body: RoleBindingBody | ClusterRoleBindingBody = stored.resource.spec
        grant = Grant(stored.ref.namespace, role_of(body.role_ref, stored.ref.namespace))
        keys = tuple(map(_key, body.subjects))
        self._bound[stored.ref] = (keys, grant)
        for key in keys:
            self._grants.setdefault(key, {}).setdefault(grant.namespace, {})[stored.ref] = grant

    def _unbind(self, ref: Ref) -> None:
        keys, grant = self._bound.pop(ref, ((), None))
        for key in keys:
            if grant is None or key not in self._grants:
                continue
            spaces = self._grants[key]
            spaces.get(grant.namespace, {}).pop(ref, None)
            if not spaces.get(grant.namespace):
                spaces.pop(grant.namespace, None)
            if not spaces:
                del self._grants[key]


@dataclass(slots=True)
class Permitted:
    """Whether a user still may do what was allowed before: asked often, decided when roles have changed."""

    policy: Policy
    user: User
    asked: Attributes
    _version: int = -1
    _allowed: bool = True

    def __call__(self) -> bool:
        self.policy.catch_up()
        if self._version != self.policy.version:
            self._version = self.policy.version
            self._allowed = self.policy.allows(self.user, self.asked)
        return self._allowed


def role_of(reference: RoleRef, namespace: str) -> Ref:
    """What a binding in this namespace refers to."""
    return Ref(GROUP, reference.kind, namespace if reference.kind == "Role" else "", reference.name)


def role_rules(stored: Stored | None) -> tuple[PolicyRule, ...]:
    """Of a role that may not be there: then there are none."""
    if stored is None:
        return ()
    body: RoleBody | ClusterRoleBody = stored.resource.spec
    return body.rules or ()


def _key(subject: Subject) -> _Key:
    if subject.kind == "ServiceAccount":
        return "User", f"{SERVICE_ACCOUNT}{subject.namespace}:{subject.name}"
    return subject.kind, subject.name


def implied_groups(name: str) -> tuple[str, ...]:
    """The groups that a user is in by its name: those of service accounts."""
    parts = name.removeprefix(SERVICE_ACCOUNT).split(":")
    if not name.startswith(SERVICE_ACCOUNT) or len(parts) != 2:
        return ()
    return "system:serviceaccounts", f"system:serviceaccounts:{parts[0]}"
