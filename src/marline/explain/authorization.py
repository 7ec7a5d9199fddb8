"""Does a filter chain let a request, or a connection, pass, and which rule decides?

Envoy's RBAC and external-authorization filters are evaluated in the order in which they stand, as Istio's
evaluation order has them: CUSTOM, DENY, ALLOW (istio.io, "Authorization Policy").
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

from envoy.config.rbac.v3 import rbac_pb2
from envoy.extensions.filters.http.ext_authz.v3 import ext_authz_pb2 as http_ext_authz
from envoy.extensions.filters.http.rbac.v3 import rbac_pb2 as http_rbac
from envoy.extensions.filters.network.ext_authz.v3 import ext_authz_pb2 as network_ext_authz
from envoy.extensions.filters.network.rbac.v3 import rbac_pb2 as network_rbac

from marline.api.resource import Ref
from marline.compile.custom_authorization import CUSTOM_PREFIX
from marline.explain.connections import manager_of
from marline.explain.origin import Place
from marline.explain.rbac import Attempt, covering, metadata_fits

_POLICY: Final = ("security.istio.io", "AuthorizationPolicy")
_NAME: Final = re.compile(r"ns\[(?P<namespace>[^\]]*)\]-policy\[(?P<name>[^\]]*)\]-rule\[(?P<rule>\d+)\]")

_AUTHORIZERS: Final = (http_rbac.RBAC, network_rbac.RBAC, http_ext_authz.ExtAuthz, network_ext_authz.ExtAuthz)


@dataclass(frozen=True, slots=True)
class DryRun:
    """What policies would do that are only tried."""

    allowed: bool
    place: Place | None


@dataclass(frozen=True, slots=True)
class Judgement:
    """Whether something passes."""

    allowed: bool
    text: str
    place: Place | None = None
    """The rule that decides; None: no policy is about it, or none of those that allow."""
    asked: tuple[str, ...] = ()
    """The services that are asked before, by their clusters: it passes only if they let it."""
    tried: tuple[DryRun, ...] = ()


def judge(chain: Any, attempt: Attempt) -> Judgement:
    """Raises `CannotTell`."""
    state = _State(attempt)
    manager = manager_of(chain)
    filters = [item.typed_config for item in chain.filters]
    if manager is not None and attempt.request is not None:
        filters += [item.typed_config for item in manager.http_filters if not item.disabled]
    for config in filters:
        refused = state.pass_through(config)
        if refused is not None:
            return replace(refused, asked=tuple(state.asked), tried=tuple(state.tried))
    text = "a policy allows it" if state.place is not None else "no policy is about it"
    return Judgement(True, text, state.place, tuple(state.asked), tuple(state.tried))


def authorizers(chain: Any) -> Iterator[Any]:
    """The configurations of the filters of a chain that decide whether something passes."""
    manager = manager_of(chain)
    for item in (*chain.filters, *(manager.http_filters if manager is not None else ())):
        if any(item.typed_config.Is(kind.DESCRIPTOR) for kind in _AUTHORIZERS):
            yield item.typed_config


class _State:
    """What filters have found out so far."""

    def __init__(self, attempt: Attempt) -> None:
        self.attempt = attempt
        self.asked: list[str] = []
        self.tried: list[DryRun] = []
        self.place: Place | None = None

    def pass_through(self, config: Any) -> Judgement | None:
        """None: it goes on."""
        for kind in (http_rbac.RBAC, network_rbac.RBAC):
            if config.Is(kind.DESCRIPTOR):
                return self._check(_unpacked(config, kind), _metadata_key(kind))
        for asking in (http_ext_authz.ExtAuthz, network_ext_authz.ExtAuthz):
            if config.Is(asking.DESCRIPTOR):
                self._ask(_unpacked(config, asking))
        return None

    def _check(self, filters: Any, key: str) -> Judgement | None:
        if filters.HasField("shadow_rules"):
            self._try(filters, key)
        if not filters.HasField("rules"):
            return None
        name = covering(filters.rules, self.attempt)
        if filters.rules.action == rbac_pb2.RBAC.DENY and name:
            return Judgement(False, "a policy denies it", policy_place(name))
        if filters.rules.action == rbac_pb2.RBAC.ALLOW:
            if not name:
                return Judgement(False, "policies say what is allowed, and none of them allows it")
            self.place = policy_place(name)
        return None

    def _try(self, filters: Any, key: str) -> None:
        """Shadow rules: policies that are only tried, and those that say whether a service is to be asked."""
        name = covering(filters.shadow_rules, self.attempt)
        prefix = filters.shadow_rules_stat_prefix
        known = {**self.attempt.metadata.get(key, {})}
        if name:
            known[f"{prefix}shadow_effective_policy_id"] = name
        self.attempt = replace(self.attempt, metadata={**self.attempt.metadata, key: known})
        if any(item.startswith(CUSTOM_PREFIX) for item in filters.shadow_rules.policies):
            return
        denies = filters.shadow_rules.action == rbac_pb2.RBAC.DENY
        if filters.shadow_rules.action != rbac_pb2.RBAC.LOG:
            self.tried.append(DryRun(bool(name) != denies, policy_place(name) if name else None))

    def _ask(self, config: Any) -> None:
        if config.HasField("filter_enabled_metadata") and not metadata_fits(
            config.filter_enabled_metadata, self.attempt.metadata
        ):
            return
        if isinstance(config, http_ext_authz.ExtAuthz) and config.HasField("http_service"):
            self.asked.append(config.http_service.server_uri.cluster)
        else:
            self.asked.append(config.grpc_service.envoy_grpc.cluster_name)


def _metadata_key(kind: Any) -> str:
    return "envoy.filters.http.rbac" if kind is http_rbac.RBAC else "envoy.filters.network.rbac"


def _unpacked(config: Any, kind: Any) -> Any:
    made = kind()
    config.Unpack(made)
    return made


def policy_place(name: str) -> Place | None:
    """The rule of an AuthorizationPolicy that a policy of Envoy's is made of."""
    found = _NAME.search(name)
    if found is None:
        return None
    return Place.at(Ref(*_POLICY, found["namespace"], found["name"]), f"spec.rules[{found['rule']}]")


def policies_of(rules: Any) -> Iterator[Place]:
    """All rules that Envoy's RBAC is made of."""
    for name in sorted(rules.policies):
        place = policy_place(name)
        if place is not None:
            yield place
