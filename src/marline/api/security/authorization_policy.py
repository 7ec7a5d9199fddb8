"""AuthorizationPolicy: who may call what (istio.io reference)."""

from typing import Literal

from marline.api.faults import Faults
from marline.api.model import Model, PolicyTargetReference, Selector
from marline.api.resource import Resource


class Source(Model, frozen=True):
    principals: tuple[str, ...] = ()
    not_principals: tuple[str, ...] = ()
    request_principals: tuple[str, ...] = ()
    not_request_principals: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()
    not_namespaces: tuple[str, ...] = ()
    service_accounts: tuple[str, ...] = ()
    not_service_accounts: tuple[str, ...] = ()
    ip_blocks: tuple[str, ...] = ()
    not_ip_blocks: tuple[str, ...] = ()
    remote_ip_blocks: tuple[str, ...] = ()
    not_remote_ip_blocks: tuple[str, ...] = ()


class From(Model, frozen=True):
    source: Source | None = None


class Operation(Model, frozen=True):
    hosts: tuple[str, ...] = ()
    not_hosts: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()
    not_ports: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    not_methods: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    not_paths: tuple[str, ...] = ()


class To(Model, frozen=True):
    operation: Operation | None = None


class Condition(Model, frozen=True):
    key: str
    values: tuple[str, ...] = ()
    not_values: tuple[str, ...] = ()


class Rule(Model, frozen=True):
    from_: tuple[From, ...] = ()
    to: tuple[To, ...] = ()
    when: tuple[Condition, ...] = ()


class ExtensionProvider(Model, frozen=True):
    name: str = ""


class AuthorizationPolicySpec(Model, frozen=True):
    selector: Selector | None = None
    target_ref: PolicyTargetReference | None = None
    target_refs: tuple[PolicyTargetReference, ...] = ()
    rules: tuple[Rule, ...] = ()
    action: Literal["ALLOW", "DENY", "AUDIT", "CUSTOM"] = "ALLOW"
    provider: ExtensionProvider | None = None


def validate(resource: Resource[AuthorizationPolicySpec], faults: Faults) -> None:
    """Istio's rules for an AuthorizationPolicy."""
    spec = resource.spec
    if (spec.action == "CUSTOM") != (spec.provider is not None):
        faults.at("provider").add("is required with action CUSTOM, and only then")
    for index, rule in enumerate(spec.rules):
        where = faults.at("rules").item(index)
        for number, source in enumerate(rule.from_):
            where.at("from").item(number).required(source.source, "source")
        for number, target in enumerate(rule.to):
            where.at("to").item(number).required(target.operation, "operation")
        for number, condition in enumerate(rule.when):
            if not (condition.values or condition.not_values):
                where.at("when").item(number).add("expected values or notValues")
