"""Nobody grants what he does not have (kubernetes.io, "Using RBAC Authorization", "Privilege escalation
prevention and bootstrapping")."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from marline.api.decode import decode
from marline.api.rbac import GROUP, PolicyRule
from marline.api.resource import Ref
from marline.store.embedded.access.attributes import Attributes
from marline.store.embedded.access.nodes import check_node_write
from marline.store.embedded.access.policy import BINDINGS, Policy, role_of, role_rules
from marline.store.embedded.access.rules import ALL, ALL_PATHS, uncovered
from marline.store.embedded.credentials import User
from marline.store.embedded.index import Stored
from marline.store.embedded.state import State
from marline.store.interface import Forbidden, NotFound
from marline.store.status import resource_name

ROLES = ("Role", "ClusterRole")
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class WriteGuard:
    """Looks at every write of one user: at roles and bindings, and at what a node says of workloads."""

    user: User
    policy: Policy
    state: State

    def check(self, ref: Ref, old: Stored | None, new: Mapping[str, Any]) -> None:
        """Raises `Forbidden`, and `NotFound` for a role that is to be bound and is not there."""
        check_node_write(self.user, ref, old, new)
        if ref.group != GROUP:
            return
        if ref.kind in ROLES:
            self._check_role(ref, old, new)
        elif ref.kind in BINDINGS:
            self._check_binding(ref, old, new)

    def _check_role(self, ref: Ref, old: Stored | None, new: Mapping[str, Any]) -> None:
        if old and _same(old.obj, new, "rules", "aggregationRule"):
            return
        if self.policy.allows(self.user, _on(ref, "escalate")):
            return
        body = decode(new).spec
        wanted: tuple[PolicyRule, ...] = body.rules or ()
        if getattr(body, "aggregation_rule", None) is not None:
            # It will be whatever others are labelled for it: only who may do all may say so.
            wanted = (*wanted, ALL, ALL_PATHS)
        self._must_hold(ref, ref.namespace, wanted)

    def _check_binding(self, ref: Ref, old: Stored | None, new: Mapping[str, Any]) -> None:
        if old and _same(old.obj, new, "roleRef", "subjects"):
            return
        role = role_of(decode(new).spec.role_ref, ref.namespace)
        if self.policy.allows(self.user, _on(role, "bind", ref.namespace)):
            return
        stored = self.state.head.get(role)
        if stored is None:
            raise NotFound(role)
        rules = role_rules(stored)
        if ref.namespace:
            rules = tuple(
                rule for rule in rules if not rule.non_resource_urls
            )  # a RoleBinding gives no paths
        self._must_hold(ref, ref.namespace, rules)

    def _must_hold(self, ref: Ref, namespace: str, wanted: tuple[PolicyRule, ...]) -> None:
        missing = uncovered(wanted, self.policy.rules_of(self.user, namespace))
        if not missing:
            return
        lines = [_text(rule) for rule in missing[:_SHOWN]]
        if len(missing) > _SHOWN:
            lines.append(f"and {len(missing) - _SHOWN} more")
        groups = ", ".join(f'"{group}"' for group in self.user.groups)
        raise Forbidden(
            f'{resource_name(ref)} "{ref.name}" is forbidden: user "{self.user.name}" (groups=[{groups}]) is'
            f" attempting to grant RBAC permissions not currently held:\n" + "\n".join(lines)
        )


def _same(old: Mapping[str, Any], new: Mapping[str, Any], *fields: str) -> bool:
    return all((old.get(name) or None) == (new.get(name) or None) for name in fields)


def _on(ref: Ref, verb: str, namespace: str = "") -> Attributes:
    plural = f"{ref.kind.lower()}s"
    return Attributes(verb, GROUP, plural, namespace=ref.namespace or namespace, name=ref.name)


def _text(rule: PolicyRule) -> str:
    shown = {
        "APIGroups": rule.api_groups, "Resources": rule.resources, "ResourceNames": rule.resource_names,
        "NonResourceURLs": rule.non_resource_urls, "Verbs": rule.verbs,
    }  # fmt: skip
    parts = (f"{name}:[{', '.join(map(repr, value))}]" for name, value in shown.items() if value)
    return "{" + ", ".join(parts).replace("'", '"') + "}"
