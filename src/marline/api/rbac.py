"""rbac.authorization.k8s.io/v1: Role, ClusterRole and their bindings.

They say who may do what with the API itself (kubernetes.io, "Using RBAC Authorization"). The mesh's own
traffic is the matter of AuthorizationPolicy.
"""

from math import prod
from typing import Final, Literal

from msgspec import field

from marline.api import rules as values
from marline.api.errors import Fault
from marline.api.faults import Faults
from marline.api.model import Model
from marline.api.resource import Resource

GROUP: Final = "rbac.authorization.k8s.io"
ANONYMOUS: Final = ("system:anonymous", "system:unauthenticated")
MAX_COMBINATIONS: Final = 10_000
"""Of verbs, groups, resources and names in one rule. Whoever grants a rule must hold each of them, which is
checked one by one."""


class PolicyRule(Model, frozen=True):
    verbs: tuple[str, ...] = ()
    api_groups: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    resource_names: tuple[str, ...] = ()
    non_resource_urls: tuple[str, ...] = field(default=(), name="nonResourceURLs")


class RoleBody(Model, frozen=True):
    rules: tuple[PolicyRule, ...] = ()


class LabelSelectorRequirement(Model, frozen=True):
    key: str
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    values: tuple[str, ...] = ()


class LabelSelector(Model, frozen=True):
    match_labels: dict[str, str] = {}
    match_expressions: tuple[LabelSelectorRequirement, ...] = ()


class AggregationRule(Model, frozen=True):
    cluster_role_selectors: tuple[LabelSelector, ...] = ()


class ClusterRoleBody(Model, frozen=True):
    rules: tuple[PolicyRule, ...] | None = ()
    aggregation_rule: AggregationRule | None = None


class Subject(Model, frozen=True):
    kind: Literal["User", "Group", "ServiceAccount"]
    name: str
    api_group: str = ""
    namespace: str = ""


class RoleRef(Model, frozen=True):
    kind: Literal["Role", "ClusterRole"]
    name: str
    api_group: str = GROUP


class RoleBindingBody(Model, frozen=True):
    role_ref: RoleRef
    subjects: tuple[Subject, ...] = ()


class ClusterRoleBindingBody(Model, frozen=True):
    role_ref: RoleRef
    subjects: tuple[Subject, ...] = ()


def validate_role(resource: Resource[RoleBody], faults: Faults) -> None:
    """Kubernetes' rules for a Role."""
    for index, rule in enumerate(resource.spec.rules):
        where = faults.at("rules").item(index)
        _rule(rule, where)
        if rule.non_resource_urls:
            where.at("nonResourceURLs").add(
                "a Role is of one namespace, and paths are of none: use a ClusterRole"
            )


def validate_cluster_role(resource: Resource[ClusterRoleBody], faults: Faults) -> None:
    """Kubernetes' rules for a ClusterRole."""
    for index, rule in enumerate(resource.spec.rules or ()):
        _rule(rule, faults.at("rules").item(index))
    aggregation = resource.spec.aggregation_rule
    if aggregation is not None:
        where = faults.at("aggregationRule")
        if where.required(aggregation.cluster_role_selectors, "clusterRoleSelectors"):
            for index, selector in enumerate(aggregation.cluster_role_selectors):
                _selector(selector, where.at("clusterRoleSelectors").item(index))


def _rule(rule: PolicyRule, faults: Faults) -> None:
    faults.required(rule.verbs, "verbs")
    if rule.non_resource_urls:
        for name, given in (("apiGroups", rule.api_groups), ("resources", rule.resources),
                            ("resourceNames", rule.resource_names)):  # fmt: skip
            if given:
                faults.at(name).add("a rule is for resources or for nonResourceURLs, not for both")
        for index, path in enumerate(rule.non_resource_urls):
            if path != "*" and not path.startswith("/"):
                faults.at("nonResourceURLs").item(index).add(f"{path!r} is no path: expected '*' or '/…'")
            elif "*" in path[:-1]:
                faults.at("nonResourceURLs").item(index).add("'*' is allowed only at the end")
        return
    faults.required(rule.api_groups, "apiGroups")
    faults.required(rule.resources, "resources")
    sizes = map(len, (rule.verbs, rule.api_groups, rule.resources, rule.resource_names or ("",)))
    if prod(sizes) > MAX_COMBINATIONS:
        faults.add(f"names more than {MAX_COMBINATIONS} combinations; make several rules of it")


def _selector(selector: LabelSelector, faults: Faults) -> None:
    values.labels(selector.match_labels, faults.at("matchLabels"))
    for index, requirement in enumerate(selector.match_expressions):
        where = faults.at("matchExpressions").item(index)
        values.labels({requirement.key: ""}, where.at("key"))
        if requirement.operator in ("In", "NotIn"):
            where.required(requirement.values, "values")
        elif requirement.values:
            where.at("values").add(f"must be empty with {requirement.operator}")


def validate_role_binding(resource: Resource[RoleBindingBody], faults: Faults) -> None:
    """Kubernetes' rules for a RoleBinding."""
    _binding(resource.spec, faults)


def validate_cluster_role_binding(resource: Resource[ClusterRoleBindingBody], faults: Faults) -> None:
    """Kubernetes' rules for a ClusterRoleBinding."""
    _binding(resource.spec, faults)
    if resource.spec.role_ref.kind == "Role":
        faults.at("roleRef").at("kind").add("a ClusterRoleBinding binds a ClusterRole")


def _binding(body: RoleBindingBody | ClusterRoleBindingBody, faults: Faults) -> None:
    if body.role_ref.api_group != GROUP:
        faults.at("roleRef").at("apiGroup").add(f"{body.role_ref.api_group!r} is not {GROUP}")
    if faults.at("roleRef").required(body.role_ref.name, "name"):
        values.path_segment(body.role_ref.name, faults.at("roleRef").at("name"))
    for index, subject in enumerate(body.subjects):
        _subject(subject, faults.at("subjects").item(index))


def _subject(subject: Subject, faults: Faults) -> None:
    faults.required(subject.name, "name")
    if subject.kind == "ServiceAccount":
        if subject.api_group:
            faults.at("apiGroup").add("a ServiceAccount is of the core group, which is ''")
        if faults.required(subject.namespace, "namespace"):
            values.dns_label(subject.namespace, faults.at("namespace"))
        return
    if subject.api_group not in ("", GROUP):
        faults.at("apiGroup").add(f"{subject.api_group!r} is not {GROUP}")
    if subject.namespace:
        faults.at("namespace").add(f"a {subject.kind} is in no namespace")
    if subject.name in ANONYMOUS:
        faults.at("name").add(
            f"{subject.name} is not acted on: nobody is served without credentials", Fault.NOT_SUPPORTED
        )
