"""The ExternalAuth filter of an HTTPRoute: on an Envoy route, all of external authorization.

gateway-api.sigs.k8s.io, GEP-1494 and `HTTPExternalAuthFilter`. Envoy's own configuration of external
authorization for a route leaves out which headers are told. So what a route configures is a filter that runs
another one, and that one is the whole (envoyproxy.io, "Composite Filter"): listeners stay as they are
whatever routes ask for.
"""

from typing import Any, Final

from envoy.extensions.common.matching.v3 import extension_matcher_pb2
from envoy.extensions.filters.common.matcher.action.v3 import skip_action_pb2
from envoy.extensions.filters.http.composite.v3 import composite_pb2

from marline.api.gateway_api.http_route import HTTPExternalAuthFilter
from marline.compile.ext_authz import FILTER, Authorizer, http_authorization
from marline.compile.routes_targets import Target

ROUTE_FILTER: Final = "marline.ext_authz"
"""The name of the filter that does what routes configure for it."""
_SECONDS: Final = 10.0
"""The time for an answer: the Gateway API has no field for it."""


def idle_authorization() -> extension_matcher_pb2.ExtensionWithMatcher:
    """The filter where no route says what to run: nothing."""
    made = extension_matcher_pb2.ExtensionWithMatcher()
    made.extension_config.name = "envoy.filters.http.composite"
    made.extension_config.typed_config.Pack(composite_pb2.Composite())
    action = made.xds_matcher.on_no_match.action
    action.name = "skip"
    action.typed_config.Pack(skip_action_pb2.SkipFilter())
    return made


def set_authorization(made: Any, wanted: HTTPExternalAuthFilter, target: Target) -> None:
    """Have a service asked before a route does anything."""
    run = composite_pb2.ExecuteFilterAction()
    run.typed_config.name = FILTER
    run.typed_config.typed_config.Pack(http_authorization(_authorizer(wanted, target)))
    here = extension_matcher_pb2.ExtensionWithMatcherPerRoute()
    here.xds_matcher.on_no_match.action.name = "composite-action"
    here.xds_matcher.on_no_match.action.typed_config.Pack(run)
    made.typed_per_filter_config[ROUTE_FILTER].Pack(here)


def _authorizer(wanted: HTTPExternalAuthFilter, target: Target) -> Authorizer:
    http, grpc = wanted.http, wanted.grpc
    told = http.allowed_headers if http is not None else ()
    if wanted.protocol == "GRPC":
        told = grpc.allowed_headers if grpc is not None else ()
    _, port, _, host = target.cluster.split("|", 3)
    return Authorizer(
        wanted.protocol,
        target.cluster,
        f"{host}:{port}",
        _SECONDS,
        path_prefix=http.path.rstrip("/") if http is not None else "",
        request_headers=told,
        max_body=wanted.forward_body.max_size if wanted.forward_body is not None else 0,
        upstream_headers=(http.allowed_response_headers if http is not None else ()) or None,
    )
