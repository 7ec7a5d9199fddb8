"""AuthorizationPolicies with action CUSTOM at Envoy: another service decides about what their rules cover.

istio.io, "Authorization Policy" and "External Authorization". As at Istio's proxies, rules that have no
effect of their own (shadow rules of RBAC) leave the name of the one that covers a request in its metadata,
and the external-authorization filter behind them asks only if there is one.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from envoy.config.core.v3 import config_source_pb2
from envoy.config.rbac.v3 import rbac_pb2
from envoy.extensions.filters.http.rbac.v3 import rbac_pb2 as http_rbac
from envoy.extensions.filters.network.ext_authz.v3 import ext_authz_pb2 as network_ext_authz
from envoy.extensions.filters.network.rbac.v3 import rbac_pb2 as network_rbac
from envoy.type.matcher.v3 import metadata_pb2

from marline.compile.ext_authz import FILTER as HTTP_EXT_AUTHZ
from marline.compile.ext_authz import Authorizer, grpc_service, http_authorization

HTTP_RBAC: Final = "envoy.filters.http.rbac"
NETWORK_RBAC: Final = "envoy.filters.network.rbac"
NETWORK_EXT_AUTHZ: Final = "envoy.filters.network.ext_authz"
CUSTOM_PREFIX: Final = "istio-ext-authz"
"""What the names of policies begin with that have a service asked."""
_UNANSWERABLE: Final = "-deny-due-to-bad-CUSTOM-action"
"""What those end with whose service cannot be asked, as in Istio."""
_STAT_PREFIX: Final = "tcp."


@dataclass(frozen=True, slots=True)
class CustomRules:
    """The rules of one provider for a workload."""

    provider: str
    policies: Any
    """Envoy's RBAC `Policy`s by name."""
    authorizer: Authorizer | None
    """None: it cannot be asked, and nothing that the rules cover passes."""


def http_filters(custom: CustomRules) -> Iterator[tuple[str, Any]]:
    """Filters of a connection manager, by name."""
    if custom.authorizer is None:
        yield HTTP_RBAC, http_rbac.RBAC(rules=_denying(custom), track_per_rule_stats=True)
        return
    yield (
        HTTP_RBAC,
        http_rbac.RBAC(
            shadow_rules=_covering(custom),
            shadow_rules_stat_prefix=_prefix(custom),
            track_per_rule_stats=True,
        ),
    )
    asking = http_authorization(custom.authorizer)
    asking.filter_enabled_metadata.CopyFrom(_is_covered(custom, HTTP_RBAC))
    yield HTTP_EXT_AUTHZ, asking


def network_filters(custom: CustomRules) -> Iterator[tuple[str, Any]]:
    """Filters for connections of which no request is read. A provider of HTTP knows nothing of those: as in
    Istio it is not asked, and they pass."""
    asked = custom.authorizer
    if asked is None:
        yield NETWORK_RBAC, network_rbac.RBAC(rules=_denying(custom), stat_prefix=_STAT_PREFIX)
        return
    if asked.protocol != "GRPC":
        return
    yield (
        NETWORK_RBAC,
        network_rbac.RBAC(
            shadow_rules=_covering(custom),
            shadow_rules_stat_prefix=_prefix(custom),
            stat_prefix=_STAT_PREFIX,
        ),
    )
    asking = network_ext_authz.ExtAuthz(
        stat_prefix=_STAT_PREFIX,
        failure_mode_allow=asked.fail_open,
        transport_api_version=config_source_pb2.ApiVersion.V3,
        grpc_service=grpc_service(asked),
    )
    asking.filter_enabled_metadata.CopyFrom(_is_covered(custom, NETWORK_RBAC))
    yield NETWORK_EXT_AUTHZ, asking


def _covering(custom: CustomRules) -> rbac_pb2.RBAC:
    made = rbac_pb2.RBAC(action=rbac_pb2.RBAC.DENY)
    for name, policy in custom.policies.items():
        made.policies[f"{CUSTOM_PREFIX}-{custom.provider}-{name}"].CopyFrom(policy)
    return made


def _denying(custom: CustomRules) -> rbac_pb2.RBAC:
    made = rbac_pb2.RBAC(action=rbac_pb2.RBAC.DENY)
    for name, policy in custom.policies.items():
        made.policies[f"{CUSTOM_PREFIX}-{custom.provider}-{name}{_UNANSWERABLE}"].CopyFrom(policy)
    return made


def _prefix(custom: CustomRules) -> str:
    """Each provider's rules leave their finding under a name of their own."""
    return f"istio_ext_authz_{custom.provider}_"


def _is_covered(custom: CustomRules, filter_name: str) -> metadata_pb2.MetadataMatcher:
    made = metadata_pb2.MetadataMatcher(filter=filter_name)
    made.path.add(key=f"{_prefix(custom)}shadow_effective_policy_id")
    made.value.string_match.prefix = CUSTOM_PREFIX
    return made
