"""AuthorizationPolicies at Envoy: which ones count for a workload, and the filters that act on them.

istio.io, "Authorization": a DENY policy that matches refuses a request; then, if there is an ALLOW policy at
all, one must match. Envoy's RBAC filter does either, for requests and for connections. Rules that speak of
requests are for HTTP; of connections that are not, an ALLOW policy's such rule lets none pass, and a DENY
policy's refuses all that its other parts fit (istio.io, "Authorization for TCP traffic").
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from envoy.config.rbac.v3 import rbac_pb2
from envoy.extensions.filters.http.rbac.v3 import rbac_pb2 as http_rbac_pb2
from envoy.extensions.filters.network.rbac.v3 import rbac_pb2 as network_rbac_pb2

from marline.api.resource import Ref, Resource
from marline.api.security.authorization_policy import AuthorizationPolicySpec, is_tried
from marline.api.security.authorization_rule import Rule
from marline.api.security.condition_keys import SERVER_NAME
from marline.api.security.recorded import EVERYTHING, Recorded, recorded
from marline.compile.authorization_logs import DECIDING_PREFIX, Audit, connection_logs, request_logs
from marline.compile.authorization_matchers import THE_MESH, TrustDomains
from marline.compile.authorization_rules import Arrival, rule_policy
from marline.compile.authorizers import find_authorizer
from marline.compile.custom_authorization import CustomRules
from marline.compile.custom_authorization import http_filters as custom_http_filters
from marline.compile.custom_authorization import network_filters as custom_network_filters
from marline.compile.ext_authz import Authorizer
from marline.mesh.endpoints import spiffe_id
from marline.mesh.model import Proxy, Workload
from marline.mesh.snapshot import MeshSnapshot
from marline.mesh.workload_policies import policies_for

HTTP_FILTER: Final = "envoy.filters.http.rbac"
NETWORK_FILTER: Final = "envoy.filters.network.rbac"
TRIED_PREFIX: Final = "istio_dry_run_"
"""What the statistics of policies that are tried begin with, as at Istio's proxies."""
_STATISTICS: Final = "tcp."
"""What the statistics of connections begin with, as at Istio's proxies."""


@dataclass(frozen=True, slots=True)
class AppliedPolicy:
    """What of an AuthorizationPolicy counts where it applies."""

    ref: Ref
    action: str
    rules: tuple[Rule, ...]
    provider: str = ""
    """Whom a CUSTOM policy has asked."""
    tried: bool = False
    """It is evaluated without any effect."""
    recorded: Recorded = EVERYTHING
    """What an AUDIT policy wants to be known."""

    def rule_name(self, index: int) -> str:
        """What the details of a refusal call a rule, as at Istio's proxies."""
        return f"ns[{self.ref.namespace}]-policy[{self.ref.name}]-rule[{index}]"


@dataclass(frozen=True, slots=True)
class Authorization:
    """Who may call a workload, or through a gateway."""

    policies: tuple[AppliedPolicy, ...] = ()
    trust_domains: TrustDomains = THE_MESH
    authorizers: tuple[tuple[str, Authorizer | None], ...] = ()
    """The providers of CUSTOM policies, by name; None: it cannot be asked."""
    identity: str = ""
    """Of the workload, for the records of AUDIT policies; "": there are none."""

    @property
    def sources(self) -> tuple[Ref, ...]:
        return tuple(item.ref for item in self.policies)

    @property
    def asks_for_server_names(self) -> bool:
        """Then somebody has to read them (a listener filter), whether or not chains are chosen by them."""
        rules = (rule for policy in self.policies for rule in policy.rules)
        return any(condition.key == SERVER_NAME for rule in rules for condition in rule.when)

    def of(self, action: str, *, tried: bool = False) -> tuple[AppliedPolicy, ...]:
        return tuple(item for item in self.policies if item.action == action and item.tried == tried)

    @property
    def audits(self) -> tuple[Audit, ...]:
        """The AUDIT policies by what they want to be known: each kind has rules and records of its own."""
        wanted = sorted({item.recorded for item in self.of("AUDIT")})
        return tuple(Audit(index, self.identity, item) for index, item in enumerate(wanted))

    def asking(self, provider: str) -> tuple[AppliedPolicy, ...]:
        return tuple(item for item in self.of("CUSTOM") if item.provider == provider)


NOT_RESTRICTED: Final = Authorization()


def authorization(snapshot: MeshSnapshot, proxy: Proxy, workload: Workload) -> Authorization:
    """All policies for a workload, or for a gateway's proxy."""
    found = policies_for(snapshot, snapshot.rules.authorization, proxy, workload)
    policies = tuple(_applied(item) for item in found)
    if not policies:
        return NOT_RESTRICTED
    settings, scope = snapshot.settings, snapshot.scope(proxy)
    audits = any(item.action == "AUDIT" for item in policies)
    own = spiffe_id(settings.trust_domain, workload.namespace, workload.service_account)
    return Authorization(
        policies,
        TrustDomains(settings.trust_domain, settings.trust_domain_aliases),
        tuple(
            (name, find_authorizer(snapshot, scope, name).authorizer)
            for name in sorted({item.provider for item in policies if item.action == "CUSTOM"})
        ),
        own if audits else "",
    )


def _applied(item: Resource[AuthorizationPolicySpec]) -> AppliedPolicy:
    provider = item.spec.provider.name if item.spec.provider is not None else ""
    return AppliedPolicy(
        item.ref, item.spec.action, item.spec.rules, provider, is_tried(item),
        recorded(item) if item.spec.action == "AUDIT" else EVERYTHING,
    )  # fmt: skip


def http_filters(wanted: Authorization, arrival: Arrival) -> Iterator[tuple[str, Any]]:
    """The filters of a connection manager, by name and in order: what is audited, whatever becomes of it, who
    is asked, then what is denied."""
    for rules in _audited(wanted, arrival):
        yield HTTP_FILTER, http_rbac_pb2.RBAC(**rules, track_per_rule_stats=True)
    for custom in _custom(wanted, arrival):
        yield from custom_http_filters(custom)
    for rules in _rules(wanted, arrival):
        yield HTTP_FILTER, http_rbac_pb2.RBAC(**rules, track_per_rule_stats=True)


def network_filters(wanted: Authorization, arrival: Arrival) -> Iterator[tuple[str, Any]]:
    """The filters of a chain that forwards bytes, as above."""
    for rules in (*_audited(wanted, arrival), *_deciding(wanted, arrival)):
        yield NETWORK_FILTER, network_rbac_pb2.RBAC(**rules, stat_prefix=_STATISTICS)
    for custom in _custom(wanted, arrival):
        yield from custom_network_filters(custom)
    for rules in _rules(wanted, arrival):
        yield NETWORK_FILTER, network_rbac_pb2.RBAC(**rules, stat_prefix=_STATISTICS)


def http_logs(wanted: Authorization) -> tuple[Any, ...]:
    """The access loggers that go with the filters of a connection manager."""
    return request_logs(HTTP_FILTER, wanted.audits) if wanted.policies else ()


def network_logs(wanted: Authorization) -> tuple[Any, ...]:
    """Those that go with the filters of a chain that forwards bytes."""
    return connection_logs(NETWORK_FILTER, wanted.audits) if wanted.policies else ()


def _audited(wanted: Authorization, arrival: Arrival) -> Iterator[dict[str, Any]]:
    """Rules without an effect but what they leave behind (`authorization_logs`)."""
    for audit in wanted.audits:
        policies = tuple(item for item in wanted.of("AUDIT") if item.recorded == audit.recorded)
        rules = rbac_pb2.RBAC(action=rbac_pb2.RBAC.DENY)
        add_policies(rules, policies, wanted.trust_domains, arrival)
        yield {"shadow_rules": rules, "shadow_rules_stat_prefix": audit.prefix}


def _deciding(wanted: Authorization, arrival: Arrival) -> Iterator[dict[str, Any]]:
    """Which ALLOW rule lets an audited connection pass: Envoy tells that of requests by itself."""
    policies = wanted.of("ALLOW")
    if policies and wanted.audits:
        rules = rbac_pb2.RBAC(action=rbac_pb2.RBAC.ALLOW)
        add_policies(rules, policies, wanted.trust_domains, arrival)
        yield {"shadow_rules": rules, "shadow_rules_stat_prefix": DECIDING_PREFIX}


def _custom(wanted: Authorization, arrival: Arrival) -> Iterator[CustomRules]:
    for provider, authorizer in wanted.authorizers:
        covering = rbac_pb2.RBAC(action=rbac_pb2.RBAC.DENY)
        add_policies(covering, wanted.asking(provider), wanted.trust_domains, arrival)
        if covering.policies:
            yield CustomRules(provider, covering.policies, authorizer)


def _rules(wanted: Authorization, arrival: Arrival) -> Iterator[dict[str, Any]]:
    """For each action what is enforced, and beside it what is tried."""
    for name, action in (("DENY", rbac_pb2.RBAC.DENY), ("ALLOW", rbac_pb2.RBAC.ALLOW)):
        found: dict[str, Any] = {}
        for field, policies in (("rules", wanted.of(name)), ("shadow_rules", wanted.of(name, tried=True))):
            if policies:
                found[field] = rbac_pb2.RBAC(action=action)
                add_policies(found[field], policies, wanted.trust_domains, arrival)
        if "shadow_rules" in found:
            found["shadow_rules_stat_prefix"] = f"{TRIED_PREFIX}{name.lower()}_"
        if found:
            yield found


def add_policies(
    made: Any, policies: tuple[AppliedPolicy, ...], trust_domains: TrustDomains, arrival: Arrival
) -> None:
    """Let RBAC rules match what any of these policies' rules does."""
    narrows = made.action == rbac_pb2.RBAC.ALLOW
    for policy in policies:
        for index, rule in enumerate(policy.rules):
            found = rule_policy(rule, policy.ref.namespace, trust_domains, arrival, narrows=narrows)
            if found is not None:
                made.policies[policy.rule_name(index)].CopyFrom(found)
